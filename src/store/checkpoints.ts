/** Which keys are written when: one shard's checkpoint after the other, in slices that hold up neither the loop nor the log. */

import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import { assert } from "../kit/assert.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Checkpoint } from "../replica/journal.ts";
import { stateBytes } from "./codec.ts";
import type { Change, Engine, Live } from "./engine.ts";
import type { ShardBook } from "./shard-book.ts";

/** When checkpoints are made, and in which steps. */
export interface CheckpointSettings {
  /** A shard's checkpoint is due after so much time, ms, */
  readonly everyMs: number;
  /** or after so many bytes of its log. */
  readonly logBytes: number;
  /** One slice has at most so many keys, */
  readonly sliceKeys: number;
  /** and ends after so many bytes. */
  readonly sliceBytes: number;
  /** Time between two slices of a checkpoint that nobody waits for, ms. */
  readonly pauseMs: number;
}

export const CHECKPOINT_SETTINGS: CheckpointSettings = {
  everyMs: 10_000,
  logBytes: 4 * 1024 * 1024,
  sliceKeys: 500,
  sliceBytes: 128 * 1024,
  pauseMs: 5,
};

/** How often it is looked for checkpoints that are due, at least; ms. */
const LOOK_MS = 250;
/** What a record costs besides its key and value, roughly. */
const RECORD_OVERHEAD_BYTES = 32;

/** The state of the shards, as the core has it now. All that it answers is of one moment. */
export interface StoreSource {
  /** Seq of the last entry that the shard's state has applied. */
  seq(shard: ShardId): number;
  /** The last of the shard's slots. */
  lastSlot(shard: ShardId): number;
  /** What belongs beside the shard's keys, with `seq` as above. */
  checkpoint(shard: ShardId): Checkpoint;
  /** @returns undefined if there is no such key. */
  record(shard: ShardId, key: string): KeyRecord | undefined;
  /** Records of whole slots, as `StateMachine.copyOut` gives them. @param bytes about how many. */
  records(
    shard: ShardId,
    fromSlot: number,
    bytes: number,
  ): { readonly records: SlotRecords; readonly nextSlot: number };
}

/** Part of a batch. */
export interface Slice {
  readonly changes: readonly Change[];
  /** Whether a shard is stored for the first time and waits for it. */
  readonly isFill: boolean;
  /** To be called when the batch is written. */
  readonly done: (() => void) | undefined;
}

interface Work {
  readonly book: ShardBook;
  readonly checkpoint: Checkpoint;
  readonly generation: number;
  /** The keys that are still to be written; undefined if all are, slot by slot. */
  readonly keys: IterableIterator<string> | undefined;
  /** All keys of a checkpoint, and whether it is of a new generation. */
  readonly dirty: ReadonlySet<string>;
  readonly isFlushed: boolean;
  nextSlot: number;
}

export class Checkpoints {
  readonly #source: StoreSource;
  readonly #settings: CheckpointSettings;
  /** Shards that are to be stored for the first time, in this order. */
  readonly #fills = new Set<ShardBook>();
  readonly #purges = new Set<ShardBook>();
  /** Whose strays are to be found before it goes on. */
  #seeking: ShardBook | undefined;
  #finding: Promise<void> | undefined;
  readonly #garbage = new Map<ShardId, Live>();
  #work: Work | undefined;
  #nextAtMs = 0;
  #lookAtMs = 0;
  #count = 0;
  #sweeping: Promise<void> | undefined;

  constructor(source: StoreSource, settings: CheckpointSettings) {
    this.#source = source;
    this.#settings = settings;
  }

  /** Checkpoints recorded so far, those of shards that were stored for the first time included. */
  get count(): number {
    return this.#count;
  }

  /** Stores all of a shard as soon as possible. */
  fill(book: ShardBook): void {
    this.#fills.add(book);
  }

  /**
   * Deletes what is stored of a shard that became void and has a base, among that one's keys too. It is not filled before: a
   * crash until then brings back what it was, which needs every key that the base has of it.
   */
  purge(book: ShardBook): void {
    this.#purges.add(book);
  }

  /** The shard's keys are no business of the store any more. */
  cancel(book: ShardBook): void {
    this.#fills.delete(book);
    this.#purges.delete(book);
    if (this.#work?.book === book) this.#work = undefined;
  }

  /** Before a shard is divided: it has no checkpoint, and is not filled, before the new one is. */
  divide(book: ShardBook, part: ShardBook): void {
    const work = this.#work;
    let isFill = this.#fills.delete(book);
    if (work?.book === book) {
      this.#work = undefined;
      if (work.keys === undefined) isFill = true;
      for (const key of work.dirty) book.dirty.add(key);
      if (work.isFlushed) book.isFlushed = true;
    }
    this.#fills.add(part);
    if (isFill) this.#fills.add(book);
  }

  /** Has what is stored of a shard swept, except what is live. No state that is stored names any of it. */
  discard(shard: ShardId, live: Live): void {
    this.#garbage.set(shard, live);
  }

  /** When `next` may have something, monotonic ms. */
  nextAtMs(nowMs: number): number {
    const isIdle = this.#work === undefined && this.#fills.size === 0 && this.#purges.size === 0;
    if (isIdle) return Math.max(nowMs, this.#lookAtMs);
    return Math.max(nowMs, this.#nextAtMs);
  }

  /**
   * The next keys to write, or undefined if it is not time for any. They must be written together with all entries that were
   * appended before, or after them.
   */
  next(books: Iterable<ShardBook>, nowMs: number): Slice | undefined {
    if (nowMs < this.#nextAtMs) return undefined;
    const purged = this.#nextPurge(nowMs);
    if (purged !== undefined) return purged;
    const work = this.#work ?? this.#begin(books, nowMs);
    if (work === undefined) return undefined;
    if (!this.#isInStep(work.book)) {
      this.#nextAtMs = nowMs + 1;
      return undefined;
    }
    const changes: Change[] = [];
    const isComplete =
      work.keys === undefined ? this.#fillOn(work, changes) : this.#goOn(work, changes);
    const isFill = work.keys === undefined;
    if (!isFill) this.#nextAtMs = nowMs + this.#settings.pauseMs;
    if (!isComplete || (work.book.hasStrays && this.#seek(work.book, nowMs))) {
      return { changes, isFill: false, done: undefined };
    }
    this.#work = undefined;
    return { changes, isFill, done: this.#finish(work, changes) };
  }

  /**
   * Adds records of the keys that waiting entries changed, for an engine that forgets records.
   * @returns false if the state is ahead of the log, so that the entries have to wait too.
   */
  addChanged(book: ShardBook, changes: Change[]): boolean {
    // What is stored of a shard before its first keys are would never be deleted again.
    if (book.changed.size === 0) return true;
    if (this.#fills.has(book) && (book.base === undefined || this.#purges.has(book))) return true;
    if (!this.#isInStep(book)) return false;
    const { shard } = book;
    const generation = this.#work?.book === book ? this.#work.generation : book.generation;
    for (const key of book.changed) {
      if (!book.holds(key)) continue;
      const record = this.#source.record(shard, key);
      if (record === undefined) {
        changes.push({ kind: "no-record", shard, generation, key }, ...leftBehind(book, key));
      } else this.#add(changes, book, generation, record);
    }
    return true;
  }

  #nextPurge(nowMs: number): Slice | undefined {
    for (const book of this.#purges) {
      if (book.parts.size > 0 || (book.hasStrays && this.#seek(book, nowMs))) continue;
      this.#purges.delete(book);
      const changes: Change[] = [];
      this.#settle(book, changes, { isFilled: false });
      return { changes, isFill: false, done: undefined };
    }
    return undefined;
  }

  /** @returns true: it has to wait for its strays. */
  #seek(book: ShardBook, nowMs: number): true {
    this.#seeking ??= book;
    this.#nextAtMs = nowMs + this.#settings.pauseMs;
    return true;
  }

  /** Finds the keys that nobody knows of any more, in the background, so that they can be deleted. */
  async findStrays(engine: Engine): Promise<void> {
    const book = this.#seeking;
    if (book === undefined || this.#finding !== undefined) return;
    this.#finding = findStraysOf(book, engine);
    try {
      await this.#finding;
    } finally {
      this.#finding = undefined;
      this.#seeking = undefined;
    }
  }

  /** Deletes what no state names any more, in the background, one shard after the other. */
  async sweep(engine: Engine): Promise<void> {
    if (this.#sweeping !== undefined || this.#garbage.size === 0) return;
    this.#sweeping = this.#sweepAll(engine);
    try {
      await this.#sweeping;
    } finally {
      this.#sweeping = undefined;
    }
  }

  /** Waits until nothing is being deleted; errors are told to who called `sweep`. */
  async idle(): Promise<void> {
    this.#garbage.clear();
    await this.#finding?.catch(() => {});
    await this.#sweeping?.catch(() => {});
  }

  async #sweepAll(engine: Engine): Promise<void> {
    for (const [shard, live] of this.#garbage) {
      this.#garbage.delete(shard);
      await engine.sweep(shard, live);
    }
  }

  #begin(books: Iterable<ShardBook>, nowMs: number): Work | undefined {
    for (const book of this.#fills) {
      if (book.parts.size === 0 && !this.#purges.has(book)) return this.#beginFill(book);
    }
    if (nowMs < this.#lookAtMs) return undefined;
    this.#lookAtMs = nowMs + Math.min(LOOK_MS, this.#settings.everyMs);
    let due: ShardBook | undefined;
    for (const book of books) {
      if (!this.#isDue(book, nowMs)) continue;
      if (due === undefined || book.checkpointAtMs < due.checkpointAtMs) due = book;
    }
    return due === undefined ? undefined : this.#beginCheckpoint(due);
  }

  #isDue(book: ShardBook, nowMs: number): boolean {
    if (book.phase !== "stored" || book.parts.size > 0) return false;
    if (book.logBytes >= this.#settings.logBytes) return true;
    if (book.dirty.size === 0 && !book.isFlushed) return false;
    return nowMs - book.checkpointAtMs >= this.#settings.everyMs;
  }

  #beginFill(book: ShardBook): Work | undefined {
    const checkpoint = this.#checkpoint(book);
    if (checkpoint === undefined) return undefined;
    this.#fills.delete(book);
    const { dirty, isFlushed, generation } = book;
    book.dirty = new Set();
    book.isFlushed = false;
    const nextSlot = checkpoint.firstSlot;
    this.#work = { book, checkpoint, generation, keys: undefined, dirty, isFlushed, nextSlot };
    return this.#work;
  }

  #beginCheckpoint(book: ShardBook): Work | undefined {
    const checkpoint = this.#checkpoint(book);
    if (checkpoint === undefined) return undefined;
    const generation = book.isFlushed ? book.generation + 1 : book.generation;
    const { dirty, isFlushed } = book;
    const keys = dirty.values();
    book.dirty = new Set();
    book.isFlushed = false;
    book.logBytes = 0;
    this.#work = { book, checkpoint, generation, keys, dirty, isFlushed, nextSlot: 0 };
    return this.#work;
  }

  /** Else the state has something in it that the log, as far as it was appended, does not have. */
  #isInStep(book: ShardBook): boolean {
    const { shard, slots } = book;
    if (slots !== undefined && this.#source.lastSlot(shard) !== slots.last) return false;
    return this.#source.seq(shard) === book.lastSeq;
  }

  #checkpoint(book: ShardBook): Checkpoint | undefined {
    if (!this.#isInStep(book)) return undefined;
    const checkpoint = this.#source.checkpoint(book.shard);
    assert(checkpoint.seq === book.lastSeq, "a checkpoint is of the log's end");
    book.slots = { first: checkpoint.firstSlot, last: checkpoint.lastSlot };
    return checkpoint;
  }

  /** @returns whether all keys are written. */
  #goOn({ book, generation, keys }: Work, changes: Change[]): boolean {
    const { shard } = book;
    const { sliceKeys, sliceBytes } = this.#settings;
    assert(keys !== undefined, "a checkpoint knows its keys");
    for (let bytes = 0; changes.length < sliceKeys && bytes < sliceBytes; ) {
      const { value: key, done } = keys.next();
      if (done === true) return true;
      const record = this.#source.record(shard, key);
      if (record === undefined) {
        const kind = book.holds(key) ? "no-record" : "left";
        changes.push({ kind, shard, generation, key });
        bytes += key.length + RECORD_OVERHEAD_BYTES;
      } else {
        this.#add(changes, book, generation, record);
        bytes += key.length + record.value.length + RECORD_OVERHEAD_BYTES;
      }
    }
    return false;
  }

  /** @returns whether all slots are written. */
  #fillOn(work: Work, changes: Change[]): boolean {
    const { book, checkpoint, generation } = work;
    const { sliceBytes } = this.#settings;
    const { records, nextSlot } = this.#source.records(book.shard, work.nextSlot, sliceBytes);
    for (const record of records) this.#add(changes, book, generation, record);
    work.nextSlot = nextSlot;
    return nextSlot > checkpoint.lastSlot;
  }

  #add(changes: Change[], book: ShardBook, generation: number, record: KeyRecord): void {
    assert(record.seq <= (book.lastSeq ?? 0), "no record is newer than the log");
    changes.push({ kind: "record", shard: book.shard, generation, record });
    changes.push(...leftBehind(book, record.key));
  }

  /** Nothing of the shard that it was divided from is needed any more: its own keys are stored, or it became void. */
  #settle(book: ShardBook, changes: Change[], { isFilled }: { isFilled: boolean }): void {
    const { shard, generation } = book;
    for (const key of book.moved) {
      if (!book.holds(key)) continue;
      if (!isFilled || this.#source.record(shard, key) === undefined) {
        changes.push({ kind: "no-record", shard, generation, key });
      }
      changes.push(...leftBehind(book, key));
    }
    book.settle();
  }

  /** Records the checkpoint, and lets go of the log before the one before it: peers that return may still need the rest. */
  #finish({ book, checkpoint, generation }: Work, changes: Change[]): () => void {
    const { shard, life, phase } = book;
    changes.push({ kind: "state", shard, bytes: stateBytes({ life, generation, checkpoint }) });
    if (phase === "stored") changes.push(...book.takeObsolete(book.checkpointSeq));
    else if (book.base !== undefined) this.#settle(book, changes, { isFilled: true });
    return () => {
      this.#count += 1;
      // It may have become void meanwhile.
      if (book.life !== life || book.phase !== phase) return;
      if (book.generation !== generation || phase === "filling") {
        this.discard(shard, { life, generation });
      }
      book.phase = "stored";
      book.generation = generation;
      book.checkpointSeq = checkpoint.seq;
      book.checkpointAtMs = performance.now();
    };
  }
}

/** Takes a key away from where it may be stored beside the shard's own record. */
function leftBehind({ origins }: ShardBook, key: string): Change[] {
  return origins.map((origin) => ({ kind: "left", ...origin, key }));
}

async function findStraysOf(book: ShardBook, engine: Engine): Promise<void> {
  const { shard, generation } = book;
  for (const place of [{ shard, generation }, ...book.origins]) {
    for await (const keys of engine.keys(place.shard, place.generation)) {
      for (const key of keys) if (book.holds(key)) book.moved.add(key);
    }
  }
  book.hasStrays = false;
}
