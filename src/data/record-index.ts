/**
 * Finds the records of one pool by their keys: extendible hashing. A directory has a place for each value of the hash's
 * first bits and leads to *segments* of 1,024 entries, in which a record is sought from the place on that the hash's last bits
 * name. Each entry has the whole hash, so that the wrong record is looked at only once in hundreds of times.
 *
 * A segment that fills up is divided by one more bit of the hash. So growing costs some microseconds at a time, however many
 * keys there are.
 */

import { assert } from "../kit/assert.ts";
import type { Memory } from "../kit/memory.ts";
import { hasKey } from "./record.ts";
import type { Slab } from "./slab.ts";

const ENTRIES = 1024;
const ENTRY_MASK = ENTRIES - 1;
const ENTRIES_USED_MAX = ENTRIES * 0.8;
/** A segment with so few entries is united with its twin, if both have no more than so many together. */
const ENTRIES_UNITED_MAX = ENTRIES * 0.4;
const ENTRIES_SPARSE_MAX = ENTRIES * 0.2;

/** Entries are pairs of a reference and a hash, free where the reference is 0; behind them, about the segment itself: */
const COUNT = 2 * ENTRIES;
/** By how many of the hash's first bits its records are told from others. */
const DEPTH = COUNT + 1;
const SEGMENT_WORDS = COUNT + 2;

/** More than 2^26 segments hold more records than there is memory for. */
const DEPTH_MAX = 26;

export class RecordIndex {
  readonly #slab: Slab;
  #directory: Int32Array[];
  /** 32 − number of the hash's bits that the directory goes by. */
  #shift = 31;
  #segmentCount = 1;

  constructor(slab: Slab) {
    this.#slab = slab;
    const segment = new Int32Array(SEGMENT_WORDS);
    this.#directory = [segment, segment];
  }

  /** Bytes of all segments. */
  get bytes(): number {
    return this.#segmentCount * SEGMENT_WORDS * 4;
  }

  /** @returns the reference of the key's record; 0 if there is none. */
  find(hash: number, key: Memory, start: number, end: number): number {
    const segment = this.#directory[hash >>> this.#shift] as Int32Array;
    for (let i = hash & ENTRY_MASK; ; i = (i + 1) & ENTRY_MASK) {
      const reference = segment[2 * i] as number;
      if (reference === 0) return 0;
      if (segment[2 * i + 1] === hash && hasKey(this.#slab, reference, key, start, end)) {
        return reference;
      }
    }
  }

  /** Takes a record in whose key is in no other one. */
  add(hash: number, reference: number): void {
    let segment = this.#directory[hash >>> this.#shift] as Int32Array;
    while ((segment[COUNT] as number) >= ENTRIES_USED_MAX) {
      this.#divide(hash, segment);
      segment = this.#directory[hash >>> this.#shift] as Int32Array;
    }
    put(segment, hash, reference);
  }

  /** Makes the entry of the record `from` lead to `to`. */
  replace(hash: number, from: number, to: number): void {
    const segment = this.#directory[hash >>> this.#shift] as Int32Array;
    segment[2 * placeOf(segment, hash, from)] = to;
  }

  remove(hash: number, reference: number): void {
    const segment = this.#directory[hash >>> this.#shift] as Int32Array;
    let hole = placeOf(segment, hash, reference);
    // What was put behind it only because it was in the way moves up, so that a search may end at the first free place.
    for (let i = (hole + 1) & ENTRY_MASK; segment[2 * i] !== 0; i = (i + 1) & ENTRY_MASK) {
      const wanted = (segment[2 * i + 1] as number) & ENTRY_MASK;
      if (((i - wanted) & ENTRY_MASK) < ((i - hole) & ENTRY_MASK)) continue;
      segment[2 * hole] = segment[2 * i] as number;
      segment[2 * hole + 1] = segment[2 * i + 1] as number;
      hole = i;
    }
    segment[2 * hole] = 0;
    const count = (segment[COUNT] as number) - 1;
    segment[COUNT] = count;
    if (count <= ENTRIES_SPARSE_MAX && (count & 31) === 0) this.#unite(hash, segment);
  }

  #divide(hash: number, segment: Int32Array): void {
    const depth = (segment[DEPTH] as number) + 1;
    if (depth > 32 - this.#shift) this.#doubleDirectory();
    const twin = new Int32Array(SEGMENT_WORDS);
    twin[DEPTH] = depth;
    const entries = segment.slice(0, 2 * ENTRIES);
    segment.fill(0);
    segment[DEPTH] = depth;
    for (let i = 0; i < entries.length; i += 2) {
      const reference = entries[i] as number;
      if (reference === 0) continue;
      const entryHash = entries[i + 1] as number;
      const isTwins = ((entryHash >>> (32 - depth)) & 1) === 1;
      put(isTwins ? twin : segment, entryHash, reference);
    }
    this.#assign(((hash >>> (32 - depth)) | 1) >>> 0, depth, twin);
    this.#segmentCount += 1;
  }

  #doubleDirectory(): void {
    assert(32 - this.#shift < DEPTH_MAX, "keys that differ have hashes that differ");
    const directory: Int32Array[] = [];
    for (const segment of this.#directory) directory.push(segment, segment);
    this.#directory = directory;
    this.#shift -= 1;
  }

  /** Makes all places whose first `depth` bits are `prefix` lead to `segment`. */
  #assign(prefix: number, depth: number, segment: Int32Array): void {
    const freeBits = 32 - this.#shift - depth;
    const from = prefix << freeBits;
    this.#directory.fill(segment, from, from + (1 << freeBits));
  }

  #unite(hash: number, segment: Int32Array): void {
    const depth = segment[DEPTH] as number;
    if (depth === 0) return;
    const prefix = hash >>> (32 - depth);
    const twin = this.#directory[(prefix ^ 1) << (32 - this.#shift - depth)] as Int32Array;
    const count = (segment[COUNT] as number) + (twin[COUNT] as number);
    if (twin[DEPTH] !== depth || count > ENTRIES_UNITED_MAX) return;
    for (let i = 0; i < 2 * ENTRIES; i += 2) {
      const reference = twin[i] as number;
      if (reference !== 0) put(segment, twin[i + 1] as number, reference);
    }
    segment[DEPTH] = depth - 1;
    this.#assign(prefix >>> 1, depth - 1, segment);
    this.#segmentCount -= 1;
  }
}

function put(segment: Int32Array, hash: number, reference: number): void {
  let i = hash & ENTRY_MASK;
  while (segment[2 * i] !== 0) i = (i + 1) & ENTRY_MASK;
  segment[2 * i] = reference;
  segment[2 * i + 1] = hash;
  segment[COUNT] = (segment[COUNT] as number) + 1;
}

/** Where the record's entry is. */
function placeOf(segment: Int32Array, hash: number, reference: number): number {
  let i = hash & ENTRY_MASK;
  for (; segment[2 * i] !== reference; i = (i + 1) & ENTRY_MASK) {
    assert(segment[2 * i] !== 0, "the index has every record of its pool");
  }
  return i;
}
