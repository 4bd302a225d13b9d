/**
 * The effects of one entry as bytes: encoded once at the primary; the same bytes are in the log, in messages and on disk, and
 * are what a replica applies.
 */

import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import { slotOfBytes } from "../kit/crc16.ts";
import { allocate, copyBytes, Memories, type Memory } from "../kit/memory.ts";
import type { Effect } from "./effect.ts";
import { EFFECT, EffectCursor, skipEffect } from "./effect-cursor.ts";

/** Of entries that are gone through one after the other. */
const memories = new Memories();

/** Effects in order. Going through them as objects makes strings of keys and values. */
export class Effects implements Iterable<Effect> {
  static readonly NONE = new Effects(Buffer.alloc(0), 0, 0, 0);

  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  /** Number of effects. */
  readonly length: number;
  /** The buffer with a view, where there is one already. */
  readonly #memory: Memory | undefined;

  /** Well-formed effects from `start` to before `end` of a buffer that nobody writes to there any more. */
  constructor(buffer: Buffer, start: number, end: number, length: number, memory?: Memory) {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.length = length;
    this.#memory = memory;
  }

  /**
   * What `write` wrote; the bytes stay where they are.
   * @throws MalformedError
   */
  static read(reader: ByteReader): Effects {
    const length = reader.count(1);
    if (length === 0) return Effects.NONE;
    const start = reader.at;
    for (let i = 0; i < length; i++) skipEffect(reader);
    return new Effects(reader.buffer, start, reader.at, length);
  }

  /**
   * One `set` without an end, as `writeBody` wrote it.
   * @throws MalformedError
   */
  static readSet(reader: ByteReader): Effects {
    const start = reader.at;
    skipEffect(reader);
    if (reader.buffer[start] !== EFFECT.set) throw new MalformedError("not a set");
    return new Effects(reader.buffer, start, reader.at, 1);
  }

  write(writer: ByteWriter): void {
    writer.varint(this.length);
    if (this.length > 0) this.writeBody(writer);
  }

  /** As `write`, without the number of them. */
  writeBody(writer: ByteWriter): void {
    if (this.#memory === undefined) writer.raw(this.buffer, this.start, this.end);
    else writer.copy(this.#memory, this.start, this.end);
  }

  [Symbol.iterator](): Iterator<Effect> {
    const effects: Effect[] = [];
    this.#forEach((cursor) => effects.push(cursor.effect));
    return effects[Symbol.iterator]();
  }

  /** Calls `visit` with what each effect is and on which key; the key is empty for a flush. */
  forEachKey(visit: (kind: Effect["kind"], key: string) => void): void {
    this.#forEach((cursor) => visit(cursor.kind, cursor.kind === "flush" ? "" : cursor.key));
  }

  /** Those that touch slots below `slot`; a flush touches all. */
  below(slot: number): Effects {
    const kept = allocate(this.end - this.start);
    let bytes = 0;
    let length = 0;
    this.#forEach(({ memory, kind, start, keyStart, keyEnd, end }) => {
      if (kind !== "flush" && slotOfBytes(memory.bytes, keyStart, keyEnd) >= slot) return;
      copyBytes(memory, start, end, kept, bytes);
      bytes += end - start;
      length += 1;
    });
    return length === 0 ? Effects.NONE : new Effects(kept.bytes, 0, bytes, length);
  }

  /** For traces and assertions. */
  toJSON(): readonly Effect[] {
    return [...this];
  }

  /** Calls `visit` with one cursor, at each effect in turn. */
  #forEach(visit: (cursor: EffectCursor) => void): void {
    const cursor = new EffectCursor(this.#memory ?? memories.of(this.buffer));
    for (let at = this.start; at < this.end; at = cursor.end) {
      cursor.read(at);
      visit(cursor);
    }
  }
}
