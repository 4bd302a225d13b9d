/**
 * A node's disk for as long as the node runs: what it gives back at the start, what the core wants written, and what happens
 * when it fails. A node whose disk fails leaves the in-sync sets, and comes back with all that it holds once a disk works.
 */

import { assert } from "../kit/assert.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { JournalItem, RestoredLog } from "../replica/journal.ts";
import type { StateMachine } from "../replica/ports.ts";
import type { CoreOptions, StoredShard } from "../replica/surface.ts";
import type { LoadReport } from "../store/load.ts";
import type { OpenStoreOptions } from "../store/open-store.ts";
import type { Store, StoreStatus } from "../store/store.ts";

/** Bytes that may wait to be written; a disk that falls behind further is no use. */
const PENDING_BYTES_MAX = 256 << 20;
/** Time between two attempts to use a disk that failed, ms. */
const RETRY_MS = 5_000;

export interface DiskOptions {
  /** Opens the store, at the start and after a failure. */
  readonly open: (
    options: Pick<OpenStoreOptions, "onSaved" | "onFailed" | "onCorrupt" | "source">,
  ) => Promise<Store>;
  readonly createStateMachine: (range: {
    readonly firstSlot: number;
    readonly lastSlot: number;
  }) => StateMachine;
  readonly log: (
    level: "info" | "warn" | "error",
    text: string,
    fields: Readonly<Record<string, unknown>>,
  ) => void;
}

/** Who the disk works for. */
export interface DiskUser {
  stored(shard: ShardId): StoredShard | undefined;
  saved(items: number, filling: ReadonlySet<ShardId>): void;
  /** Nothing more is written: the node must not be relied on. */
  diskFailed(): void;
  /** Another disk, with nothing on it, takes the journal from its next item on. */
  diskReplaced(): void;
}

export class Disk {
  readonly #options: DiskOptions;
  #store: Store | undefined;
  #user: DiskUser | undefined;
  #restored: CoreOptions["restored"];
  #lastStatus: StoreStatus | undefined;
  #isClosed = false;
  #retry: NodeJS.Timeout | undefined;

  private constructor(options: DiskOptions) {
    this.#options = options;
  }

  /**
   * Opens the store and reads it back.
   * @throws StoreError with a message for the operator.
   */
  static async open(options: DiskOptions): Promise<Disk> {
    const disk = new Disk(options);
    const store = await disk.#open();
    disk.#store = store;
    disk.#restored = await disk.#load(store);
    return disk;
  }

  /** What the store gave back; undefined if it has never been used. */
  get restored(): CoreOptions["restored"] {
    return this.#restored;
  }

  /** Of a disk that failed, as it was then; undefined before there is anything to tell. */
  status(): StoreStatus | undefined {
    return this.#store?.status() ?? this.#lastStatus;
  }

  /** To be called once, before anything is appended. */
  attach(user: DiskUser): void {
    this.#user = user;
    // What was given back lives on in the core; it is not to be kept twice.
    this.#restored = undefined;
  }

  append(items: readonly JournalItem[]): void {
    const store = this.#store;
    if (items.length === 0 || store === undefined) return;
    store.append(items);
    if (store.pendingBytes <= PENDING_BYTES_MAX) return;
    this.#store = undefined;
    this.#failed(`it is too slow: ${store.pendingBytes} bytes wait to be written`, store);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#store?.close();
  }

  async #open(): Promise<Store> {
    return this.#options.open({
      source: {
        seq: (shard) => this.#stored(shard).log.lastSeq,
        lastSlot: (shard) => this.#stored(shard).record.lastSlot,
        checkpoint: (shard) => this.#stored(shard).checkpoint(),
        record: (shard, key) => this.#stored(shard).machine.record(key),
        records: (shard, fromSlot, bytes) => this.#stored(shard).machine.copyOut(fromSlot, bytes),
      },
      onSaved: (items, filling) => this.#user?.saved(items, filling),
      onFailed: (error) => {
        const store = this.#store;
        this.#store = undefined;
        this.#failed(error.message, store);
      },
      onCorrupt: ({ reason, movedTo }) => {
        this.#options.log("error", "what the disk held is damaged; it is fetched from the peers", {
          reason,
          movedTo,
        });
      },
    });
  }

  #stored(shard: ShardId): StoredShard {
    const stored = this.#user?.stored(shard);
    assert(stored !== undefined, "what is stored exists");
    return stored;
  }

  async #load(store: Store): Promise<CoreOptions["restored"]> {
    const machines = new Map<ShardId, StateMachine>();
    const restored = new Map<ShardId, { log: RestoredLog; machine: StateMachine }>();
    let isDiscarded = false;
    const report = await store.load({
      begin: ({ shard, firstSlot, lastSlot }) => {
        machines.set(shard, this.#options.createStateMachine({ firstSlot, lastSlot }));
      },
      records: (shard, records) => machines.get(shard)?.copyIn(records),
      restored: (log) => {
        const { shard, seq: checkpointSeq } = log.checkpoint;
        const machine = machines.get(shard);
        assert(machine !== undefined, "a shard's keys come before its log");
        for (const { seq, effects } of log.entries) {
          if (seq > checkpointSeq) machine.replay(effects, seq);
        }
        restored.set(shard, { log, machine });
      },
      discard: () => {
        isDiscarded = true;
      },
    });
    this.#tell(report);
    return isDiscarded || store.isNew ? undefined : restored;
  }

  #tell({ shards, keys, entries, ms }: LoadReport): void {
    const keysPerSecond = Math.round((keys + entries) / Math.max(ms / 1_000, 0.001));
    const text =
      shards === 0 ? "the disk holds nothing yet" : `read ${shards} shards from the disk`;
    this.#options.log("info", text, { shards, keys, entries, ms: Math.round(ms), keysPerSecond });
  }

  /** @param store what failed, if it was in use. */
  #failed(why: string, store: Store | undefined): void {
    if (store !== undefined) this.#lastStatus = { ...store.status(), failure: why };
    const advice =
      "this node leaves the in-sync sets, and comes back when the disk can be written again";
    this.#options.log("error", `the disk failed: ${why}`, { advice });
    this.#user?.diskFailed();
    this.#retryLater(store);
  }

  #retryLater(failed: Store | undefined): void {
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => {
      this.#replace(failed).then(
        () => this.#options.log("info", "the disk works again", {}),
        (error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error);
          this.#options.log("warn", "the disk cannot be used yet", { reason });
          this.#retryLater(undefined);
        },
      );
    }, RETRY_MS);
    this.#retry.unref();
  }

  async #replace(failed: Store | undefined): Promise<void> {
    // One that failed may not even close; what matters is whether the next can be opened.
    await failed?.close().catch(() => undefined);
    if (this.#isClosed) return;
    const store = await this.#open();
    try {
      await store.forget();
    } catch (error) {
      // Whatever else fails: it must not stay open, or the next attempt finds the place in use.
      await store.close().catch(() => undefined);
      throw error;
    }
    this.#store = store;
    this.#user?.diskReplaced();
  }
}
