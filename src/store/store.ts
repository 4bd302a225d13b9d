/**
 * A node's durable copy. It takes the journal of the core and keeps on disk, at any moment, what some first items of it
 * amount to: the entries as they come, and the keys that they touched from time to time, in checkpoints.
 *
 * A checkpoint is fuzzy. It is named after the log's end when it begins, and stores every key that was touched before as it
 * is when its turn comes. That is right because no record is stored before all entries that the state holds at that moment
 * are, and because who replays the log leaves out the effects on a key that its record has in it already.
 */

import { assert, unreachable } from "../kit/assert.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { JournalItem } from "../replica/journal.ts";
import {
  CHECKPOINT_SETTINGS,
  type CheckpointSettings,
  Checkpoints,
  type StoreSource,
} from "./checkpoints.ts";
import type { Change, Engine, Live } from "./engine.ts";
import { StoreError } from "./errors.ts";
import { type LoadHandlers, type LoadReport, loadShards } from "./load.ts";
import { type Phase, ShardBook } from "./shard-book.ts";

/** Under `async`, so many bytes that wait are written before their time. */
const FLUSH_BYTES = 8 * 1024 * 1024;

/** Where the bytes are kept, and how damaged ones are put aside. */
export interface Vault {
  engine: Engine;
  /** Nothing was there when it was opened, not even empty shards: either it is new, or what it held is gone. */
  readonly isNew: boolean;
  /** Puts all that is stored aside, as evidence, and makes `engine` an empty one. */
  setAside(reason: StoreError): Promise<void>;
  /** @throws StoreError (`io`) */
  close(): Promise<void>;
}

export interface StoreEvents {
  /**
   * The first `items` items of the journal are on disk, except for the shards in `filling`: of these nothing is, though
   * `whole` may be among the items. Called when either changes. The set is the store's own; it changes later.
   */
  onSaved(items: number, filling: ReadonlySet<ShardId>): void;
  /** Called once: the store has stopped, and nothing more will be saved. It can be closed and opened again. */
  onFailed(error: StoreError): void;
}

export interface StoreSettings extends StoreEvents {
  /** `fsync`: saved as soon as possible, what gathers meanwhile goes together. `async`: saved every `flushMs`. */
  readonly durability: "fsync" | "async";
  /** Time between two flushes under `async`, ms. */
  readonly flushMs: number;
  readonly source: StoreSource;
  /** For tests: other values than the usual ones. */
  readonly checkpoints?: Partial<CheckpointSettings>;
}

export interface StoreStatus {
  /** Items of the journal taken, and how many of them are saved. */
  readonly items: number;
  readonly savedItems: number;
  /** Bytes taken and not written yet: what the driver should slow down at. */
  readonly pendingBytes: number;
  readonly batches: number;
  readonly bytesWritten: number;
  readonly checkpoints: number;
  /** How long the last batch took that had to survive a loss of power, ms. */
  readonly lastFlushMs: number;
  /** How long the oldest checkpoint of a shard has been, ms; 0 if there is none. */
  readonly checkpointAgeMs: number;
  readonly failure: string | undefined;
  readonly shards: readonly {
    readonly shard: ShardId;
    readonly phase: Phase;
    readonly checkpointSeq: number;
    readonly lastSeq: number;
    /** Of the log since the checkpoint. */
    readonly logBytes: number;
    readonly dirtyKeys: number;
  }[];
}

type State = "new" | "loading" | "open" | "failed" | "closing" | "closed";

/** A batch that is being written. */
interface Batch {
  readonly changes: readonly Change[];
  readonly isSynced: boolean;
  readonly items: number;
  readonly bytes: number;
  /** What holds once it is written. */
  readonly done: () => void;
}

export class Store {
  readonly #vault: Vault;
  readonly #settings: StoreSettings;
  readonly #books = new Map<ShardId, ShardBook>();
  readonly #checkpoints: Checkpoints;
  /** Shards whose state is to be deleted with the next batch, and what may be written of them later. */
  readonly #voided = new Map<ShardId, Live>();
  readonly #filling = new Set<ShardId>();
  #state: State = "new";
  #failure: StoreError | undefined;

  #items = 0;
  #writtenItems = 0;
  #savedItems = 0;
  #pendingBytes = 0;
  /** Under `async`, when what waits is to be saved; monotonic ms. */
  #flushAtMs: number | undefined;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  #batches = 0;
  #bytesWritten = 0;
  #lastFlushMs = 0;

  /** Made by `openStore`. */
  constructor(vault: Vault, settings: StoreSettings) {
    this.#vault = vault;
    this.#settings = settings;
    this.#checkpoints = new Checkpoints(settings.source, {
      ...CHECKPOINT_SETTINGS,
      ...settings.checkpoints,
    });
  }

  /**
   * Gives back what is stored; to be called once, before anything is appended. If anything of it is damaged, all of it is put
   * aside, and the handlers are told to forget what they were given.
   * @throws StoreError (`io`)
   */
  async load(handlers: LoadHandlers): Promise<LoadReport> {
    this.#begin();
    const startMs = performance.now();
    try {
      const { books, keys, entries } = await loadShards(this.#vault.engine, handlers);
      for (const book of books) {
        book.checkpointAtMs = startMs;
        this.#books.set(book.shard, book);
        if (book.base !== undefined) this.#checkpoints.fill(book);
      }
      this.#state = "open";
      return { shards: books.length, keys, entries, ms: performance.now() - startMs };
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "corrupt")) throw error;
      handlers.discard();
      await this.#vault.setAside(error);
      this.#state = "open";
      return { shards: 0, keys: 0, entries: 0, ms: performance.now() - startMs };
    }
  }

  /**
   * Instead of `load`: deletes all that is stored, as after a failure, when the node has it in memory.
   * @throws StoreError (`io`)
   */
  async forget(): Promise<void> {
    this.#begin();
    const { engine } = this.#vault;
    try {
      const states = await engine.states();
      await engine.write(
        states.map(({ shard }) => ({ kind: "no-state", shard })),
        true,
      );
      await engine.sweepAll(new Map());
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "corrupt")) throw error;
      await this.#vault.setAside(error);
    }
    this.#state = "open";
  }

  /**
   * Takes the next items of the journal. Cheap; to be called once in a turn of the loop, with all that the core has emitted so
   * far, so that the source is never ahead of the items. Nothing is asked of the source before the first call. A shard begins as void unless it was loaded. After a failure, and
   * once it is closed, the store takes nothing any more.
   */
  append(items: readonly JournalItem[]): void {
    if (this.#state !== "open") {
      assert(this.#state !== "new" && this.#state !== "loading", "a store is loaded first");
      return;
    }
    for (const item of items) this.#pendingBytes += this.#take(item);
    for (const shard of this.#filling) {
      const book = this.#book(shard);
      book.lastSeq ??= this.#settings.source.seq(shard);
    }
    this.#items += items.length;
    if (items.length > 0 && this.#settings.durability === "async") {
      this.#flushAtMs ??= performance.now() + this.#settings.flushMs;
    }
    this.#pump();
  }

  /** Nothing was there when it was opened: either it is new, or what it held is gone. */
  get isNew(): boolean {
    return this.#vault.isNew;
  }

  /** Bytes taken and not written yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Saves what was appended, unless the store has failed, and lets go of the disk. */
  async close(): Promise<void> {
    if (this.#state === "closing" || this.#state === "closed") return;
    if (this.#state === "open") {
      this.#state = "closing";
      await this.#writing;
      this.#pump();
      await this.#writing;
    }
    clearTimeout(this.#timer);
    await this.#writing;
    this.#state = "closed";
    await this.#checkpoints.idle();
    await this.#vault.close();
  }

  status(): StoreStatus {
    const nowMs = performance.now();
    const stored = [...this.#books.values()].filter(({ phase }) => phase === "stored");
    return {
      items: this.#items,
      savedItems: this.#savedItems,
      pendingBytes: this.#pendingBytes,
      batches: this.#batches,
      bytesWritten: this.#bytesWritten,
      checkpoints: this.#checkpoints.count,
      lastFlushMs: this.#lastFlushMs,
      checkpointAgeMs: Math.max(0, ...stored.map((book) => nowMs - book.checkpointAtMs)),
      failure: this.#failure?.message,
      shards: [...this.#books.values()].map((book) => ({
        shard: book.shard,
        phase: book.phase,
        checkpointSeq: book.checkpointSeq,
        lastSeq: book.lastSeq ?? 0,
        logBytes: book.logBytes,
        dirtyKeys: book.dirty.size,
      })),
    };
  }

  #begin(): void {
    assert(this.#state === "new", "what is stored is read, or forgotten, once");
    this.#state = "loading";
  }

  /** @returns bytes to be written. */
  #take(item: JournalItem): number {
    const book = this.#book(item.shard);
    switch (item.kind) {
      case "entries":
        return book.append(item.entries);
      case "divided":
        return this.#divide(book, item.into, item.at);
      case "started":
        return book.started(item.epoch);
      case "void":
        this.#void(book);
        return 0;
      case "whole":
        // A core that says so twice wants it stored anew.
        if (book.phase !== "void") this.#void(book);
        this.#fill(book);
        return 0;
      default:
        unreachable(item);
    }
  }

  /** Stores all of a shard anew, under new numbers; until then nothing that comes now is. */
  #fill(book: ShardBook): void {
    book.whole();
    this.#filling.add(book.shard);
    this.#checkpoints.fill(book);
  }

  #divide(book: ShardBook, into: ShardId, at: number): number {
    const part = this.#book(into);
    if (book.phase === "void") return 0;
    const isFilling = this.#filling.has(book.shard);
    if (!isFilling && book.hasFrom(at)) {
      this.#checkpoints.divide(book, part);
      return book.divide(part, at);
    }
    // Nothing is stored of the one, or only of what it had left, so there is nothing that the other could need of it.
    for (const each of isFilling ? [book, part] : [part]) {
      this.#void(each);
      this.#fill(each);
    }
    return 0;
  }

  #book(shard: ShardId): ShardBook {
    let book = this.#books.get(shard);
    if (book === undefined) {
      book = new ShardBook(shard);
      this.#books.set(shard, book);
    }
    return book;
  }

  #void(book: ShardBook): void {
    this.#checkpoints.cancel(book);
    this.#filling.delete(book.shard);
    this.#voided.set(book.shard, book.fresh);
    book.void();
    if (book.base !== undefined) this.#checkpoints.purge(book);
  }

  /** Writes the next batch if it is time for one and none is being written. */
  #pump(): void {
    if (this.#writing !== undefined) return;
    if (this.#state !== "open" && this.#state !== "closing") return;
    const batch = this.#nextBatch();
    if (batch === undefined) {
      this.#sweep();
      this.#arm();
      return;
    }
    this.#writing = this.#write(batch);
  }

  #nextBatch(): Batch | undefined {
    const nowMs = performance.now();
    const changed: Change[] = [];
    if (this.#vault.engine.forgetsExpired && this.#state === "open") {
      for (const book of this.#books.values()) {
        if (!this.#checkpoints.addChanged(book, changed)) return undefined;
      }
    }
    const slice =
      this.#state === "closing" ? undefined : this.#checkpoints.next(this.#books.values(), nowMs);
    const isDue = this.#isFlushDue(nowMs);
    if (slice === undefined && !isDue) return undefined;
    // A slice may have the same keys, for another generation.
    const changes = slice === undefined ? changed : [...changed, ...slice.changes];
    // What other shards were divided from and still need goes later.
    const voided = [...this.#voided].filter(([shard]) => !this.#isNeeded(shard));
    for (const [shard] of voided) {
      const isStoredAnew = changes.some((item) => item.kind === "state" && item.shard === shard);
      if (!isStoredAnew) changes.push({ kind: "no-state", shard });
      this.#voided.delete(shard);
    }
    for (const book of this.#books.values()) {
      if (book.hasPending) for (const change of book.takePending()) changes.push(change);
    }
    if (isDue) this.#flushAtMs = undefined;
    return {
      changes,
      isSynced: isDue || slice?.isFill === true,
      items: this.#items,
      bytes: this.#pendingBytes,
      done: () => {
        for (const [shard, live] of voided) this.#checkpoints.discard(shard, live);
        slice?.done?.();
      },
    };
  }

  #isNeeded(shard: ShardId): boolean {
    const book = this.#books.get(shard);
    return book !== undefined && (book.parts.size > 0 || book.base !== undefined);
  }

  #isFlushDue(nowMs: number): boolean {
    if (this.#savedItems === this.#items) return false;
    if (this.#settings.durability === "fsync" || this.#state === "closing") return true;
    if (this.#pendingBytes >= FLUSH_BYTES) return true;
    return this.#flushAtMs !== undefined && nowMs >= this.#flushAtMs;
  }

  async #write(batch: Batch): Promise<void> {
    const startMs = performance.now();
    try {
      this.#bytesWritten += await this.#vault.engine.write(batch.changes, batch.isSynced);
    } catch (error) {
      this.#fail(error);
      return;
    } finally {
      this.#writing = undefined;
    }
    this.#batches += 1;
    this.#pendingBytes -= batch.bytes;
    this.#writtenItems = batch.items;
    batch.done();
    const filled = [...this.#filling].filter((shard) => this.#books.get(shard)?.phase === "stored");
    for (const shard of filled) this.#filling.delete(shard);
    if (batch.isSynced) this.#lastFlushMs = performance.now() - startMs;
    const savedItems = batch.isSynced ? this.#writtenItems : this.#savedItems;
    if (savedItems !== this.#savedItems || filled.length > 0) {
      this.#savedItems = savedItems;
      this.#settings.onSaved(savedItems, this.#filling);
    }
    this.#sweep();
    this.#pump();
  }

  #sweep(): void {
    const { engine } = this.#vault;
    this.#checkpoints.sweep(engine).catch((error: unknown) => this.#fail(error));
    this.#checkpoints.findStrays(engine).catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.#state === "failed" || this.#state === "closed") return;
    this.#state = "failed";
    clearTimeout(this.#timer);
    this.#failure =
      error instanceof StoreError
        ? error
        : new StoreError(error instanceof Error ? error.message : String(error), {
            code: "io",
            cause: error,
          });
    this.#settings.onFailed(this.#failure);
  }

  /** Sees to it that `#pump` is called again when there may be something to write. */
  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#state !== "open") return;
    const nowMs = performance.now();
    const atMs = Math.min(this.#flushAtMs ?? Infinity, this.#checkpoints.nextAtMs(nowMs));
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, atMs - nowMs));
    this.#timer.unref();
  }
}
