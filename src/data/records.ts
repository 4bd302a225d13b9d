/**
 * The records of one shard: bytes in cells, found by key, by slot and by the time of their end. It knows nothing of commands
 * and replication. A record is named by its cell's reference, which changes when the record needs another cell.
 *
 * The cells are in a pool, which the parts of a divided shard share.
 */

import { assert } from "../kit/assert.ts";
import { slotOfBytes } from "../kit/crc16.ts";
import { copyBytes, type Memory } from "../kit/memory.ts";
import { ExpiryHeap } from "./expiry-heap.ts";
import { type HashKey, keyHash } from "./key-hash.ts";
import {
  EXPIRY_BYTES,
  expiryWord,
  HAS_END,
  HEADER_BYTES,
  hasEndAt,
  KEY_BYTES,
  NEXT,
  PREVIOUS,
  recordBytes,
  SEQ_HIGH,
  seqAt,
  setSeqAt,
  VALUE_BYTES,
} from "./record.ts";
import type { RecordIndex } from "./record-index.ts";
import { type PoolOwner, RecordPool } from "./record-pool.ts";
import { Slab, wordOffset } from "./slab.ts";
import { SlotLists } from "./slot-lists.ts";

/** A record that grows gets such a part of its bytes more, so that growing by little does not copy it each time. */
const ROOM_DIVISOR = 4;
/** A record stays in a cell of which it fills at least three quarters. */
const FILLED_NUMERATOR = 3;
const FILLED_DENOMINATOR = 4;

/** Ends that one question for the first of them gives to their owners at most; about 0.05 ms. */
const GIVEN_ENDS_MAX = 64;
/** Records that one sweep frees at most; about 0.25 ms. */
const SWEPT_MAX = 256;

export class Records implements PoolOwner {
  readonly #hashKey: HashKey;
  #slots: SlotLists;
  #pool: RecordPool;
  #slab: Slab;
  #index: RecordIndex;
  #ends: ExpiryHeap;

  /**
   * @param slots the lists of those slots whose keys may be in it.
   * @param hashKey for the index.
   * @param pool where the lists' records are, with the same hash key.
   */
  constructor(slots: SlotLists, hashKey: HashKey, pool = new RecordPool(hashKey)) {
    this.#slots = slots;
    this.#hashKey = hashKey;
    this.#pool = pool;
    this.#slab = pool.slab;
    this.#index = pool.index;
    this.#ends = new ExpiryHeap(pool.slab);
    pool.enter(this);
  }

  get firstSlot(): number {
    return this.#slots.firstSlot;
  }

  get lastSlot(): number {
    return this.#slots.lastSlot;
  }

  /** Where the cells are. */
  get slab(): Slab {
    return this.#slab;
  }

  /** Of keys that were given an end since the last division, and of others as `firstToEnd` comes upon them. */
  get ends(): ExpiryHeap {
    return this.#ends;
  }

  /** Number of records. */
  get size(): number {
    return this.#slots.size;
  }

  /** What is kept, in the pool that it may share with others. */
  get upkeep(): {
    /** Ends of keys. */
    readonly ends: number;
    /** Records that nobody owns any more. */
    readonly leftovers: number;
    /** Memory in use for all of it. */
    readonly bytes: number;
  } {
    return {
      ends: this.#ends.size + this.#pool.mixedEndCount,
      leftovers: this.#pool.leftoverCount,
      bytes: this.#pool.bytes + this.#ends.bytes,
    };
  }

  // --- One record ----------------------------------------------------------------------------------------------------

  /** What the other methods want as the hash of a key. */
  hash(key: Memory, start: number, end: number): number {
    return keyHash(this.#hashKey, key, start, end);
  }

  /** @returns the reference of the key's record; 0 if there is none. */
  find(hash: number, key: Memory, start: number, end: number): number {
    const reference = this.#index.find(hash, key, start, end);
    if (reference === 0 || !this.#pool.isShared) return reference;
    return this.#holds(slotOfBytes(key.bytes, start, end)) ? reference : 0;
  }

  /** The key of a record, as a binary string. */
  key(reference: number): string {
    const { bytes, words } = this.#slab.page(reference);
    const at = wordOffset(reference);
    const start = (at << 2) + HEADER_BYTES;
    return bytes.toString("latin1", start, start + (words[at + KEY_BYTES] as number));
  }

  /** The value of a record, as a binary string. */
  value(reference: number): string {
    const { bytes, words } = this.#slab.page(reference);
    const at = wordOffset(reference);
    const start = (at << 2) + HEADER_BYTES + (words[at + KEY_BYTES] as number);
    return bytes.toString("latin1", start, start + (words[at + VALUE_BYTES] as number));
  }

  valueBytes(reference: number): number {
    return this.#slab.page(reference).words[wordOffset(reference) + VALUE_BYTES] as number;
  }

  /** The seq of the entry that wrote the record last. */
  seq(reference: number): number {
    return seqAt(this.#slab.page(reference).words, wordOffset(reference));
  }

  /** When the record's key ends, ms since 1970; 0 for never. */
  endMs(reference: number): number {
    const page = this.#slab.page(reference);
    const at = wordOffset(reference);
    if (!hasEndAt(page.words, at)) return 0;
    const place = page.words[expiryWord(page, at)] as number;
    return this.#endsWith(reference, place).atMs(place);
  }

  /**
   * Makes a record for a key that has none and belongs to one of the slots.
   * @param hasEnd whether the key is going to have an end.
   * @returns its reference. The bytes of its value are still to be written.
   */
  create(
    hash: number,
    key: Memory,
    start: number,
    end: number,
    { valueBytes, hasEnd }: { readonly valueBytes: number; readonly hasEnd: boolean },
  ): number {
    const slot = slotOfBytes(key.bytes, start, end);
    assert(this.#holds(slot), "a key belongs to the shard of its slot");
    const needed = HEADER_BYTES + (end - start) + valueBytes;
    const reference = this.#slab.allocate(hasEnd ? needed + EXPIRY_BYTES : needed);
    const page = this.#slab.page(reference);
    const { words } = page;
    const at = wordOffset(reference);
    words[at] = 0;
    words[at + SEQ_HIGH] = 0;
    words[at + VALUE_BYTES] = valueBytes;
    words[at + KEY_BYTES] = end - start;
    const previous = this.#slots.last(slot);
    words[at + NEXT] = 0;
    words[at + PREVIOUS] = previous;
    copyBytes(key, start, end, page, (at << 2) + HEADER_BYTES);
    if (previous === 0) this.#slots.setFirst(slot, reference);
    else this.#link(previous, NEXT, reference);
    this.#slots.setLast(slot, reference);
    this.#slots.addCount(slot, 1);
    this.#index.add(hash, reference);
    return reference;
  }

  /**
   * Changes the length of a record's value.
   * @param keptBytes how many of the value's first bytes stay as they are; the others are to be written.
   * @param grows whether it is likely to become still longer.
   * @returns the record's reference from now on.
   */
  resize(
    reference: number,
    hash: number,
    valueBytes: number,
    { keptBytes, grows }: { readonly keptBytes: number; readonly grows: boolean },
  ): number {
    const { words, cellBytes } = this.#slab.page(reference);
    const at = wordOffset(reference);
    const needed = recordBytes(words, at) - (words[at + VALUE_BYTES] as number) + valueBytes;
    if (needed <= cellBytes && (grows || fills(needed, cellBytes))) {
      words[at + VALUE_BYTES] = valueBytes;
      return reference;
    }
    const wanted = grows ? needed + Math.floor(needed / ROOM_DIVISOR) : needed;
    const moved = this.#move(reference, hash, wanted, keptBytes);
    this.#slab.page(moved).words[wordOffset(moved) + VALUE_BYTES] = valueBytes;
    return moved;
  }

  /**
   * @param atMs when the record's key ends, ms since 1970; 0 for never.
   * @returns the record's reference from now on.
   */
  setEnd(reference: number, hash: number, atMs: number): number {
    const page = this.#slab.page(reference);
    const at = wordOffset(reference);
    if (hasEndAt(page.words, at)) {
      const place = page.words[expiryWord(page, at)] as number;
      if (atMs !== 0) {
        this.#endsWith(reference, place).move(place, atMs);
      } else {
        this.#endsWith(reference, place).remove(place);
        page.words[at + SEQ_HIGH] = (page.words[at + SEQ_HIGH] as number) & ~HAS_END;
      }
      return reference;
    }
    if (atMs === 0) return reference;
    const needed = recordBytes(page.words, at) + EXPIRY_BYTES;
    let own = reference;
    if (needed > page.cellBytes) {
      own = this.#move(reference, hash, needed, page.words[at + VALUE_BYTES] as number);
    }
    const { words } = this.#slab.page(own);
    const ownAt = wordOffset(own);
    words[ownAt + SEQ_HIGH] = (words[ownAt + SEQ_HIGH] as number) | HAS_END;
    this.#ends.add(own, atMs);
    return own;
  }

  /** @param seq of the entry that wrote the record. */
  setSeq(reference: number, seq: number): void {
    setSeqAt(this.#slab.page(reference).words, wordOffset(reference), seq);
  }

  /** @returns the slot of its key. */
  remove(reference: number, hash: number): number {
    const page = this.#slab.page(reference);
    const { words } = page;
    const at = wordOffset(reference);
    if (hasEndAt(words, at)) {
      const place = words[expiryWord(page, at)] as number;
      this.#endsWith(reference, place).remove(place);
    }
    this.#index.remove(hash, reference);
    const next = words[at + NEXT] as number;
    const previous = words[at + PREVIOUS] as number;
    const slot = this.#slotOf(reference);
    if (previous === 0) this.#slots.setFirst(slot, next);
    else this.#link(previous, NEXT, next);
    if (next === 0) this.#slots.setLast(slot, previous);
    else this.#link(next, PREVIOUS, previous);
    this.#slots.addCount(slot, -1);
    this.#slab.free(reference);
    return slot;
  }

  // --- Many records --------------------------------------------------------------------------------------------------

  /**
   * The reference of the record whose key ends first; 0 if none does. Soon after a division it may be another one for some
   * calls, which does not end before.
   */
  firstToEnd(): number {
    this.#pool.giveEnds(this, GIVEN_ENDS_MAX);
    return this.#ends.first;
  }

  /** The first slot from `slot` on that may have records, or the one behind the last. */
  nextSlot(slot: number): number {
    return this.#slots.next(slot);
  }

  /** The reference of a slot's first record; 0 if it has none. The records of a slot are in the order of their creation. */
  firstOfSlot(slot: number): number {
    return this.#slots.first(slot);
  }

  /** The reference of the record that follows in its slot; 0 at the end. */
  next(reference: number): number {
    return this.#slab.page(reference).words[wordOffset(reference) + NEXT] as number;
  }

  /** Number of records of a slot. */
  countOfSlot(slot: number): number {
    return this.#slots.count(slot);
  }

  /**
   * Takes the slots from `at` on out, with their records. It takes as long as there are slots, however many records.
   * @param at above the first slot, at most the last.
   * @returns records of those slots with the same hash key. Who does not need them clears them.
   */
  divide(at: number): Records {
    const { firstSlot, lastSlot } = this.#slots;
    const part = new Records(this.#slots.part(at, lastSlot), this.#hashKey, this.#pool);
    this.#slots = this.#slots.part(firstSlot, at - 1);
    this.#pool.mix(this.#ends);
    this.#ends = new ExpiryHeap(this.#slab);
    // Who has nothing in it does not have to share it.
    for (const each of [this, part]) if (each.size === 0) each.clear();
    return part;
  }

  /** Deletes all. It takes as long as there are slots: what others share is freed by them, in their sweeps. */
  clear(): void {
    const { firstSlot, lastSlot } = this.#slots;
    this.#pool.leave(this, this.#slots);
    const pool = new RecordPool(this.#hashKey);
    this.#slots = new SlotLists(firstSlot, lastSlot);
    this.#pool = pool;
    this.#slab = pool.slab;
    this.#index = pool.index;
    this.#ends = new ExpiryHeap(pool.slab);
    pool.enter(this);
  }

  /** Frees some of what others that shared the cells have left behind. To be called now and then. */
  sweep(): void {
    this.#pool.sweep(this, SWEPT_MAX);
  }

  #holds(slot: number): boolean {
    return slot >= this.#slots.firstSlot && slot <= this.#slots.lastSlot;
  }

  /** The ends among which a record of its own is at `place`. */
  #endsWith(reference: number, place: number): ExpiryHeap {
    if (this.#ends.has(reference, place)) return this.#ends;
    const mixed = this.#pool.mixedWith(reference, place);
    assert(mixed !== undefined, "a record with an end is among the ends");
    return mixed;
  }

  /**
   * @param word `NEXT` or `PREVIOUS`, of the record `reference`.
   * @param to the reference that it is to hold.
   */
  #link(reference: number, word: number, to: number): void {
    this.#slab.page(reference).words[wordOffset(reference) + word] = to;
  }

  #slotOf(reference: number): number {
    const { bytes, words } = this.#slab.page(reference);
    const at = wordOffset(reference);
    const start = (at << 2) + HEADER_BYTES;
    return slotOfBytes(bytes, start, start + (words[at + KEY_BYTES] as number));
  }

  /**
   * Puts a record into a cell of `bytes`, or a few more.
   * @param keptBytes of its value that are taken along.
   * @returns its new reference.
   */
  #move(reference: number, hash: number, bytes: number, keptBytes: number): number {
    const before = this.#slab.page(reference);
    const beforeAt = wordOffset(reference);
    const hasEnd = hasEndAt(before.words, beforeAt);
    const place = hasEnd ? (before.words[expiryWord(before, beforeAt)] as number) : 0;
    const kept = HEADER_BYTES + (before.words[beforeAt + KEY_BYTES] as number) + keptBytes;
    if (reference < 0 && Slab.isOwn(bytes)) {
      this.#slab.resizeOwn(reference, bytes, kept);
      const page = this.#slab.page(reference);
      if (hasEnd) page.words[expiryWord(page, 0)] = place;
      return reference;
    }

    const moved = this.#slab.allocate(bytes);
    const page = this.#slab.page(moved);
    const at = wordOffset(moved);
    const from = beforeAt << 2;
    page.bytes.set(before.bytes.subarray(from, from + kept), at << 2);
    const next = page.words[at + NEXT] as number;
    const previous = page.words[at + PREVIOUS] as number;
    if (previous === 0) this.#slots.setFirst(this.#slotOf(reference), moved);
    else this.#link(previous, NEXT, moved);
    if (next === 0) this.#slots.setLast(this.#slotOf(reference), moved);
    else this.#link(next, PREVIOUS, moved);
    this.#index.replace(hash, reference, moved);
    if (hasEnd) {
      page.words[expiryWord(page, at)] = place;
      this.#endsWith(reference, place).relocate(place, moved);
    }
    this.#slab.free(reference);
    return moved;
  }
}

/** Whether a record of so many bytes may stay in a cell when its value is replaced by a shorter one. */
function fills(bytes: number, cellBytes: number): boolean {
  return (
    bytes * FILLED_DENOMINATOR >= cellBytes * FILLED_NUMERATOR ||
    Slab.cellBytes(bytes) === cellBytes
  );
}
