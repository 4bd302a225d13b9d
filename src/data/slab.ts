/**
 * The memory of records, outside of the JavaScript heap: the garbage collector neither walks nor moves it, and
 * nothing is spent per record beyond its bytes.
 *
 * A record lives in a *cell*, a run of bytes at a multiple of 8 within a *page*; all cells of a page are equally large. Cells
 * come in sizes of steps of 8 bytes up to 512, then of 1/16. A new page is about a quarter of what its size has already, so
 * that a size with few records wastes little, and never more than 256 KiB, so that none is long in the making. A record that
 * is larger than a quarter of that has a page of its own, of just the bytes that it needs.
 *
 * A cell is named by a 32-bit *reference*: for a shared page a positive number, the page's and the cell's place in it, for a
 * page of one record a negative one. 0 names none.
 */

import { assert } from "../kit/assert.ts";
import { allocate, type Memory } from "../kit/memory.ts";

const GRANULE_BITS = 3;
const GRANULE_BYTES = 1 << GRANULE_BITS;
const PLACE_BITS = 15;
const PLACE_MASK = (1 << PLACE_BITS) - 1;
const PAGE_BYTES_MAX = GRANULE_BYTES << PLACE_BITS;
const PAGE_BYTES_MIN = 4 * 1024;
/** References are positive in 31 bits, and page 0 is none. */
const PAGES_MAX = 1 << (31 - PLACE_BITS);
/** The largest cell of a shared page. */
const SHARED_CELL_BYTES_MAX = PAGE_BYTES_MAX / 4;
/** A new page has this part of what its size has. */
const GROWTH_DIVISOR = 4;

const FINE_BYTES_MAX = 512;
const FINE_SIZES = FINE_BYTES_MAX / GRANULE_BYTES + 1;
const STEPS_PER_DOUBLING_BITS = 4;

export class Page implements Memory {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** The same memory. */
  readonly words: Int32Array;
  readonly cellBytes: number;
  readonly number: number;
  /** Of how many cells it consists. */
  readonly cellCount: number;
  usedCount = 0;
  /** Cells that have been in use at some time, from the first on. */
  touchedCount = 0;
  /** Place in granules, plus one, of the first cell that is free again; it begins with the same of the next. 0 for none. */
  freePlace = 0;
  /** Where it is in its size's `roomy`; -1 while it is full. */
  roomyIndex = -1;

  constructor(number: number, cellBytes: number, cellCount: number) {
    // Not zeroed: every byte that is read has been written.
    const { bytes, view } = allocate(cellBytes * cellCount);
    this.bytes = bytes;
    this.view = view;
    this.words = new Int32Array(this.bytes.buffer, 0, this.bytes.length >> 2);
    this.cellBytes = cellBytes;
    this.number = number;
    this.cellCount = cellCount;
  }
}

class CellSize {
  readonly cellBytes: number;
  /** Bytes of its pages. */
  bytes = 0;
  usedCount = 0;
  /** Its pages with free cells. The last one is used next; no other one is empty. */
  readonly roomy: Page[] = [];

  constructor(cellBytes: number) {
    this.cellBytes = cellBytes;
  }
}

/** @returns the page's cells that hold the reference: where its cell begins, in bytes. */
export function byteOffset(reference: number): number {
  return reference < 0 ? 0 : (reference & PLACE_MASK) << GRANULE_BITS;
}

/** Where the reference's cell begins in its page, in words. */
export function wordOffset(reference: number): number {
  return reference < 0 ? 0 : (reference & PLACE_MASK) << (GRANULE_BITS - 2);
}

export class Slab {
  readonly #sizes: (CellSize | undefined)[] = [];
  readonly #pages: (Page | undefined)[] = [undefined];
  readonly #freePageNumbers: number[] = [];
  /** By the complement of the reference. */
  readonly #ownPages: (Page | undefined)[] = [];
  readonly #freeOwnIndexes: number[] = [];
  #bytes = 0;

  /** Bytes of all pages. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The page of a cell that is in use. */
  page(reference: number): Page {
    return (
      reference < 0 ? this.#ownPages[~reference] : this.#pages[reference >>> PLACE_BITS]
    ) as Page;
  }

  /** The bytes that `allocate` gives for so many. */
  static cellBytes(bytes: number): number {
    return bytes > SHARED_CELL_BYTES_MAX ? granules(bytes) : bytesOfSize(sizeOf(bytes));
  }

  /**
   * @param bytes at least 1.
   * @returns the reference of a cell with at least so many bytes, whatever is in them.
   */
  allocate(bytes: number): number {
    if (bytes > SHARED_CELL_BYTES_MAX) return this.#allocateOwn(granules(bytes));
    const index = sizeOf(bytes);
    let size = this.#sizes[index];
    if (size === undefined) {
      size = new CellSize(bytesOfSize(index));
      this.#sizes[index] = size;
    }
    const { roomy } = size;
    const page = roomy[roomy.length - 1] ?? this.#addPage(size);
    let place: number;
    if (page.freePlace !== 0) {
      place = page.freePlace - 1;
      page.freePlace = page.words[place << (GRANULE_BITS - 2)] as number;
    } else {
      place = (page.touchedCount * page.cellBytes) >> GRANULE_BITS;
      page.touchedCount += 1;
    }
    size.usedCount += 1;
    page.usedCount += 1;
    if (page.usedCount === page.cellCount) {
      roomy.pop();
      page.roomyIndex = -1;
    }
    return (page.number << PLACE_BITS) | place;
  }

  /** @param reference of a cell in use; it is not any more. */
  free(reference: number): void {
    if (reference < 0) {
      const index = ~reference;
      this.#bytes -= this.page(reference).cellBytes;
      this.#ownPages[index] = undefined;
      this.#freeOwnIndexes.push(index);
      return;
    }
    const page = this.page(reference);
    const size = this.#sizes[sizeOf(page.cellBytes)] as CellSize;
    page.words[wordOffset(reference)] = page.freePlace;
    page.freePlace = (reference & PLACE_MASK) + 1;
    page.usedCount -= 1;
    const { roomy } = size;
    if (page.roomyIndex === -1) {
      // Below the one that is used next, which may be the empty one.
      const next = roomy[roomy.length - 1];
      page.roomyIndex = roomy.length;
      roomy.push(page);
      if (next !== undefined) swap(roomy, page, next);
    }
    size.usedCount -= 1;
    if (size.usedCount === 0) {
      while (roomy.length > 0) this.#removePage(size, roomy[0] as Page);
    } else if (page.usedCount === 0 && page.roomyIndex !== roomy.length - 1) {
      // The one that is used next is kept even empty: who deletes and creates by turns needs it again at once.
      this.#removePage(size, page);
    }
  }

  /**
   * Gives a record with a page of its own another one, of another length, under the same reference.
   * @param bytes of the new page, more than fits into a shared one.
   * @param keptBytes how many of the first bytes to take along.
   */
  resizeOwn(reference: number, bytes: number, keptBytes: number): void {
    const before = this.page(reference);
    const page = new Page(before.number, granules(bytes), 1);
    page.bytes.set(before.bytes.subarray(0, keptBytes));
    this.#ownPages[~reference] = page;
    this.#bytes += page.cellBytes - before.cellBytes;
  }

  /** Whether a record of so many bytes has a page of its own. */
  static isOwn(bytes: number): boolean {
    return bytes > SHARED_CELL_BYTES_MAX;
  }

  #addPage(size: CellSize): Page {
    const number = this.#freePageNumbers.pop() ?? this.#pages.length;
    assert(number < PAGES_MAX, "small records fit into the pages");
    const wanted = Math.min(size.bytes / GROWTH_DIVISOR, PAGE_BYTES_MAX);
    const cellCount = Math.floor(Math.max(wanted, PAGE_BYTES_MIN) / size.cellBytes);
    const page = new Page(number, size.cellBytes, Math.max(cellCount, 1));
    this.#pages[number] = page;
    page.roomyIndex = size.roomy.length;
    size.roomy.push(page);
    size.bytes += page.bytes.length;
    this.#bytes += page.bytes.length;
    return page;
  }

  #removePage(size: CellSize, page: Page): void {
    const { roomy } = size;
    const last = roomy[roomy.length - 1] as Page;
    if (last !== page) swap(roomy, page, last);
    roomy.pop();
    this.#pages[page.number] = undefined;
    this.#freePageNumbers.push(page.number);
    size.bytes -= page.bytes.length;
    this.#bytes -= page.bytes.length;
  }

  #allocateOwn(bytes: number): number {
    const index = this.#freeOwnIndexes.pop() ?? this.#ownPages.length;
    this.#ownPages[index] = new Page(index, bytes, 1);
    this.#bytes += bytes;
    return ~index;
  }
}

function granules(bytes: number): number {
  return Math.ceil(bytes / GRANULE_BYTES) * GRANULE_BYTES;
}

function swap(pages: Page[], a: Page, b: Page): void {
  const index = a.roomyIndex;
  pages[b.roomyIndex] = a;
  pages[index] = b;
  a.roomyIndex = b.roomyIndex;
  b.roomyIndex = index;
}

/** The number of the smallest cell size of at least so many bytes. */
function sizeOf(bytes: number): number {
  if (bytes <= FINE_BYTES_MAX) return (bytes + GRANULE_BYTES - 1) >> GRANULE_BITS;
  const last = bytes - 1;
  const doubling = 31 - Math.clz32(last);
  const step = (last >> (doubling - STEPS_PER_DOUBLING_BITS)) & 15;
  return FINE_SIZES + ((doubling - 9) << STEPS_PER_DOUBLING_BITS) + step;
}

/** Bytes of the cells of a size. */
function bytesOfSize(size: number): number {
  if (size < FINE_SIZES) return size << GRANULE_BITS;
  const doubling = ((size - FINE_SIZES) >> STEPS_PER_DOUBLING_BITS) + 9;
  const step = (size - FINE_SIZES) & 15;
  return (16 + step + 1) << (doubling - STEPS_PER_DOUBLING_BITS);
}
