/** A seeded generator of pseudo-random numbers, so that whatever chance decided can be repeated from one number. Not for secrets. */

import { assert } from "./assert.ts";

/** The generator sfc32 of the PractRand suite: 128 bits of state, passes its tests, a few integer operations a number. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any number; all of its 53 integer bits count. */
  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    // Seeds that differ in one bit give unrelated numbers only after some rounds.
    for (let round = 0; round < 15; round++) this.uint32();
  }

  /** @returns an integer from 0 to 2^32 − 1. */
  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) >>> 0;
    return result;
  }

  /** @returns a number from 0 (included) to 1 (excluded), a multiple of 2^-53. */
  float(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** @returns an integer from 0 to `bound - 1`. */
  below(bound: number): number {
    assert(bound >= 1, "there is a number to draw");
    return Math.floor(this.float() * bound);
  }

  /** @returns a number from `low` (included) to `high` (excluded). */
  between(low: number, high: number): number {
    return low + this.float() * (high - low);
  }

  /** @returns true with the given probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** @returns one of the items; there must be one. */
  pick<Item>(items: readonly Item[]): Item {
    assert(items.length > 0, "there is an item to pick");
    return items[this.below(items.length)] as Item;
  }

  /** @returns a generator of its own, so that drawing from one does not change what the other gives. */
  fork(): Prng {
    return new Prng(this.uint32() * 2 ** 21 + (this.uint32() >>> 11));
  }
}
