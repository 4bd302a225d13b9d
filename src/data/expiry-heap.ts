/**
 * The records whose keys have an end, soonest first: a heap in which each node has four children. It lies in typed arrays that
 * come in pieces of a fixed size, so that it is off the JavaScript heap and never copied as a whole. Every record keeps its
 * own place in it, so that changing or dropping a key's time needs no search and leaves nothing behind.
 */

import { expiryWord } from "./record.ts";
import { type Slab, wordOffset } from "./slab.ts";

const PIECE_BITS = 12;
const PIECE_LENGTH = 1 << PIECE_BITS;
const PIECE_MASK = PIECE_LENGTH - 1;
const CHILDREN_BITS = 2;
const CHILDREN = 1 << CHILDREN_BITS;

/** A run of places. */
interface Piece {
  readonly references: Int32Array;
  /** When the keys end, ms since 1970. */
  readonly times: Float64Array;
}

export class ExpiryHeap {
  readonly #slab: Slab;
  readonly #pieces: Piece[] = [];
  #size = 0;

  /** @param slab where the records are. */
  constructor(slab: Slab) {
    this.#slab = slab;
  }

  /** Number of records in it. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of its arrays. */
  get bytes(): number {
    return this.#pieces.length * PIECE_LENGTH * 12;
  }

  /**
   * @param reference of a record that is not in it; the record's expiry word is its place from now on.
   * @param atMs when its key ends, ms since 1970.
   */
  add(reference: number, atMs: number): void {
    if (this.#size === this.#pieces.length << PIECE_BITS) {
      this.#pieces.push({
        references: new Int32Array(PIECE_LENGTH),
        times: new Float64Array(PIECE_LENGTH),
      });
    }
    this.#size += 1;
    this.#rise(this.#size - 1, reference, atMs);
  }

  /** Whether the record is in it, at `place`; of records whose cells are in use only. */
  has(reference: number, place: number): boolean {
    return place < this.#size && this.#reference(place) === reference;
  }

  /** When the key of the record at `place` ends, ms since 1970. */
  atMs(place: number): number {
    return (this.#pieces[place >> PIECE_BITS] as Piece).times[place & PIECE_MASK] as number;
  }

  /**
   * @param place of the record.
   * @param atMs its key's new end, ms since 1970.
   */
  move(place: number, atMs: number): void {
    const reference = this.#reference(place);
    if (atMs < this.atMs(place)) this.#rise(place, reference, atMs);
    else this.#sink(place, reference, atMs);
  }

  /** The record at `place` is in another cell from now on, with the same expiry word. */
  relocate(place: number, reference: number): void {
    (this.#pieces[place >> PIECE_BITS] as Piece).references[place & PIECE_MASK] = reference;
  }

  /** Takes out the record at `place`. */
  remove(place: number): void {
    const atMs = this.atMs(place);
    this.#size -= 1;
    const last = this.#size;
    if (place !== last) {
      const lastReference = this.#reference(last);
      const lastAtMs = this.atMs(last);
      if (lastAtMs < atMs) this.#rise(place, lastReference, lastAtMs);
      else this.#sink(place, lastReference, lastAtMs);
    }
    // Almost a piece more than needed may stay, for records that come and go.
    if (last + 2 * PIECE_LENGTH <= this.#pieces.length << PIECE_BITS) this.#pieces.pop();
  }

  /** The reference of the record whose key ends first; 0 if none does. */
  get first(): number {
    return this.#size === 0 ? 0 : this.#reference(0);
  }

  /** When the key of that record ends, ms since 1970; later than any time if none does. */
  get firstMs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.atMs(0);
  }

  #reference(place: number): number {
    return (this.#pieces[place >> PIECE_BITS] as Piece).references[place & PIECE_MASK] as number;
  }

  /** Puts the record at `place`, which is free, or above it. */
  #rise(place: number, reference: number, atMs: number): void {
    let free = place;
    while (free > 0) {
      const parent = (free - 1) >> CHILDREN_BITS;
      const parentAtMs = this.atMs(parent);
      if (parentAtMs <= atMs) break;
      this.#put(free, this.#reference(parent), parentAtMs);
      free = parent;
    }
    this.#put(free, reference, atMs);
  }

  /** Puts the record at `place`, which is free, or below it. */
  #sink(place: number, reference: number, atMs: number): void {
    let free = place;
    for (;;) {
      const firstChild = (free << CHILDREN_BITS) + 1;
      const end = Math.min(firstChild + CHILDREN, this.#size);
      let soonest = -1;
      let soonestAtMs = atMs;
      for (let child = firstChild; child < end; child++) {
        const childAtMs = this.atMs(child);
        if (childAtMs < soonestAtMs) {
          soonest = child;
          soonestAtMs = childAtMs;
        }
      }
      if (soonest === -1) break;
      this.#put(free, this.#reference(soonest), soonestAtMs);
      free = soonest;
    }
    this.#put(free, reference, atMs);
  }

  #put(place: number, reference: number, atMs: number): void {
    const { references, times } = this.#pieces[place >> PIECE_BITS] as Piece;
    references[place & PIECE_MASK] = reference;
    times[place & PIECE_MASK] = atMs;
    const page = this.#slab.page(reference);
    page.words[expiryWord(page, wordOffset(reference))] = place;
  }
}
