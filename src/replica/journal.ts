/** What a replica writes down, and what it is given back at its next start (R12). Plain data; the room `store` keeps it. */

import type { ShardId } from "./configuration.ts";
import type { Entry, EpochRow, StampRecord } from "./entry.ts";
import type { EntryBatch } from "./entry-batch.ts";

/** One thing to write down. What is on disk is at any moment what some first items of the journal, in order, amount to. */
export type JournalItem =
  /** Entries that the log got and the state has applied, in order and without a gap. */
  | { readonly kind: "entries"; readonly shard: ShardId; readonly entries: EntryBatch }
  /** The start of an epoch was received with everything before it: what counts when positions are compared (R12). */
  | { readonly kind: "started"; readonly shard: ShardId; readonly epoch: number }
  /** The slots from `at` on are another shard's from here on, whose state and log so far are this shard's (R16). */
  | {
      readonly kind: "divided";
      readonly shard: ShardId;
      readonly into: ShardId;
      readonly at: number;
    }
  /** The state is no prefix of the shard's log any more, or none of this node's business: what is stored is to be deleted. */
  | { readonly kind: "void"; readonly shard: ShardId }
  /** At first, and after `void`: the state is a prefix. All of it is to be stored, beginning with a checkpoint. */
  | { readonly kind: "whole"; readonly shard: ShardId };

/** What is stored beside a shard's keys. */
export interface Checkpoint {
  readonly shard: ShardId;
  readonly firstSlot: number;
  readonly lastSlot: number;
  /** The log's last seq at the moment of the checkpoint: what the stored keys lack is in later entries. */
  readonly seq: number;
  /** Of every seq up to `seq`, in ascending order (R8). */
  readonly epochs: readonly EpochRow[];
  /** The last epoch whose start was received with everything before it; 0 if none. */
  readonly startedEpoch: number;
  readonly stamps: readonly StampRecord[];
}

/** What was found of a shard at the start: the state as of the last of `entries`, or of `checkpoint` if it has none after. */
export interface RestoredLog {
  readonly checkpoint: Checkpoint;
  /** In order and without a gap. Some may lie before the checkpoint; the last one is the log's last, unless all do. */
  readonly entries: readonly Entry[];
  /** As of the end of the journal. */
  readonly startedEpoch: number;
}
