/**
 * What the store needs of whatever keeps its bytes. An engine knows nothing of replication: it makes batches of changes
 * durable, each as a whole and in order, and gives back what is there.
 *
 * A shard's log belongs to a *life*, its keys to a *generation*. Both only grow while there is a state of the shard; what
 * has another number than the state names is garbage, and `sweep` takes it away. So all of a shard's keys are forgotten by
 * one small change.
 */

import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import type { ShardId } from "../replica/configuration.ts";

/** One thing that a batch changes. If two changes of a batch concern the same thing, the later one holds. */
export type Change =
  | {
      readonly kind: "record";
      readonly shard: ShardId;
      readonly generation: number;
      readonly record: KeyRecord;
    }
  | {
      readonly kind: "no-record";
      readonly shard: ShardId;
      readonly generation: number;
      readonly key: string;
    }
  /** The key is another shard's by now, whose own record of it counts. */
  | {
      readonly kind: "left";
      readonly shard: ShardId;
      readonly generation: number;
      readonly key: string;
    }
  /** A piece of the log; `index` orders the pieces of a life. */
  | {
      readonly kind: "log";
      readonly shard: ShardId;
      readonly life: number;
      readonly index: number;
      readonly bytes: Buffer;
    }
  | {
      readonly kind: "no-log";
      readonly shard: ShardId;
      readonly life: number;
      readonly index: number;
    }
  /** What is live of a shard; without one, nothing of it counts. */
  | { readonly kind: "state"; readonly shard: ShardId; readonly bytes: Buffer }
  | { readonly kind: "no-state"; readonly shard: ShardId };

export interface LogPiece {
  readonly index: number;
  readonly bytes: Buffer;
}

/** What of a shard is not garbage. */
export interface Live {
  readonly life: number;
  readonly generation: number;
}

/** All methods but `write` throw `StoreError` (`corrupt`, `io`). Batches are written one at a time. */
export interface Engine {
  /**
   * Whether records go by themselves when their time is over. Then those whose time or value an entry changes must be written
   * together with the entry: the old record might be gone when it is needed.
   */
  readonly forgetsExpired: boolean;
  /**
   * Makes all the changes or none.
   * @param isSynced whether what this batch and all before it changed must survive a loss of power when this resolves.
   * @returns bytes written.
   * @throws StoreError (`io`); whether the batch will be found at the next start is then unknown.
   */
  write(changes: readonly Change[], isSynced: boolean): Promise<number>;
  states(): Promise<readonly { readonly shard: ShardId; readonly bytes: Buffer }[]>;
  /** A shard's records, in chunks of any order, while nothing is written. */
  records(shard: ShardId, generation: number): AsyncIterable<SlotRecords>;
  /** The keys of those records, while batches may be written: some may be gone by then, or new. */
  keys(shard: ShardId, generation: number): AsyncIterable<readonly string[]>;
  /** A shard's log, in order. */
  log(shard: ShardId, life: number): AsyncIterable<readonly LogPiece[]>;
  /**
   * Deletes the logs of earlier lives and the records of earlier generations of a shard; or all of a shard without a state
   * and, if no shard is named, of every shard that is not in `live`. May run beside writes.
   */
  sweep(shard: ShardId, live: Live): Promise<void>;
  sweepAll(live: ReadonlyMap<ShardId, Live>): Promise<void>;
  close(): Promise<void>;
}
