/** A piece of a buffer: how keys, values and replies travel where they are not needed as strings. */

/** Bytes from `start` to before `end` of a buffer that nobody writes to there any more. */
export class Bytes {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** As a binary string, one character a byte. */
  toString(): string {
    return this.buffer.toString("latin1", this.start, this.end);
  }
}
