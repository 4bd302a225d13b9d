/** Everything that one node says to another. Plain data; `src/peers` gives each kind its bytes. */

import type { SlotRecords } from "../data/effect.ts";
import type { Reply } from "../data/reply.ts";
import type { Configuration, Incarnation, ShardId } from "./configuration.ts";
import type { EpochRow, StampRecord } from "./entry.ts";
import type { EntryBatch } from "./entry-batch.ts";
import type { Request } from "./ports.ts";

/** One shard's part of a heartbeat. */
export interface ShardBeat {
  readonly shard: ShardId;
  readonly epoch: number;
  /** The sender's last beat from the receiver named this epoch, so the heartbeat's echo holds for this shard (R5). */
  readonly echoes: boolean;
  /** Last seq acknowledged in this epoch; 0 before the epoch start. */
  readonly ackSeq: number;
  readonly commitSeq: number;
  /** The last epoch whose start, with everything before it, the sender has received; makes it proven. */
  readonly startedEpoch: number;
  /** The sender, a learner, holds all there is and has a fresh echo of every in-sync member. */
  readonly ready: boolean;
  /** The sender's disk has failed, so nobody should leave the shard to it. */
  readonly lacksDisk: boolean;
}

export interface Heartbeat {
  readonly kind: "heartbeat";
  readonly fromIncarnation: Incarnation;
  readonly toIncarnation: Incarnation;
  /** The sender's monotonic clock, ms. */
  readonly sentAtMs: number;
  /** The newest `sentAtMs` that the sender has received from the receiver; -1 if none. */
  readonly echoMs: number;
  /** The sender's wall clock, ms since 1970. */
  readonly wallMs: number;
  /** Version of the sender's configuration. */
  readonly version: number;
  readonly shards: readonly ShardBeat[];
}

/** Entries of the primary's stream, in order and without a gap (R1). */
export interface Append {
  readonly kind: "append";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly entries: EntryBatch;
  /**
   * The receiver applies the effects on slots below this one only: a learner gets the other slots later, with these
   * effects in them. The entries are whole all the same, for the learner may have to send them on one day.
   */
  readonly appliesBelow: number;
  readonly commitSeq: number;
  /** What the primary acknowledges itself, so that it needs no other word of that; 0 if nothing yet. */
  readonly ackSeq: number;
  /** The primary's wall clock, ms since 1970 (R11). */
  readonly wallMs: number;
}

/** Begins the primary's stream to a member in an epoch, and begins it again after a reset (R7). */
export interface EpochStart {
  readonly kind: "epoch-start";
  readonly shard: ShardId;
  readonly epoch: number;
  /** Last seq before the epoch's own first entry. */
  readonly startSeq: number;
  /** The stream continues with the entry after this one: the member's own last seq, as it told. */
  readonly fromSeq: number;
  readonly wallMs: number;
}

/** Acknowledgements of one turn. */
export interface Acks {
  readonly kind: "acks";
  readonly acks: readonly Ack[];
}

/** Cumulative acknowledgement, to every in-sync member (R2). */
export interface Ack {
  readonly shard: ShardId;
  readonly epoch: number;
  readonly seq: number;
}

/**
 * Where a replica stands. A member tells it after installing an epoch, having stopped accepting the one before (R7), and
 * after a reset. A replica that is not in sync tells it as long as nobody feeds it: the primary then does (R8, R9), and
 * if there is none any more, these words decide who goes on (R12).
 */
export interface Position {
  readonly kind: "position";
  readonly shard: ShardId;
  readonly epoch: number;
  /** The sender is an in-sync member of the epoch. */
  readonly isListed: boolean;
  /** False if the sender's copy is not whole: then it holds nothing to go on from. */
  readonly isUsable: boolean;
  /** The sender's disk held nothing of this cluster when it started: whatever it had before is gone. */
  readonly isFresh: boolean;
  readonly lastSeq: number;
  /** Epoch of the entry `lastSeq`, 0 for an empty log. */
  readonly lastEpoch: number;
  readonly startedEpoch: number;
}

/** A new primary asks the proven member with the highest seq for what it lacks. */
export interface Fetch {
  readonly kind: "fetch";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly fromSeq: number;
}

/** The answer to a fetch. */
export interface Tail {
  readonly kind: "tail";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly entries: EntryBatch;
}

/** A command on its way to the shard's primary (R10). */
export interface Forward {
  readonly kind: "forward";
  readonly shard: ShardId;
  readonly epoch: number;
  /** Of the command's stamp; the rest of it is who sends this. */
  readonly counter: number;
  readonly doneBelow: number;
  readonly request: Request;
}

/** A forwarded command's answer by message: of reads, and for forwarders that are not in-sync members. */
export interface Answer {
  readonly kind: "answer";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly counter: number;
  readonly reply: Reply;
}

/** A replica cannot answer a forwarded read, for only the primary can tell whether a key has ended (R11). */
export interface Redirect {
  readonly kind: "redirect";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly counter: number;
}

export interface FetchConfiguration {
  readonly kind: "fetch-configuration";
}

export interface ConfigurationNotice {
  readonly kind: "configuration";
  readonly configuration: Configuration;
}

/** A swap that its proposer cannot bring to the register itself (R6). */
export interface SwapRequest {
  readonly kind: "swap-request";
  readonly id: number;
  readonly configuration: Configuration;
}

export interface SwapAnswer {
  readonly kind: "swap-answer";
  readonly id: number;
  readonly outcome: "done" | "conflict" | "unknown";
  /** The register's document as far as the helper knows it. */
  readonly configuration: Configuration | undefined;
}

/** Begins to feed a learner from the log: what it holds is a prefix (R8), and all that follows comes with the stream. */
export interface FeedStart {
  readonly kind: "feed-start";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly copyId: number;
  /** The stream continues with the entry after this one: the learner's own last seq, as it told. */
  readonly fromSeq: number;
  readonly wallMs: number;
}

/** Begins a full copy: the learner forgets what it has and continues from `seq`. */
export interface CopyStart {
  readonly kind: "copy-start";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly copyId: number;
  readonly seq: number;
  /** Of the seqs up to `seq`, in ascending order. */
  readonly epochs: readonly EpochRow[];
  readonly commitSeq: number;
  /** Stamps that the log holds and that may be asked for again. */
  readonly stamps: readonly StampRecord[];
  readonly wallMs: number;
}

/** Whole slots of a copy, in ascending order among the entries of the stream. */
export interface CopyChunk {
  readonly kind: "copy-chunk";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly copyId: number;
  /** From 1. */
  readonly index: number;
  readonly records: SlotRecords;
  readonly isLast: boolean;
}

/** Tells the primary how far the copy has got, so that it sends no more than the learner can take. */
export interface CopyAck {
  readonly kind: "copy-ack";
  readonly shard: ShardId;
  readonly epoch: number;
  readonly copyId: number;
  readonly index: number;
}

export type Message =
  | Heartbeat
  | Append
  | EpochStart
  | Acks
  | Position
  | Fetch
  | Tail
  | Forward
  | Answer
  | Redirect
  | FetchConfiguration
  | ConfigurationNotice
  | SwapRequest
  | SwapAnswer
  | FeedStart
  | CopyStart
  | CopyChunk
  | CopyAck;
