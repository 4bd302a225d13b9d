/** A piece of a buffer: how keys, values and replies travel where they are not needed as strings. */

import type { Memory } from "../kit/memory.ts";

/** Bytes from `start` to before `end` of a buffer that nobody writes to there any more. */
export class Bytes {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  /** The buffer with a view, where there is one already. */
  readonly memory: Memory | undefined;

  constructor(buffer: Buffer, start: number, end: number, memory?: Memory) {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.memory = memory;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** As a binary string, one character a byte. */
  toString(): string {
    return this.buffer.toString("latin1", this.start, this.end);
  }
}
