/** How far a primary has got in copying a shard to one learner (R9). */

import type { SlotRecords } from "../data/effect.ts";

/** What a record counts in the window beside its key and value. */
const RECORD_BYTES = 32;

/** Invariant: the learner has been sent every effect up to `sentSeq` on the slots below `slot`, and none on the others. */
export class Feed {
  readonly copyId: number;
  /** The copy began with the state up to this seq; the learner holds no entry up to it. */
  readonly baseSeq: number;
  /** Last seq of the stream that was sent. */
  sentSeq: number;
  /** The first slot that has not been sent. */
  slot: number;
  /** All slots are sent. */
  isSent = false;
  /** The learner has all slots. */
  isWhole = false;
  /** Bytes sent that the learner has not acknowledged. */
  pendingBytes = 0;
  #index = 0;
  #pending: { readonly index: number; readonly bytes: number }[] = [];

  constructor(copyId: number, sentSeq: number, firstSlot: number) {
    this.copyId = copyId;
    this.baseSeq = sentSeq;
    this.sentSeq = sentSeq;
    this.slot = firstSlot;
  }

  /** Notes that the slots up to `nextSlot` are sent; returns the chunk's index. */
  sent(records: SlotRecords, nextSlot: number, isLast: boolean): number {
    this.#index += 1;
    let bytes = RECORD_BYTES;
    for (const { key, value } of records) bytes += key.length + value.length + RECORD_BYTES;
    this.#pending.push({ index: this.#index, bytes });
    this.pendingBytes += bytes;
    this.slot = nextSlot;
    this.isSent = isLast;
    return this.#index;
  }

  /** Notes an acknowledgement; returns true when with it the learner has all. */
  acknowledge(index: number): boolean {
    while (this.#pending[0] !== undefined && this.#pending[0].index <= index) {
      this.pendingBytes -= this.#pending.shift()?.bytes ?? 0;
    }
    if (this.isWhole || !this.isSent || this.#pending.length > 0) return false;
    this.isWhole = true;
    return true;
  }
}
