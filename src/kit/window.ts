/** Values by numbers that come nearly in order and go nearly in order, such as those of what is in flight. */

import { assert } from "./assert.ts";

const FIRST_PLACES = 16;
/** A longer ring is given up when nothing is held. */
const KEPT_PLACES_MAX = 4_096;

/**
 * A map from whole numbers to values, for numbers of which those held lie close together: a ring with a place for every
 * number from the lowest held to the highest. A `Map` whose keys come and go for ever builds its table anew again and again.
 */
export class Window<T> {
  /** By the number modulo the length, which is a power of two. */
  #places: (T | undefined)[] = new Array(FIRST_PLACES);
  /** No lower number is held; the lowest that is, unless nothing is. */
  #first = 0;
  /** No number from here on is held. */
  #end = 0;
  #size = 0;

  /** How many values are held. */
  get size(): number {
    return this.#size;
  }

  /** The lowest number that holds a value; undefined if none does. */
  get first(): number | undefined {
    return this.#size === 0 ? undefined : this.#first;
  }

  get(number: number): T | undefined {
    if (number < this.#first || number >= this.#end) return undefined;
    return this.#places[number & (this.#places.length - 1)];
  }

  /** @param number a safe integer; memory is taken for all numbers between it and those that are held. */
  set(number: number, value: T): void {
    assert(value !== undefined, "a value is held");
    if (this.#size === 0) {
      this.#first = number;
      this.#end = number;
    }
    const first = Math.min(this.#first, number);
    const end = Math.max(this.#end, number + 1);
    if (end - first > this.#places.length) this.#grow(end - first);
    this.#first = first;
    this.#end = end;
    const place = number & (this.#places.length - 1);
    if (this.#places[place] === undefined) this.#size += 1;
    this.#places[place] = value;
  }

  /** @returns whether there was a value. */
  delete(number: number): boolean {
    if (this.get(number) === undefined) return false;
    const mask = this.#places.length - 1;
    this.#places[number & mask] = undefined;
    this.#size -= 1;
    if (this.#size === 0) this.#emptied();
    else while (this.#places[this.#first & mask] === undefined) this.#first += 1;
    return true;
  }

  /** Lets go of all below a number. */
  deleteBelow(number: number): void {
    for (let first = this.first; first !== undefined && first < number; first = this.first) {
      this.delete(first);
    }
  }

  clear(): void {
    this.#places.fill(undefined);
    this.#size = 0;
    this.#emptied();
  }

  #emptied(): void {
    this.#first = this.#end;
    if (this.#places.length > KEPT_PLACES_MAX) this.#places = new Array(FIRST_PLACES);
  }

  /** Numbers and values in ascending order. They may be deleted meanwhile. */
  *entries(): Generator<readonly [number, T]> {
    for (let number = this.#first; number < this.#end; number += 1) {
      const value = this.get(number);
      if (value !== undefined) yield [number, value];
    }
  }

  #grow(span: number): void {
    let length = this.#places.length * 2;
    while (length < span) length *= 2;
    const places: (T | undefined)[] = new Array(length);
    for (let number = this.#first; number < this.#end; number += 1) {
      places[number & (length - 1)] = this.#places[number & (this.#places.length - 1)];
    }
    this.#places = places;
  }
}
