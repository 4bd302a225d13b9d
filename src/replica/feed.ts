/** How far a primary has got in feeding one learner, from the log or with a copy (R9). */

import type { SlotRecords } from "../data/effect.ts";
import { SLOT_COUNT } from "./configuration.ts";

/** What a record counts in the window beside its key and value. */
const RECORD_BYTES = 32;

/** Invariant: the learner has been sent every effect up to `sentSeq` on the slots below `slot`, and none on the others. */
export class Feed {
  readonly copyId: number;
  /** The feed began with the state up to this seq; the learner may hold no entry up to it. */
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
  /** Keys and bytes of the copy sent so far. */
  keysSent = 0;
  bytesSent = 0;
  readonly startedMs: number;
  readonly isCopy: boolean;
  /** The learner, holding all slots, has lately got within a short time what the log held at the beginning of that time. */
  isCloseBehind = false;
  #goal: { readonly seq: number; readonly atMs: number } | undefined;
  #index = 0;
  #pending: { readonly index: number; readonly bytes: number }[] = [];

  /**
   * @param sentSeq what the learner holds, or begins its copy with.
   * @param firstSlot of a copy; undefined if the learner goes on from what it holds.
   * @param nowMs own time.
   */
  constructor(copyId: number, sentSeq: number, firstSlot: number | undefined, nowMs: number) {
    this.startedMs = nowMs;
    this.isCopy = firstSlot !== undefined;
    this.copyId = copyId;
    this.baseSeq = sentSeq;
    this.sentSeq = sentSeq;
    this.slot = firstSlot ?? SLOT_COUNT;
    this.isSent = firstSlot === undefined;
    this.isWhole = this.isSent;
  }

  /**
   * Notes how far the learner is, to judge whether it keeps up.
   * @param withinMs what counts as a short time.
   */
  note(
    nowMs: number,
    withinMs: number,
    log: { readonly ackSeq: number; readonly lastSeq: number },
  ): void {
    if (!this.isWhole) return;
    const goal = this.#goal;
    const isReached = goal !== undefined && log.ackSeq >= goal.seq;
    if (goal !== undefined && (isReached || nowMs - goal.atMs > withinMs)) {
      this.isCloseBehind = nowMs - goal.atMs <= withinMs;
    }
    if (goal === undefined || isReached) this.#goal = { seq: log.lastSeq, atMs: nowMs };
  }

  /** Notes that the slots up to `nextSlot` are sent; returns the chunk's index. */
  sent(records: SlotRecords, nextSlot: number, isLast: boolean): number {
    this.#index += 1;
    let bytes = RECORD_BYTES;
    for (const { key, value } of records) bytes += key.length + value.length + RECORD_BYTES;
    this.#pending.push({ index: this.#index, bytes });
    this.pendingBytes += bytes;
    this.bytesSent += bytes;
    this.keysSent += records.length;
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
