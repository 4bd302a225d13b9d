/**
 * The bytes of effects, in memory, in messages and on disk. A change here is one of the wire's and of the store's format.
 *
 * Each effect is a tag of one byte and what it needs: the key and then the value or bytes, each after its length as a varint;
 * an offset, a varint, before the bytes; a time, a double, at the end.
 */

import { assert, unreachable } from "../kit/assert.ts";
import { type ByteReader, MalformedError } from "../kit/bytes.ts";
import type { Memory } from "../kit/memory.ts";
import { type Effect, VALUE_BYTES_MAX } from "./effect.ts";

export const EFFECT = {
  set: 1,
  setUntil: 2,
  delete: 3,
  expire: 4,
  append: 5,
  overwrite: 6,
  flush: 7,
} as const;

const KINDS: readonly Effect["kind"][] = [
  "flush",
  "set",
  "set",
  "delete",
  "expire",
  "append",
  "overwrite",
  "flush",
];

/**
 * Goes over one effect without looking at its key and bytes.
 * @throws MalformedError if it is none.
 */
export function skipEffect(reader: ByteReader): void {
  const tag = reader.u8();
  switch (tag) {
    case EFFECT.set:
    case EFFECT.append:
      reader.piece();
      reader.piece();
      return;
    case EFFECT.setUntil:
      reader.piece();
      reader.piece();
      reader.time();
      return;
    case EFFECT.delete:
      reader.piece();
      return;
    case EFFECT.expire:
      reader.piece();
      reader.time();
      return;
    case EFFECT.overwrite: {
      reader.piece();
      const offset = reader.varint();
      const start = reader.piece();
      if (offset + (reader.at - start) > VALUE_BYTES_MAX) {
        throw new MalformedError("an effect makes a value too long");
      }
      return;
    }
    case EFFECT.flush:
      return;
    default:
      throw new MalformedError(`no effect ${tag}`);
  }
}

/** Goes through effects that are known to be well formed, and tells where their parts are. */
export class EffectCursor {
  memory: Memory;
  kind: Effect["kind"] = "flush";
  /** Where the effect begins. */
  start = 0;
  keyStart = 0;
  keyEnd = 0;
  /** Of the value, or of the bytes that are written into it. */
  valueStart = 0;
  valueEnd = 0;
  /** Of an overwrite, in bytes. */
  offset = 0;
  /** Of a set or an expire, ms since 1970; 0 for none. */
  expireAtMs = 0;
  /** Where the next effect begins. */
  end = 0;

  /** @param memory where the effects are. */
  constructor(memory: Memory) {
    this.memory = memory;
  }

  /** Goes to the effect that begins at `at`. */
  read(at: number): void {
    const tag = this.memory.bytes[at] as number;
    this.kind = KINDS[tag] as Effect["kind"];
    this.start = at;
    this.end = at + 1;
    this.expireAtMs = 0;
    if (tag === EFFECT.flush) return;
    const keyBytes = this.#varint();
    this.keyStart = this.end;
    this.keyEnd = this.end + keyBytes;
    this.end = this.keyEnd;
    if (tag === EFFECT.overwrite) this.offset = this.#varint();
    if (tag !== EFFECT.delete && tag !== EFFECT.expire) {
      const valueBytes = this.#varint();
      this.valueStart = this.end;
      this.valueEnd = this.end + valueBytes;
      this.end = this.valueEnd;
    }
    if (tag === EFFECT.setUntil || tag === EFFECT.expire) {
      this.expireAtMs = this.memory.view.getFloat64(this.end, true);
      this.end += 8;
    }
  }

  /** The key as a binary string. */
  get key(): string {
    assert(this.kind !== "flush", "a flush has no key");
    return this.memory.bytes.toString("latin1", this.keyStart, this.keyEnd);
  }

  /** The effect as an object. */
  get effect(): Effect {
    const { kind, expireAtMs } = this;
    switch (kind) {
      case "set":
        return { kind, key: this.key, value: this.#text, expireAtMs };
      case "delete":
        return { kind, key: this.key };
      case "expire":
        return { kind, key: this.key, expireAtMs };
      case "append":
        return { kind, key: this.key, bytes: this.#text };
      case "overwrite":
        return { kind, key: this.key, offset: this.offset, bytes: this.#text };
      case "flush":
        return { kind };
      default:
        return unreachable(kind);
    }
  }

  get #text(): string {
    return this.memory.bytes.toString("latin1", this.valueStart, this.valueEnd);
  }

  #varint(): number {
    const { bytes } = this.memory;
    let byte = bytes[this.end++] as number;
    let value = byte & 0x7f;
    for (let unit = 0x80; byte >= 0x80; unit *= 0x80) {
      byte = bytes[this.end++] as number;
      value += (byte & 0x7f) * unit;
    }
    return value;
  }
}
