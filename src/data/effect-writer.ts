/**
 * Writes effects one after the other into chunks, which are never written twice, so that what was taken stays as it is. The
 * garbage collector frees a chunk when nothing in it is in use any more.
 */

import { unreachable } from "../kit/assert.ts";
import { allocate, copyBytes, type Memory, memoryOf, writeText } from "../kit/memory.ts";
import type { Effect } from "./effect.ts";
import { EFFECT } from "./effect-cursor.ts";
import { Effects } from "./effects.ts";

const CHUNK_BYTES = 32 * 1024;
/** A chunk that is longer is given up after the effects that it was made for. */
const KEPT_BYTES_MAX = 1024 * 1024;
const VARINT_BYTES_MAX = 8;
const TIME_BYTES = 8;

export class EffectWriter {
  #chunk = allocate(0);
  /** Where the effects begin that were not taken yet. */
  #start = 0;
  #end = 0;
  #length = 0;

  /** Where the last effect's value or bytes are: from `valueStart` on in `memory`. */
  valueStart = 0;

  get memory(): Memory {
    return this.#chunk;
  }

  /** Number of effects since the last `begin`. */
  get length(): number {
    return this.#length;
  }

  /** Forgets what was not taken. */
  begin(): void {
    if (this.#chunk.bytes.length > KEPT_BYTES_MAX) {
      this.#chunk = allocate(0);
      this.#end = 0;
    }
    this.#start = this.#end;
    this.#length = 0;
  }

  /** The effects since the last `begin`. What is written next does not change them. */
  take(): Effects {
    if (this.#length === 0) return Effects.NONE;
    return new Effects(this.#chunk.bytes, this.#start, this.#end, this.#length);
  }

  /** @param key what holds the key, from `start` to before `end`; so in the others. */
  set(
    key: Memory,
    start: number,
    end: number,
    value: Memory | string,
    valueStart: number,
    valueEnd: number,
    expireAtMs: number,
  ): void {
    this.#reserve(end - start + valueEnd - valueStart);
    this.#key(expireAtMs === 0 ? EFFECT.set : EFFECT.setUntil, key, start, end);
    this.#value(value, valueStart, valueEnd);
    if (expireAtMs !== 0) this.#time(expireAtMs);
  }

  delete(key: Memory, start: number, end: number): void {
    this.#reserve(end - start);
    this.#key(EFFECT.delete, key, start, end);
  }

  expire(key: Memory, start: number, end: number, expireAtMs: number): void {
    this.#reserve(end - start);
    this.#key(EFFECT.expire, key, start, end);
    this.#time(expireAtMs);
  }

  append(key: Memory, start: number, end: number, bytes: string): void {
    this.#reserve(end - start + bytes.length);
    this.#key(EFFECT.append, key, start, end);
    this.#value(bytes, 0, bytes.length);
  }

  overwrite(key: Memory, start: number, end: number, offset: number, bytes: string): void {
    this.#reserve(end - start + bytes.length);
    this.#key(EFFECT.overwrite, key, start, end);
    this.#varint(offset);
    this.#value(bytes, 0, bytes.length);
  }

  flush(): void {
    this.#reserve(0);
    this.#chunk.bytes[this.#end++] = EFFECT.flush;
    this.#length += 1;
  }

  #reserve(bytes: number): void {
    const needed = bytes + 1 + 3 * VARINT_BYTES_MAX + TIME_BYTES;
    if (this.#end + needed <= this.#chunk.bytes.length) return;
    const written = this.#end - this.#start;
    // Twice as long each time, so that a long transaction is not copied for each of its effects.
    const chunk = allocate(Math.max(CHUNK_BYTES, written === 0 ? needed : 2 * (written + needed)));
    copyBytes(this.#chunk, this.#start, this.#end, chunk, 0);
    this.#chunk = chunk;
    this.#start = 0;
    this.#end = written;
  }

  #key(tag: number, key: Memory, start: number, end: number): void {
    this.#chunk.bytes[this.#end++] = tag;
    this.#varint(end - start);
    copyBytes(key, start, end, this.#chunk, this.#end);
    this.#end += end - start;
    this.#length += 1;
  }

  #value(value: Memory | string, start: number, end: number): void {
    this.#varint(end - start);
    this.valueStart = this.#end;
    if (typeof value === "string") writeText(value, this.#chunk, this.#end);
    else copyBytes(value, start, end, this.#chunk, this.#end);
    this.#end += end - start;
  }

  #time(atMs: number): void {
    this.#chunk.view.setFloat64(this.#end, atMs, true);
    this.#end += TIME_BYTES;
  }

  #varint(value: number): void {
    const { bytes } = this.#chunk;
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      bytes[this.#end++] = (rest % 0x80) | 0x80;
    }
    bytes[this.#end++] = rest;
  }
}

/** @returns the effects as bytes. */
export function effectsOf(effects: Iterable<Effect>): Effects {
  const writer = new EffectWriter();
  for (const effect of effects) {
    if (effect.kind === "flush") {
      writer.flush();
      continue;
    }
    const key = memoryOf(Buffer.from(effect.key, "latin1"));
    const end = effect.key.length;
    switch (effect.kind) {
      case "set":
        writer.set(key, 0, end, effect.value, 0, effect.value.length, effect.expireAtMs);
        break;
      case "delete":
        writer.delete(key, 0, end);
        break;
      case "expire":
        writer.expire(key, 0, end, effect.expireAtMs);
        break;
      case "append":
        writer.append(key, 0, end, effect.bytes);
        break;
      case "overwrite":
        writer.overwrite(key, 0, end, effect.offset, effect.bytes);
        break;
      default:
        unreachable(effect);
    }
  }
  return writer.take();
}
