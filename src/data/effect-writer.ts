/**
 * Writes effects one after the other into memory that is used again for the next ones: the log copies an entry's effects at once,
 * and new memory for each of them would keep the garbage collector busy.
 */

import { unreachable } from "../kit/assert.ts";
import { allocate, copyBytes, type Memory, memoryOf, writeText } from "../kit/memory.ts";
import type { Effect } from "./effect.ts";
import { EFFECT } from "./effect-cursor.ts";
import { Effects } from "./effects.ts";

const FIRST_BYTES = 4 * 1024;
/** Longer memory is given up after the effects that it was made for. */
const KEPT_BYTES_MAX = 1024 * 1024;
const VARINT_BYTES_MAX = 8;
const TIME_BYTES = 8;

export class EffectWriter {
  #memory = allocate(FIRST_BYTES);
  #end = 0;
  #length = 0;

  /** Where the last effect's value or bytes are: from `valueStart` on in `memory`. */
  valueStart = 0;

  get memory(): Memory {
    return this.#memory;
  }

  /** Number of effects since the last `begin`. */
  get length(): number {
    return this.#length;
  }

  /** Begins anew: what was taken is not valid any more. */
  begin(): void {
    if (this.#memory.bytes.length > KEPT_BYTES_MAX) this.#memory = allocate(FIRST_BYTES);
    this.#end = 0;
    this.#length = 0;
  }

  /** The effects since the last `begin`, valid until the next. */
  take(): Effects {
    if (this.#length === 0) return Effects.NONE;
    const memory = this.#memory;
    return new Effects(memory.bytes, 0, this.#end, this.#length, memory);
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
    this.#memory.bytes[this.#end++] = EFFECT.flush;
    this.#length += 1;
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes + 1 + 3 * VARINT_BYTES_MAX + TIME_BYTES;
    if (needed <= this.#memory.bytes.length) return;
    // Twice as long each time, so that a long transaction is not copied for each of its effects.
    const memory = allocate(2 * needed);
    copyBytes(this.#memory, 0, this.#end, memory, 0);
    this.#memory = memory;
  }

  #key(tag: number, key: Memory, start: number, end: number): void {
    this.#memory.bytes[this.#end++] = tag;
    this.#varint(end - start);
    copyBytes(key, start, end, this.#memory, this.#end);
    this.#end += end - start;
    this.#length += 1;
  }

  #value(value: Memory | string, start: number, end: number): void {
    this.#varint(end - start);
    this.valueStart = this.#end;
    if (typeof value === "string") writeText(value, this.#memory, this.#end);
    else copyBytes(value, start, end, this.#memory, this.#end);
    this.#end += end - start;
  }

  #time(atMs: number): void {
    this.#memory.view.setFloat64(this.#end, atMs, true);
    this.#end += TIME_BYTES;
  }

  #varint(value: number): void {
    const { bytes } = this.#memory;
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
