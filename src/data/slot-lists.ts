/**
 * Where the list of each slot's records begins and ends, and how many they are. Most slots are empty in a small store: the pages of the
 * table are made when they are needed.
 */

const PAGE_BITS = 7;
const PAGE_SLOTS = 1 << PAGE_BITS;
const SLOT_MASK = PAGE_SLOTS - 1;

/** The references of the first records are followed by those of the last ones, and by the counts. */
const LAST = PAGE_SLOTS;
const COUNT = 2 * PAGE_SLOTS;

export class SlotLists {
  readonly length: number;
  #pages: (Int32Array | undefined)[];

  /** @param length number of slots. */
  constructor(length: number) {
    this.length = length;
    this.#pages = SlotLists.#emptyPages(length);
  }

  static #emptyPages(length: number): undefined[] {
    return new Array<undefined>(Math.ceil(length / PAGE_SLOTS)).fill(undefined);
  }

  /** Reference of the first record of the slot at `index`; 0 if it has none, and outside of the table. */
  first(index: number): number {
    return this.#pages[index >> PAGE_BITS]?.[index & SLOT_MASK] ?? 0;
  }

  /** Reference of the last record of the slot at `index`; 0 if it has none. */
  last(index: number): number {
    return this.#pages[index >> PAGE_BITS]?.[LAST + (index & SLOT_MASK)] ?? 0;
  }

  /** Number of records of the slot at `index`. */
  count(index: number): number {
    return this.#pages[index >> PAGE_BITS]?.[COUNT + (index & SLOT_MASK)] ?? 0;
  }

  /** @param reference of the first record from now on; 0 for none. */
  setFirst(index: number, reference: number): void {
    this.#page(index)[index & SLOT_MASK] = reference;
  }

  /** @param reference of the last record from now on; 0 for none. */
  setLast(index: number, reference: number): void {
    this.#page(index)[LAST + (index & SLOT_MASK)] = reference;
  }

  /** @param added number of records more. */
  addCount(index: number, added: number): void {
    const page = this.#page(index);
    const at = COUNT + (index & SLOT_MASK);
    page[at] = (page[at] as number) + added;
  }

  /** The first index from `index` on that may have records, or `length`. */
  next(index: number): number {
    for (let at = index; at < this.length; at = ((at >> PAGE_BITS) + 1) << PAGE_BITS) {
      if (this.#pages[at >> PAGE_BITS] !== undefined) return at;
    }
    return this.length;
  }

  /** A table of the first `length` slots, which takes over what is known of them. */
  firstOnes(length: number): SlotLists {
    const lists = new SlotLists(length);
    for (let index = 0; index < lists.#pages.length; index++) {
      lists.#pages[index] = this.#pages[index];
    }
    return lists;
  }

  clear(): void {
    this.#pages = SlotLists.#emptyPages(this.length);
  }

  #page(index: number): Int32Array {
    const page = this.#pages[index >> PAGE_BITS] ?? new Int32Array(3 * PAGE_SLOTS);
    this.#pages[index >> PAGE_BITS] = page;
    return page;
  }
}
