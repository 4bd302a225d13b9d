/**
 * Gathers length-prefixed strings that arrive in pieces, one behind the other. It never reserves memory ahead of what has
 * arrived, beyond doubling, and copies each byte a bounded number of times, so that neither an announced length nor tiny
 * pieces cost much.
 */

const FIRST_BYTES = 256;
const NO_BYTES = Buffer.alloc(0);

export class ByteGatherer {
  #buffer: Buffer | undefined;
  #length = 0;
  #wanted = 0;

  /** Begins another string, behind those that are complete. @param wanted its length in bytes. */
  begin(wanted: number): void {
    this.#wanted = this.#length + wanted;
  }

  /**
   * Takes what it can use from `chunk`, from `position` to before `limit`.
   * @returns how many bytes it took.
   */
  take(chunk: Buffer, position: number, limit: number): number {
    const count = Math.min(this.#wanted - this.#length, limit - position);
    const needed = this.#length + count;
    this.#reserve(needed);
    if (this.#buffer !== undefined)
      chunk.copy(this.#buffer, this.#length, position, position + count);
    this.#length = needed;
    return count;
  }

  /** Bytes gathered so far, of all strings. */
  get length(): number {
    return this.#length;
  }

  /** The last string that was begun is here. */
  get isComplete(): boolean {
    return this.#length === this.#wanted;
  }

  /** Bytes that are reserved now; for tests of the promise above. */
  get reservedBytes(): number {
    return this.#buffer?.length ?? 0;
  }

  /** @returns the bytes of all strings, which the caller may keep. */
  finish(): Buffer {
    const bytes = this.#buffer?.subarray(0, this.#length) ?? NO_BYTES;
    this.#buffer = undefined;
    this.#length = 0;
    this.#wanted = 0;
    return bytes;
  }

  #reserve(needed: number): void {
    const reserved = this.#buffer?.length ?? 0;
    if (needed <= reserved) return;
    const size = Math.min(this.#wanted, Math.max(needed, reserved * 2, FIRST_BYTES));
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer?.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
