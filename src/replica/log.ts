/** A shard's log: the entries that someone may still ask for, and the epoch of every seq, also of those cut (R8). */

import { Bytes } from "../data/bytes.ts";
import { assert } from "../kit/assert.ts";
import { ByteReader, ByteWriter } from "../kit/bytes.ts";
import { allocate, Memories, type Memory } from "../kit/memory.ts";
import type { Entry, EpochRow } from "./entry.ts";
import { EntryBatch } from "./entry-batch.ts";
import { isPlainOf, numberIn, readEntry, renumber, writeEntry, writeStub } from "./entry-codec.ts";
import { Issuers } from "./issuers.ts";

/** Rows of the epoch table that are kept. A replica that was away for more epochs is copied whole. */
const EPOCHS_KEPT = 1_000;
/** Of a chunk of entries. A larger entry has a chunk of its own, as many times as long. */
const CHUNK_BYTES = 16 << 10;
/** What an entry counts beside its bytes: where it is. */
const PLACE_BYTES = 12;
const FIRST_PLACES = 64;
/** Chunks that are kept for later; a log grows and is cut by turns. */
const SPARE_MAX = 4;

const writer = new ByteWriter();

/** Plain entries of which a receiver needs no more than a stub, for it asked for them itself. */
export interface Stubs {
  /** Its number. */
  readonly issuer: number;
  /** Entries up to this one are sent whole. */
  readonly afterSeq: number;
}

/**
 * Entries in order without a gap, from `firstSeq` to `lastSeq`, as their bytes: thousands of objects that live for seconds
 * would keep the garbage collector busy. What is committed may be cut from the front.
 *
 * The bytes lie in chunks; a position counts the bytes of all chunks since the log began, and an entry lies within one chunk.
 * Nobody else refers to a chunk: whoever asks for entries gets a copy. So the memory of what is cut is used again, and a log
 * that goes on for ever makes no garbage: old memory outside of the heap is what makes the collector look at all of the heap.
 * Invariant: the epoch table's first seqs and epochs both grow.
 */
export class Log {
  /** The chunks that hold entries; undefined where the one before is longer than `CHUNK_BYTES`. */
  #chunks: (Memory | undefined)[] = [];
  /** Number of the first of `#chunks` since the log began. */
  #firstChunk = 0;
  /** Where the next entry begins. */
  #end = 0;
  /** Where each held entry begins and how long it is, by its seq modulo the length, which is a power of two. */
  #starts = new Float64Array(FIRST_PLACES);
  #lengths = new Uint32Array(FIRST_PLACES);
  #firstSeq = 1;
  #lastSeq = 0;
  #bytes = 0;
  /** Of entries that came as bytes. */
  readonly #sources = new Memories();
  /** Chunks of what was cut. */
  #spare: Memory[] = [];
  /** Below this position are chunks that another log refers to as well. */
  #sharedEnd = 0;
  /** What was asked for last: every peer asks for the same. */
  #slice: EntryBatch | undefined;
  #epochs: EpochRow[] = [];
  #issuers: Issuers;

  /** @param issuers the node's numbers. */
  constructor(issuers: Issuers = new Issuers()) {
    this.#issuers = issuers;
  }

  /** Seq of the last entry, cut or not; 0 for an empty log. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Seq of the oldest entry that is still held; `lastSeq + 1` if none is. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  /** What the entries held count in the bounds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Epoch of the last entry; 0 for an empty log. */
  get lastEpoch(): number {
    return this.#epochs.at(-1)?.epoch ?? 0;
  }

  /** @param given the entry's bytes, where there are some already, with whosever numbers. */
  append(entry: Entry, given?: Bytes): void {
    assert(entry.form !== "stub", "a log has whole entries");
    assert(entry.seq === this.#lastSeq + 1, "the log has no gaps");
    const epoch = this.lastEpoch;
    assert(entry.epoch >= epoch, "epochs grow along the log");
    if (entry.epoch > epoch) {
      this.#epochs.push({ epoch: entry.epoch, firstSeq: entry.seq });
      if (this.#epochs.length > EPOCHS_KEPT) this.#epochs.shift();
    }
    const { stamp } = entry;
    let encoded = given;
    let number: number | undefined;
    if (encoded !== undefined && numberIn(encoded.buffer, encoded.start) !== undefined) {
      number = stamp && this.#issuers.numberOf(stamp.node, stamp.incarnation);
      if (number === undefined) encoded = undefined;
    }
    if (encoded === undefined) {
      writer.reset(true);
      writeEntry(writer, entry, this.#issuers);
    }
    const length = encoded?.length ?? writer.length;
    const chunk = this.#room(length);
    const at = this.#end % CHUNK_BYTES;
    if (encoded === undefined) writer.copyTo(chunk, at);
    else this.#sources.copy(encoded.buffer, encoded.start, encoded.end, chunk, at);
    if (number !== undefined) renumber(chunk.bytes, at, number);
    this.#lastSeq = entry.seq;
    if (this.#lastSeq - this.#firstSeq >= this.#starts.length) this.#grow();
    const place = entry.seq & (this.#starts.length - 1);
    this.#starts[place] = this.#end;
    this.#lengths[place] = length;
    this.#end += length;
    this.#bytes += length + PLACE_BYTES;
  }

  /** The chunk that has room for so many bytes at `#end`. */
  #room(length: number): Memory {
    const used = this.#end % CHUNK_BYTES;
    if (used > 0 && used + length <= CHUNK_BYTES) {
      const chunk = this.#chunkAt(this.#end);
      if (chunk !== undefined) return chunk;
    }
    // After a long chunk too: what is left of it cannot be told from the chunk's number.
    this.#end = Math.ceil(this.#end / CHUNK_BYTES) * CHUNK_BYTES;
    const count = Math.max(1, Math.ceil(length / CHUNK_BYTES));
    const chunk = (count === 1 ? this.#spare.pop() : undefined) ?? allocate(count * CHUNK_BYTES);
    this.#chunks.push(chunk);
    for (let i = 1; i < count; i += 1) this.#chunks.push(undefined);
    return chunk;
  }

  #chunkAt(position: number): Memory | undefined {
    return this.#chunks[Math.floor(position / CHUNK_BYTES) - this.#firstChunk];
  }

  /** The chunk of the entry that begins at `start`. */
  #chunkOf(start: number): Memory {
    const chunk = this.#chunkAt(start);
    assert(chunk !== undefined, "an entry begins in a chunk");
    return chunk;
  }

  #grow(): void {
    const size = this.#starts.length * 2;
    const starts = new Float64Array(size);
    const lengths = new Uint32Array(size);
    for (let seq = this.#firstSeq; seq < this.#lastSeq; seq += 1) {
      starts[seq & (size - 1)] = this.#startOf(seq);
      lengths[seq & (size - 1)] = this.#lengthOf(seq);
    }
    this.#starts = starts;
    this.#lengths = lengths;
  }

  #startOf(seq: number): number {
    return this.#starts[seq & (this.#starts.length - 1)] ?? 0;
  }

  #lengthOf(seq: number): number {
    return this.#lengths[seq & (this.#lengths.length - 1)] ?? 0;
  }

  /** The entry `seq`, or undefined if it is cut or not there yet. */
  at(seq: number): Entry | undefined {
    if (seq < this.#firstSeq || seq > this.#lastSeq) return undefined;
    const bytes = this.#copy(seq, 1, this.#lengthOf(seq));
    return readEntry(new ByteReader(bytes, 0, bytes.length), seq, this.#issuers);
  }

  /** @param length of so many entries from `fromSeq` on, bytes. */
  #copy(fromSeq: number, count: number, length: number): Buffer {
    const copy = Buffer.allocUnsafe(length);
    let at = 0;
    for (let seq = fromSeq; seq < fromSeq + count; ) {
      const start = this.#startOf(seq);
      let end = start + this.#lengthOf(seq);
      for (seq += 1; seq < fromSeq + count; seq += 1) {
        if (this.#startOf(seq) !== end || end % CHUNK_BYTES === 0) break;
        end += this.#lengthOf(seq);
      }
      const chunk = this.#chunkOf(start);
      const offset = start % CHUNK_BYTES;
      at += chunk.bytes.copy(copy, at, offset, offset + end - start);
    }
    return copy;
  }

  /** What the entry `seq` counts in the bounds; 0 if it is not held. */
  bytesAt(seq: number): number {
    if (seq < this.#firstSeq || seq > this.#lastSeq) return 0;
    return this.#lengthOf(seq) + PLACE_BYTES;
  }

  /**
   * The entries from `fromSeq` to the end, as far as about `bytesMax` bytes and at least one.
   * @param stubs of which of the plain ones a stub is enough.
   */
  slice(fromSeq: number, bytesMax: number, stubs?: Stubs): EntryBatch {
    assert(fromSeq >= this.#firstSeq, "only what is held can be sent");
    let count = 0;
    let bytes = 0;
    for (let seq = fromSeq; seq <= this.#lastSeq; seq += 1) {
      const length = this.#lengthOf(seq);
      if (count > 0 && bytes + length >= bytesMax) break;
      count += 1;
      bytes += length;
    }
    if (stubs !== undefined && this.#hasStub(fromSeq, count, stubs)) {
      return this.#withStubs(fromSeq, count, stubs);
    }
    const last = this.#slice;
    if (last !== undefined && last.firstSeq === fromSeq && last.length === count) return last;
    const copy = this.#copy(fromSeq, count, bytes);
    const encoded = new Bytes(copy, 0, bytes);
    const batch = new EntryBatch(fromSeq, count, encoded, this.#issuers);
    // A long one is a learner's.
    this.#slice = bytes <= CHUNK_BYTES ? batch : undefined;
    return batch;
  }

  #hasStub(fromSeq: number, count: number, stubs: Stubs): boolean {
    for (let seq = fromSeq; seq < fromSeq + count; seq += 1) {
      if (this.#isStub(seq, stubs)) return true;
    }
    return false;
  }

  #isStub(seq: number, { issuer, afterSeq }: Stubs): boolean {
    if (seq <= afterSeq) return false;
    const start = this.#startOf(seq);
    return isPlainOf(this.#chunkOf(start).bytes, start % CHUNK_BYTES, issuer);
  }

  #withStubs(fromSeq: number, count: number, stubs: Stubs): EntryBatch {
    writer.reset(true);
    for (let seq = fromSeq; seq < fromSeq + count; seq += 1) {
      const start = this.#startOf(seq);
      const chunk = this.#chunkOf(start);
      const at = start % CHUNK_BYTES;
      if (this.#isStub(seq, stubs)) writeStub(writer, chunk, at);
      else writer.copy(chunk, at, at + this.#lengthOf(seq));
    }
    const copy = Buffer.from(writer.bytes());
    const encoded = new Bytes(copy, 0, copy.length);
    return new EntryBatch(fromSeq, count, encoded, this.#issuers);
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
    while (this.#bytes > bytesKept && this.#firstSeq <= seq) {
      this.#bytes -= this.bytesAt(this.#firstSeq);
      this.#firstSeq += 1;
    }
    const isEmpty = this.#firstSeq > this.#lastSeq;
    const kept = Math.floor((isEmpty ? this.#end : this.#startOf(this.#firstSeq)) / CHUNK_BYTES);
    if (kept <= this.#firstChunk) return;
    for (const chunk of this.#chunks.splice(0, kept - this.#firstChunk)) {
      const isOwn = this.#firstChunk * CHUNK_BYTES >= this.#sharedEnd;
      if (isOwn && chunk?.bytes.length === CHUNK_BYTES && this.#spare.length < SPARE_MAX) {
        this.#spare.push(chunk);
      }
      this.#firstChunk += 1;
    }
  }

  /** The epoch table: the first seq of each epoch that has entries, in ascending order. */
  get epochs(): readonly EpochRow[] {
    return this.#epochs;
  }

  /**
   * Begins as another log is: the past of a shard is that of the shard that it was divided from (R16). Both refer to the same
   * bytes; what comes next goes into chunks of its own.
   */
  inherit(log: Log): void {
    this.#issuers = log.#issuers;
    this.#chunks = [...log.#chunks];
    this.#firstChunk = log.#firstChunk;
    this.#end = Math.ceil(log.#end / CHUNK_BYTES) * CHUNK_BYTES;
    this.#sharedEnd = this.#end;
    log.#sharedEnd = this.#end;
    this.#slice = undefined;
    this.#starts = log.#starts.slice();
    this.#lengths = log.#lengths.slice();
    this.#firstSeq = log.#firstSeq;
    this.#lastSeq = log.#lastSeq;
    this.#bytes = log.#bytes;
    this.#epochs = [...log.#epochs];
  }

  /** Begins anew after a copy, or from a disk: the state holds all up to `seq`, whose epochs are given; no entry is held. */
  reset(seq: number, epochs: readonly EpochRow[]): void {
    this.#chunks = [];
    this.#firstChunk = 0;
    this.#end = 0;
    this.#sharedEnd = 0;
    this.#slice = undefined;
    this.#bytes = 0;
    this.#firstSeq = seq + 1;
    this.#lastSeq = seq;
    this.#epochs = [...epochs];
  }
}
