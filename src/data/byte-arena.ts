/**
 * Copies of values that outlive what is done to the records. They share chunks, each of which the garbage collector frees when
 * no copy in it is in use any more.
 */

import { allocate, copyBytes, type Memory } from "../kit/memory.ts";
import { Bytes } from "./bytes.ts";

const CHUNK_BYTES = 32 * 1024;
/** What is longer has a buffer of its own, so that a chunk's end is not wasted on it. */
const SHARED_BYTES_MAX = CHUNK_BYTES / 8;

export class ByteArena {
  #chunk = allocate(0);
  #used = 0;

  /** @returns a copy of `from` from `start` to before `end`. */
  copy(from: Memory, start: number, end: number): Bytes {
    const length = end - start;
    if (length > SHARED_BYTES_MAX) {
      const own = Buffer.allocUnsafeSlow(length);
      from.bytes.copy(own, 0, start, end);
      return new Bytes(own, 0, length);
    }
    if (this.#used + length > this.#chunk.bytes.length) {
      this.#chunk = allocate(CHUNK_BYTES);
      this.#used = 0;
    }
    const at = this.#used;
    copyBytes(from, start, end, this.#chunk, at);
    this.#used = at + length;
    return new Bytes(this.#chunk.bytes, at, at + length, this.#chunk);
  }
}
