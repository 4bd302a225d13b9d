/** Tells numbers that come for the first time from those that came before, when they may arrive out of order. */

import { assert } from "../kit/assert.ts";

const WORD_BITS = 32;

/** Remembers the newest numbers; whatever is older than all that it remembers counts as seen. */
export class ReplayWindow {
  readonly #bits: Uint32Array;
  readonly #size: number;
  #newest = 0;

  /** @param size how many numbers below the newest may still come, a multiple of 32. */
  constructor(size: number) {
    assert(size > 0 && size % WORD_BITS === 0, "a window has whole words");
    this.#size = size;
    this.#bits = new Uint32Array(size / WORD_BITS);
  }

  /**
   * @param number from 1 to 2^53 - 1, given by the sender to one thing only.
   * @returns whether it is new; it is not any more.
   */
  take(number: number): boolean {
    if (number > this.#newest) {
      this.#advance(number);
    } else if (number <= this.#newest - this.#size || number < 1) {
      return false;
    }
    const place = number % this.#size;
    const word = Math.floor(place / WORD_BITS);
    const bit = 1 << (place % WORD_BITS);
    const bits = this.#bits[word] ?? 0;
    if ((bits & bit) !== 0) return false;
    this.#bits[word] = bits | bit;
    return true;
  }

  /** Makes room: the places of the numbers that are skipped held others, a whole window ago. */
  #advance(number: number): void {
    if (number - this.#newest >= this.#size) {
      this.#bits.fill(0);
    } else {
      for (let skipped = this.#newest + 1; skipped <= number; skipped++) {
        const place = skipped % this.#size;
        const word = Math.floor(place / WORD_BITS);
        this.#bits[word] = (this.#bits[word] ?? 0) & ~(1 << (place % WORD_BITS));
      }
    }
    this.#newest = number;
  }
}
