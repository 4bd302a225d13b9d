/**
 * The memory in which the records of one shard lie, or of all parts that it has been divided into: their cells, and the index
 * that finds them. A part owns the records of its slots, and those stay where they are when a shard is divided, so that this
 * takes no longer with many of them.
 *
 * When the last owner leaves, all of it goes at once. What an owner leaves behind before is swept away some at a time, and so
 * the ends of keys from before a division, which lie mixed in one heap, come to the owners of the keys.
 */

import { assert } from "../kit/assert.ts";
import { slotOfBytes } from "../kit/crc16.ts";
import type { ExpiryHeap } from "./expiry-heap.ts";
import { type HashKey, keyHash } from "./key-hash.ts";
import { expiryWord, HEADER_BYTES, hasEndAt, KEY_BYTES, NEXT } from "./record.ts";
import { RecordIndex } from "./record-index.ts";
import { Slab, wordOffset } from "./slab.ts";
import type { SlotLists } from "./slot-lists.ts";

/** Whose records are in a pool: those of the slots from `firstSlot` to `lastSlot`. */
export interface PoolOwner {
  readonly firstSlot: number;
  readonly lastSlot: number;
  /** The ends of its own keys. */
  readonly ends: ExpiryHeap;
}

export class RecordPool {
  readonly slab = new Slab();
  readonly index = new RecordIndex(this.slab);
  readonly #hashKey: HashKey;
  readonly #owners: PoolOwner[] = [];
  /** Ends of several owners' keys. A record is in one of these, in its owner's, or left behind and perhaps in none. */
  #mixedEnds: ExpiryHeap[] = [];
  /** The lists of slots whose owner has left. */
  readonly #leftovers: SlotLists[] = [];
  /** Whether the index may find records that are not the asking owner's. */
  isShared = false;

  /** @param hashKey of the index. */
  constructor(hashKey: HashKey) {
    this.#hashKey = hashKey;
  }

  /** Bytes of the cells, the index and the mixed ends. */
  get bytes(): number {
    return this.slab.bytes + this.index.bytes + sum(this.#mixedEnds, (heap) => heap.bytes);
  }

  /** Number of records that lie here and have no owner any more. */
  get leftoverCount(): number {
    return sum(this.#leftovers, (lists) => lists.size);
  }

  /** @param owner of slots that were another owner's, or of all. */
  enter(owner: PoolOwner): void {
    this.#owners.push(owner);
    this.#noteShared();
  }

  /** @param lists the owner's, with its records: nobody asks for them any more. */
  leave(owner: PoolOwner, lists: SlotLists): void {
    const index = this.#owners.indexOf(owner);
    assert(index !== -1, "who leaves was there");
    this.#owners.splice(index, 1);
    if (lists.size > 0) this.#leftovers.push(lists);
    this.#noteShared();
  }

  #noteShared(): void {
    this.isShared = this.#owners.length > 1 || this.#leftovers.length > 0;
  }

  /** Frees up to `limit` records that were left behind. Only what the first owner asks for is done, so that it is not more with many. */
  sweep(owner: PoolOwner, limit: number): void {
    if (this.#owners[0] !== owner) return;
    if (this.#mixedEnds.length > 0) {
      this.#mixedEnds = this.#mixedEnds.filter((heap) => heap.size > 0);
    }
    let left = limit;
    for (let lists = this.#leftovers.at(-1); lists !== undefined; lists = this.#leftovers.at(-1)) {
      for (let slot = lists.next(0); slot <= lists.lastSlot; slot = lists.next(slot + 1)) {
        for (let each = lists.first(slot); each !== 0; left--) {
          if (left === 0) return;
          const next = this.#free(each);
          lists.setFirst(slot, next);
          lists.addCount(slot, -1);
          each = next;
        }
      }
      this.#leftovers.pop();
    }
    this.#noteShared();
  }

  // --- Ends ----------------------------------------------------------------------------------------------------------

  /** Number of mixed ends. */
  get mixedEndCount(): number {
    return sum(this.#mixedEnds, (heap) => heap.size);
  }

  /** @param ends of keys that may be different owners' from now on. */
  mix(ends: ExpiryHeap): void {
    if (ends.size > 0) this.#mixedEnds.push(ends);
  }

  /** The mixed ends in which the record is at `place`. */
  mixedWith(reference: number, place: number): ExpiryHeap | undefined {
    return this.#mixedEnds.find((heap) => heap.has(reference, place));
  }

  /** Gives up to `limit` of the mixed ends to their owners, until none comes before those of `owner`. */
  giveEnds(owner: PoolOwner, limit: number): void {
    let left = limit;
    for (const heap of this.#mixedEnds) {
      for (; left > 0 && heap.firstMs < owner.ends.firstMs; left--) {
        const { first, firstMs } = heap;
        heap.remove(0);
        this.#ownerOf(first)?.ends.add(first, firstMs);
      }
    }
  }

  #ownerOf(reference: number): PoolOwner | undefined {
    const { bytes, words } = this.slab.page(reference);
    const at = wordOffset(reference);
    const start = (at << 2) + HEADER_BYTES;
    const slot = slotOfBytes(bytes, start, start + (words[at + KEY_BYTES] as number));
    return this.#owners.find(({ firstSlot, lastSlot }) => slot >= firstSlot && slot <= lastSlot);
  }

  /** @returns the next record of its slot. */
  #free(reference: number): number {
    const page = this.slab.page(reference);
    const { words } = page;
    const at = wordOffset(reference);
    const start = (at << 2) + HEADER_BYTES;
    const next = words[at + NEXT] as number;
    if (hasEndAt(words, at)) {
      const place = words[expiryWord(page, at)] as number;
      this.mixedWith(reference, place)?.remove(place);
    }
    const end = start + (words[at + KEY_BYTES] as number);
    this.index.remove(keyHash(this.#hashKey, page, start, end), reference);
    this.slab.free(reference);
    return next;
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
