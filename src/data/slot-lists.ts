/**
 * Where the list of each slot's records begins and ends, and how many they are. Most slots are empty in a small store: the pages of the
 * table are made when they are needed.
 */

import { assert } from "../kit/assert.ts";

const PAGE_BITS = 7;
const PAGE_SLOTS = 1 << PAGE_BITS;
const SLOT_MASK = PAGE_SLOTS - 1;

/** The references of the first records are followed by those of the last ones, and by the counts. */
const LAST = PAGE_SLOTS;
const COUNT = 2 * PAGE_SLOTS;

export class SlotLists {
  readonly firstSlot: number;
  readonly lastSlot: number;
  /** Where the first page would be if all slots had one. */
  readonly #firstPage: number;
  readonly #pages: (Int32Array | undefined)[];
  #size = 0;

  /** Of the slots from `firstSlot` to `lastSlot`, both included. */
  constructor(firstSlot: number, lastSlot: number) {
    this.firstSlot = firstSlot;
    this.lastSlot = lastSlot;
    this.#firstPage = firstSlot >> PAGE_BITS;
    const count = (lastSlot >> PAGE_BITS) - this.#firstPage + 1;
    this.#pages = new Array<undefined>(count).fill(undefined);
  }

  /** Number of the records of all slots. */
  get size(): number {
    return this.#size;
  }

  /** Reference of the slot's first record; 0 if it has none. */
  first(slot: number): number {
    return this.#pages[(slot >> PAGE_BITS) - this.#firstPage]?.[slot & SLOT_MASK] ?? 0;
  }

  /** Reference of the slot's last record; 0 if it has none. */
  last(slot: number): number {
    return this.#pages[(slot >> PAGE_BITS) - this.#firstPage]?.[LAST + (slot & SLOT_MASK)] ?? 0;
  }

  /** Number of the slot's records. */
  count(slot: number): number {
    return this.#pages[(slot >> PAGE_BITS) - this.#firstPage]?.[COUNT + (slot & SLOT_MASK)] ?? 0;
  }

  /** @param reference of the first record from now on; 0 for none. */
  setFirst(slot: number, reference: number): void {
    this.#page(slot)[slot & SLOT_MASK] = reference;
  }

  /** @param reference of the last record from now on; 0 for none. */
  setLast(slot: number, reference: number): void {
    this.#page(slot)[LAST + (slot & SLOT_MASK)] = reference;
  }

  /** @param added number of records more. */
  addCount(slot: number, added: number): void {
    const page = this.#page(slot);
    const at = COUNT + (slot & SLOT_MASK);
    page[at] = (page[at] as number) + added;
    this.#size += added;
  }

  /** The first slot from `from` on that may have records, or the one behind the last. */
  next(from: number): number {
    const begin = Math.max(from, this.firstSlot);
    for (let slot = begin; slot <= this.lastSlot; slot = ((slot >> PAGE_BITS) + 1) << PAGE_BITS) {
      if (this.#pages[(slot >> PAGE_BITS) - this.#firstPage] !== undefined) return slot;
    }
    return this.lastSlot + 1;
  }

  /**
   * The lists of the slots from `firstSlot` to `lastSlot`, which are some of these. Its pages are the very same, so whoever
   * divides a table goes on with parts of which no two have a slot in common.
   */
  part(firstSlot: number, lastSlot: number): SlotLists {
    assert(firstSlot >= this.firstSlot && lastSlot <= this.lastSlot, "a part is of the whole");
    const part = new SlotLists(firstSlot, lastSlot);
    for (let index = 0; index < part.#pages.length; index++) {
      part.#pages[index] = this.#pages[index + part.#firstPage - this.#firstPage];
    }
    for (let slot = part.next(firstSlot); slot <= lastSlot; slot = part.next(slot + 1)) {
      part.#size += part.count(slot);
    }
    return part;
  }

  #page(slot: number): Int32Array {
    const index = (slot >> PAGE_BITS) - this.#firstPage;
    const page = this.#pages[index] ?? new Int32Array(3 * PAGE_SLOTS);
    this.#pages[index] = page;
    return page;
  }
}
