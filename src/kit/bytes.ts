/** Cursors over bytes: one writer into a growing buffer, one reader that distrusts what it reads. */

import { assert } from "./assert.ts";
import { allocate, copyBytes, Memories, type Memory, writeText } from "./memory.ts";

const FIRST_BYTES = 64 * 1024;
/** A buffer that has grown beyond this is given up after its batch, so that one large value does not hold memory for ever. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024;

/** Bytes that cannot be what they should be. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** Appends primitives to one buffer, which doubles as needed. */
export class ByteWriter {
  #memory = allocate(FIRST_BYTES);
  #length = 0;
  readonly #sources = new Memories();

  /** Bytes written since the last `reset`. */
  get length(): number {
    return this.#length;
  }

  /** Everything written, without a copy: valid until the next write. */
  bytes(): Buffer {
    return this.#memory.bytes.subarray(0, this.#length);
  }

  /** Where it is written, without a copy: valid until the next write. */
  get memory(): Memory {
    return this.#memory;
  }

  /**
   * Begins anew.
   * @param keepsBuffer false if someone (a socket) still reads the bytes; another buffer is taken then.
   */
  reset(keepsBuffer: boolean): void {
    if (!keepsBuffer || this.#memory.bytes.length > KEPT_BYTES_MAX) {
      this.#memory = allocate(FIRST_BYTES);
    }
    this.#length = 0;
  }

  /** Forgets all after the first `length` bytes. */
  truncate(length: number): void {
    assert(length <= this.#length, "a writer can only be cut");
    this.#length = length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#memory.bytes[this.#length++] = value;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#memory.view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** Copies everything written to `target` from `offset` on. */
  copyTo(target: Memory, offset: number): void {
    copyBytes(this.#memory, 0, this.#length, target, offset);
  }

  /** Overwrites four bytes written earlier by `u32`. */
  u32At(offset: number, value: number): void {
    this.#memory.view.setUint32(offset, value, true);
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#memory.view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** @param value an integer from 0 to 2^53 - 1; seven bits a byte, lowest first. */
  varint(value: number): void {
    if (value < 0x80 && value >= 0) {
      this.u8(value);
      return;
    }
    assert(Number.isSafeInteger(value) && value >= 0, "a varint is a whole number from 0 on");
    this.#reserve(8);
    const buffer = this.#memory.bytes;
    let at = this.#length;
    let rest = value;
    // Beyond 31 bits the shift operators would cut the number.
    while (rest >= 0x8000_0000) {
      buffer[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest >= 0x80) {
      buffer[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    buffer[at++] = rest;
    this.#length = at;
  }

  /** @param text a binary string; its length goes before it. */
  string(text: string): void {
    const { length } = text;
    this.varint(length);
    this.#reserve(length);
    writeText(text, this.#memory, this.#length);
    this.#length += length;
  }

  /** Bytes of a buffer from `start` to before `end`; their length goes before them, as before a binary string. */
  piece(source: Buffer, start: number, end: number): void {
    this.varint(end - start);
    this.#reserve(end - start);
    this.#copy(source, start, end);
  }

  /** @param text any text; its length in bytes goes before it. */
  utf8(text: string): void {
    const bytes = Buffer.byteLength(text, "utf8");
    this.varint(bytes);
    this.#reserve(bytes);
    this.#memory.bytes.write(text, this.#length, bytes, "utf8");
    this.#length += bytes;
  }

  /** Copies the bytes of `buffer` from `start` to before `end`. */
  raw(buffer: Buffer, start: number, end: number): void {
    this.#reserve(end - start);
    this.#copy(buffer, start, end);
  }

  /** As `raw`, where there is a view of the buffer. */
  copy(source: Memory, start: number, end: number): void {
    this.#reserve(end - start);
    copyBytes(source, start, end, this.#memory, this.#length);
    this.#length += end - start;
  }

  #copy(source: Buffer, start: number, end: number): void {
    this.#sources.copy(source, start, end, this.#memory, this.#length);
    this.#length += end - start;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    const held = this.#memory.bytes.length;
    if (needed <= held) return;
    const grown = allocate(Math.max(needed, held * 2));
    copyBytes(this.#memory, 0, this.#length, grown, 0);
    this.#memory = grown;
  }
}

/** Reads what a `ByteWriter` wrote. Every method throws `MalformedError` where the bytes cannot be right. */
export class ByteReader {
  readonly buffer: Buffer;
  readonly #end: number;
  #at: number;

  /** Reads the bytes of `buffer` from `start` to before `end`. */
  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.#at = start;
    this.#end = end;
  }

  /** Where the next byte is read. */
  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    if (this.#at >= this.#end) throw tooShort();
    return this.buffer[this.#at++] as number;
  }

  flag(): boolean {
    const byte = this.u8();
    if (byte > 1) throw new MalformedError("not a flag");
    return byte === 1;
  }

  f64(): number {
    if (this.left < 8) throw tooShort();
    const value = this.buffer.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  /** A time in ms, or a difference of times. */
  time(): number {
    const value = this.f64();
    if (!Number.isFinite(value)) throw new MalformedError("a time is not finite");
    return value;
  }

  varint(): number {
    let byte = this.u8();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let unit = 0x80;
    do {
      byte = this.u8();
      value += (byte & 0x7f) * unit;
      if (value > Number.MAX_SAFE_INTEGER) throw tooLarge();
      // A ninth group would pass 2^53; refusing it bounds the loop whatever the bits are.
      if (unit > 2 ** 49) throw tooLarge();
      unit *= 0x80;
    } while (byte >= 0x80);
    return value;
  }

  /** The length of a list whose items take at least `itemBytesMin` bytes each, so that no small frame makes a large array. */
  count(itemBytesMin: number): number {
    const count = this.varint();
    if (count * itemBytesMin > this.left) {
      throw new MalformedError("a list is longer than its frame");
    }
    return count;
  }

  /**
   * Goes over a binary string with its length before it.
   * @returns where it begins in the buffer; it ends where the reader is then.
   */
  piece(): number {
    const length = this.count(1);
    const start = this.#at;
    this.#at += length;
    return start;
  }

  string(): string {
    const length = this.count(1);
    const start = this.#at;
    this.#at += length;
    return this.buffer.toString("latin1", start, this.#at);
  }

  utf8(): string {
    const length = this.count(1);
    const start = this.#at;
    this.#at += length;
    return this.buffer.toString("utf8", start, this.#at);
  }
}

function tooShort(): MalformedError {
  return new MalformedError("a frame ends early");
}

function tooLarge(): MalformedError {
  return new MalformedError("a number is 2^53 or more");
}
