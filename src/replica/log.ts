/** A shard's log: the entries that someone may still ask for, and the epoch of every seq, also of those cut (R8). */

import { assert } from "../kit/assert.ts";
import type { Entry, EpochRow } from "./messages.ts";

/** Rows of the epoch table that are kept. A replica that was away for more epochs is copied whole. */
const EPOCHS_KEPT = 1_000;

/**
 * Entries in order without a gap, from `firstSeq` to `lastSeq`. What is committed may be cut from the front.
 * Invariant: the epoch table's first seqs and epochs both grow.
 */
export class Log {
  #entries: Entry[] = [];
  /** Bytes of each entry, beside the entries. */
  #sizes: number[] = [];
  /** Index of the first entry that is not cut; the array is compacted now and then. */
  #head = 0;
  #lastSeq = 0;
  #bytes = 0;
  #epochs: EpochRow[] = [];

  /** Seq of the last entry, cut or not; 0 for an empty log. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Seq of the oldest entry that is still held; `lastSeq + 1` if none is. */
  get firstSeq(): number {
    return this.#lastSeq - (this.#entries.length - this.#head) + 1;
  }

  /** Bytes of the entries held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Epoch of the last entry; 0 for an empty log. */
  get lastEpoch(): number {
    return this.#epochs.at(-1)?.epoch ?? 0;
  }

  /** @param bytes what the entry counts in the bounds. */
  append(entry: Entry, bytes: number): void {
    assert(entry.seq === this.#lastSeq + 1, "the log has no gaps");
    const epoch = this.lastEpoch;
    assert(entry.epoch >= epoch, "epochs grow along the log");
    if (entry.epoch > epoch) {
      this.#epochs.push({ epoch: entry.epoch, firstSeq: entry.seq });
      if (this.#epochs.length > EPOCHS_KEPT) this.#epochs.shift();
    }
    this.#entries.push(entry);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    this.#lastSeq = entry.seq;
  }

  /** The entry `seq`, or undefined if it is cut or not there yet. */
  at(seq: number): Entry | undefined {
    if (seq < this.firstSeq || seq > this.#lastSeq) return undefined;
    return this.#entries[this.#head + seq - this.firstSeq];
  }

  /** Bytes that the entry `seq` counts; 0 if it is not held. */
  bytesAt(seq: number): number {
    if (seq < this.firstSeq || seq > this.#lastSeq) return 0;
    return this.#sizes[this.#head + seq - this.firstSeq] ?? 0;
  }

  /** The entries from `fromSeq` to the end, as far as about `bytesMax` bytes and at least one. */
  slice(fromSeq: number, bytesMax: number): readonly Entry[] {
    assert(fromSeq >= this.firstSeq, "only what is held can be sent");
    const start = this.#head + fromSeq - this.firstSeq;
    let end = start;
    for (let bytes = 0; end < this.#entries.length && bytes < bytesMax; end += 1) {
      bytes += this.#sizes[end] ?? 0;
    }
    return this.#entries.slice(start, end);
  }

  /** Epoch in which `seq` was ordered, also if it is cut; 0 for seq 0, undefined past the end or before the table. */
  epochAt(seq: number): number | undefined {
    if (seq === 0) return 0;
    if (seq > this.#lastSeq) return undefined;
    for (let index = this.#epochs.length - 1; index >= 0; index -= 1) {
      const row = this.#epochs[index];
      if (row !== undefined && row.firstSeq <= seq) return row.epoch;
    }
    return undefined;
  }

  /** Cuts entries up to `seq` while more than `bytesKept` bytes are held. */
  cut(seq: number, bytesKept: number): void {
    while (this.#bytes > bytesKept && this.firstSeq <= seq) {
      this.#bytes -= this.#sizes[this.#head] ?? 0;
      this.#head += 1;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }

  /** The epoch table: the first seq of each epoch that has entries, in ascending order. */
  get epochs(): readonly EpochRow[] {
    return this.#epochs;
  }

  /** Begins as another log is: the past of a shard is that of the shard that it was divided from (R16). */
  inherit(log: Log): void {
    this.reset(log.lastSeq, log.#epochs);
    this.#entries = log.#entries.slice(log.#head);
    this.#sizes = log.#sizes.slice(log.#head);
    this.#bytes = log.#bytes;
  }

  /** Begins anew after a copy, or from a disk: the state holds all up to `seq`, whose epochs are given; no entry is held. */
  reset(seq: number, epochs: readonly EpochRow[]): void {
    this.#entries = [];
    this.#sizes = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#lastSeq = seq;
    this.#epochs = [...epochs];
  }
}
