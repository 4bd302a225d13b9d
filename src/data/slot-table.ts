/** An array of what belongs to each slot, most of which are empty in a small store: pages are made when they are needed. */

const PAGE_BITS = 7;
const PAGE_SLOTS = 1 << PAGE_BITS;

export class SlotTable<Value> {
  readonly length: number;
  #pages: ((Value | undefined)[] | undefined)[];

  /** @param length number of slots. */
  constructor(length: number) {
    this.length = length;
    this.#pages = SlotTable.#emptyPages(length);
  }

  static #emptyPages(length: number): undefined[] {
    return new Array<undefined>(Math.ceil(length / PAGE_SLOTS)).fill(undefined);
  }

  /** What is at `index`; undefined outside of the table too. */
  get(index: number): Value | undefined {
    return this.#pages[index >> PAGE_BITS]?.[index & (PAGE_SLOTS - 1)];
  }

  set(index: number, value: Value | undefined): void {
    let page = this.#pages[index >> PAGE_BITS];
    if (page === undefined) {
      page = new Array<Value | undefined>(PAGE_SLOTS).fill(undefined);
      this.#pages[index >> PAGE_BITS] = page;
    }
    page[index & (PAGE_SLOTS - 1)] = value;
  }

  /** The first index from `index` on that may hold something, or `length`. */
  next(index: number): number {
    for (let at = index; at < this.length; at = ((at >> PAGE_BITS) + 1) << PAGE_BITS) {
      if (this.#pages[at >> PAGE_BITS] !== undefined) return at;
    }
    return this.length;
  }

  clear(): void {
    this.#pages = SlotTable.#emptyPages(this.length);
  }
}
