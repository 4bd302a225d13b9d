/**
 * Reads the number of a `*3\r\n` or `$5\r\n` header, byte by byte and without making strings, as strictly as Redis:
 * no plus sign, no leading zero, no blanks.
 */

const CARRIAGE_RETURN = 13;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;
/** Beyond any limit, and far enough from 2^53 that one more digit is still exact. */
const VALUE_MAX = 100_000_000_000_000;

export class LengthReader {
  #value = 0;
  #digits = 0;
  #length = 0;
  #isNegative = false;
  #isValid = true;

  /** Bytes of the number so far. */
  get length(): number {
    return this.#length;
  }

  /**
   * Reads on from `position` up to and including the carriage return, but not up to `limit`.
   * @returns the position after it, or -1 if the chunk ended first.
   */
  read(chunk: Buffer, position: number, limit: number): number {
    for (let at = position; at < limit; at += 1) {
      const byte = chunk[at] ?? 0;
      if (byte === CARRIAGE_RETURN) return at + 1;
      this.#add(byte);
    }
    return -1;
  }

  /** @returns the number, or undefined if it was none; the reader is ready for the next. */
  finish(): number | undefined {
    const isNumber = this.#isValid && this.#digits > 0;
    const value = this.#isNegative ? -this.#value : this.#value;
    this.#value = 0;
    this.#digits = 0;
    this.#length = 0;
    this.#isNegative = false;
    this.#isValid = true;
    return isNumber ? value : undefined;
  }

  #add(byte: number): void {
    this.#length += 1;
    if (byte === MINUS && this.#length === 1) {
      this.#isNegative = true;
      return;
    }
    const isDigit = byte >= ZERO && byte <= NINE;
    const leadsWithZero =
      this.#value === 0 && (this.#digits > 0 || (this.#isNegative && byte === ZERO));
    if (!isDigit || leadsWithZero || this.#value > VALUE_MAX) {
      this.#isValid = false;
      return;
    }
    this.#digits += 1;
    this.#value = this.#value * 10 + (byte - ZERO);
  }
}
