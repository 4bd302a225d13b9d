/**
 * How a record lies in its cell. In words of 32 bits, from the cell's begin on:
 *
 *     0  seq of the entry that wrote it last, the lower 32 bits
 *     1  the upper 21 bits of the seq, and flags above them
 *     2  bytes of the value
 *     3  bytes of the key
 *     4  reference of the next record of the same slot, 0 at the end
 *     5  reference of the one before, 0 at the begin
 *     6  the key, and right behind it the value
 *
 * The last word of the cell is the number of the record's expiry if the key has an end.
 */

import { areEqual, type Memory } from "../kit/memory.ts";
import { type Page, type Slab, wordOffset } from "./slab.ts";

export const SEQ_LOW = 0;
export const SEQ_HIGH = 1;
export const VALUE_BYTES = 2;
export const KEY_BYTES = 3;
export const NEXT = 4;
export const PREVIOUS = 5;

export const HEADER_BYTES = 24;
export const EXPIRY_BYTES = 4;

/** In the word `SEQ_HIGH`: the key has an end. */
export const HAS_END = 1 << 21;
const SEQ_HIGH_MASK = HAS_END - 1;
const TWO_TO_32 = 2 ** 32;

/** @param at where the record begins in its page, in words; so everywhere here. */
export function seqAt(words: Int32Array, at: number): number {
  const low = (words[at] as number) >>> 0;
  const high = (words[at + SEQ_HIGH] as number) & SEQ_HIGH_MASK;
  return high === 0 ? low : high * TWO_TO_32 + low;
}

export function setSeqAt(words: Int32Array, at: number, seq: number): void {
  words[at] = seq | 0;
  const flags = (words[at + SEQ_HIGH] as number) & ~SEQ_HIGH_MASK;
  words[at + SEQ_HIGH] = flags | (seq < TWO_TO_32 ? 0 : Math.floor(seq / TWO_TO_32));
}

export function hasEndAt(words: Int32Array, at: number): boolean {
  return ((words[at + SEQ_HIGH] as number) & HAS_END) !== 0;
}

/** Index of the word with the number of the expiry. */
export function expiryWord(page: Page, at: number): number {
  return at + (page.cellBytes >> 2) - 1;
}

/** Bytes that the record takes of its cell. */
export function recordBytes(words: Int32Array, at: number): number {
  return (
    HEADER_BYTES +
    (words[at + KEY_BYTES] as number) +
    (words[at + VALUE_BYTES] as number) +
    (hasEndAt(words, at) ? EXPIRY_BYTES : 0)
  );
}

/** Whether the record's key is `key` from `start` to before `end`. */
export function hasKey(
  slab: Slab,
  reference: number,
  key: Memory,
  start: number,
  end: number,
): boolean {
  const page = slab.page(reference);
  const at = wordOffset(reference);
  if (page.words[at + KEY_BYTES] !== end - start) return false;
  return areEqual(page, (at << 2) + HEADER_BYTES, key, start, end);
}
