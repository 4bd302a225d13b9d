/** The core's ways in and its one way out, as types: what a driver (a real node or the simulator) has to know. */

import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import type { Configuration, Incarnation, NodeId, ShardId, ShardRecord } from "./configuration.ts";
import type { Checkpoint, JournalItem, RestoredLog } from "./journal.ts";
import type { Log } from "./log.ts";
import type { Message } from "./messages.ts";
import type { Mutant } from "./mutants.ts";
import type { Request, StateMachine } from "./ports.ts";
import type { ReadPolicy } from "./read-balancer.ts";

/** Clock readings at the moment of use: taken after what they are passed with has arrived. */
export interface Time {
  /** The node's own monotonic clock, ms. Runs on while the machine is suspended, or the driver reports a jump. */
  readonly monoMs: number;
  /** The node's wall clock, ms since 1970. */
  readonly wallMs: number;
}

/**
 * A request of a client of this node. The core answers it exactly once, with the same object, in `Output.answers`.
 * Operations of one session on one shard take effect in the order in which they were submitted.
 */
export interface Operation {
  readonly shard: ShardId;
  readonly request: Request;
  /** Number of the client's connection, from 1; 0 for an operation that needs no order. */
  readonly session: number;
}

/** Something worth a log line or a metric. The core never waits for what becomes of it. Times in ms. */
export type CoreEvent =
  | {
      readonly kind: "suspected";
      readonly node: NodeId;
      readonly shards: readonly ShardId[];
      readonly silentMs: number;
    }
  | {
      readonly kind: "epoch";
      readonly shard: ShardId;
      readonly epoch: number;
      readonly primary: NodeId;
      readonly inSync: readonly NodeId[];
      readonly removed: readonly NodeId[];
    }
  | { readonly kind: "failover"; readonly failover: Failover }
  | {
      readonly kind: "copy";
      readonly shard: ShardId;
      readonly learner: NodeId;
      readonly step: "begun" | "done";
    }
  | {
      readonly kind: "evicting";
      readonly shard: ShardId;
      readonly node: NodeId;
      readonly why: string;
    }
  | {
      readonly kind: "swap";
      readonly outcome: "done" | "conflict" | "unknown";
      readonly reason: string;
    }
  | { readonly kind: "warning"; readonly text: string };

/** An unplanned change of a shard's epoch, as this node saw it. */
export interface Failover {
  readonly shard: ShardId;
  readonly epoch: number;
  readonly removed: readonly NodeId[];
  readonly oldPrimary: NodeId;
  readonly newPrimary: NodeId;
  /** T_F: from the last heartbeat of the failed node to the suspicion; undefined if another node proposed. */
  readonly detectionMs: number | undefined;
  /** From the suspicion (or the first sight of the new epoch) to its installation here. */
  readonly reconfigurationMs: number;
  /** T_C: from the last commit in the old epoch to the first moment at which this node served in the new one. */
  readonly gapMs: number;
  /** Wall clock at its end, ms since 1970. */
  readonly atWallMs: number;
}

/** What the core wants done. The driver carries it out in order. */
export interface Output {
  /** In order for each receiver. Those to a node without a connection are lost. */
  readonly messages: readonly { readonly to: NodeId; readonly message: Message }[];
  readonly answers: readonly { readonly operation: Operation; readonly reply: Reply }[];
  /**
   * Compare-and-swap the register from `configuration.version - 1`; answer with `swapAnswered(id, …)`, within about
   * two heartbeats if the register can be reached.
   */
  readonly swaps: readonly { readonly id: number; readonly configuration: Configuration }[];
  /** True if the register is to be read and the result given to `install`. */
  readonly wantsConfiguration: boolean;
  readonly events: readonly CoreEvent[];
  /** What to write down, in order; under `fsync` tell `saved` how many items, from the first ever, are on disk. */
  readonly journal: readonly JournalItem[];
}

/** Bounds of the core's queues; every one has a default. */
export interface Limits {
  /** Operations that may wait or be in flight at this node; past it `submit` refuses (R15). */
  readonly operationsMax: number;
  /** Uncommitted bytes of a shard at its primary past which it orders nothing new until some commit. */
  readonly uncommittedBytesMax: number;
  /** Committed log bytes of a shard that are kept for a new primary's tail and for learners. */
  readonly retainedBytesMax: number;
  /** Age of the oldest entry that a live in-sync member has not acknowledged, past which it is removed, ms. */
  readonly lagMsMax: number;
  /** An operation undecided for so long is answered `TRYAGAIN` or `UNCERTAIN`, ms. */
  readonly operationMsMax: number;
  /** Bytes of one message of a copy. */
  readonly copyChunkBytes: number;
  /** Bytes of a copy that may be under way to one learner. */
  readonly copyWindowBytes: number;
  /** Rate of all full copies that leave a node, together: its clients need the rest of its time. */
  readonly copyBytesPerSecond: number;
}

export interface CoreOptions {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly createStateMachine: (shard: ShardRecord) => StateMachine;
  readonly limits?: Partial<Limits>;
  /** How this node chooses whom to ask about shards of which it is no replica; `least-outstanding` by default. */
  readonly readPolicy?: ReadPolicy;
  /**
   * What this node's disk gave back, with the state as of the end of each log. Undefined if the disk held nothing of this
   * cluster, not even that the node had been here before.
   */
  readonly restored?: ReadonlyMap<
    ShardId,
    { readonly log: RestoredLog; readonly machine: StateMachine }
  >;
  /** Test only: a deliberate break of one rule, which the simulator must find. */
  readonly mutant?: Mutant | undefined;
}

/** A shard as a disk stores it. */
export interface StoredShard {
  readonly record: Pick<ShardRecord, "lastSlot">;
  readonly log: Pick<Log, "lastSeq" | "at">;
  readonly machine: Pick<StateMachine, "record" | "copyOut">;
  /** What is stored beside the keys, as of now. */
  checkpoint(): Checkpoint;
}

/** The core as its driver sees it. */
export interface CoreSurface {
  /** The newest document that it has installed. */
  readonly configuration: Configuration | undefined;
  /** The longest time between two heartbeats from a node, and to it, ms: distant ones get fewer (R5). */
  beatMs(node: NodeId): number;
  /** A data link to the peer is up; both ends know the other's incarnation. A link is FIFO until `disconnected`. */
  connected(peer: NodeId, incarnation: Incarnation, time: Time): void;
  disconnected(peer: NodeId, time: Time): void;
  /** Heartbeats may come on another channel than the rest, and may be lost or overtaken. */
  receive(from: NodeId, message: Message, time: Time): void;
  submit(operation: Operation, time: Time): void;
  /**
   * Answers a command that only reads, at once, where nothing stands in the way.
   * @returns the reply, valid until something else is given to the core; undefined if the command has to be submitted.
   */
  read(shard: ShardId, command: Command, session: number, time: Time): Reply | undefined;
  /** A configuration read from the register, or seen by its watch. */
  install(configuration: Configuration, time: Time): void;
  /** `configuration` is what the register holds now, where it answered. */
  swapAnswered(
    id: number,
    outcome: "done" | "conflict" | "unknown",
    configuration: Configuration | undefined,
    time: Time,
  ): void;
  /** The wall clock jumped against the monotonic one: the machine may have slept. Ends every lease (R5). */
  clockJumped(time: Time): void;
  /** To be called every `heartbeatMs / 5` or so, after all that has arrived was given to `receive`. */
  tick(time: Time): void;
  /** Hands over every shard and leaves the in-sync sets; `status().isDrained` tells when that is done (R14). */
  drainShards(time: Time): void;
  /** Hands over as `drainShards` does, to who has a disk that works; if nobody has, takes no writes until `resumeShards`. */
  diskFailed(time: Time): void;
  /** Asks for a planned transfer of one shard; only its primary can. Returns why not, or undefined. */
  transfer(shard: ShardId, successor: NodeId, time: Time): string | undefined;
  /**
   * Asks for a shard to be divided in two (R16); only its primary can.
   * @param at the first slot of the new shard; the middle one if it is left out.
   * @returns why not, or undefined once it has begun. Whether it came to it, the configuration tells.
   */
  split(shard: ShardId, at: number | undefined, time: Time): string | undefined;
  /**
   * So many items of the journal, from the first ever, are on disk; but nothing is of the shards in `filling`, whose state
   * is being stored anew after a copy. To be called when either changes. The set may go on changing only with calls.
   */
  saved(items: number, filling: ReadonlySet<ShardId>, time: Time): void;
  /** What the disk stores of a shard beside its log; undefined if there is no such shard. */
  stored(shard: ShardId): StoredShard | undefined;
  /** Undoes `diskFailed`, when the disk was replaced: the journal begins anew, with all that this node holds. */
  resumeShards(time: Time): void;
  /** Begins no full copy to a learner for so long. */
  holdCopies(forMs: number, time: Time): void;
  /**
   * Declares nodes gone for good: shards none of whose in-sync members is left go on with what the other replicas hold
   * (R12). Returns why not, or undefined.
   */
  recover(lost: readonly NodeId[], time: Time): string | undefined;
  drain(): Output;
  status(time: Time): NodeStatus;
  /** `isReady` of the status alone, which costs little. */
  isReady(time: Time): boolean;
}

export interface ShardStatus {
  readonly shard: ShardId;
  readonly firstSlot: number;
  readonly lastSlot: number;
  readonly epoch: number;
  readonly primary: NodeId;
  readonly inSync: readonly NodeId[];
  readonly role: "primary" | "backup" | "learner" | "none";
  /** Epoch start received, its last seq committed, and every in-sync member's echo fresh. */
  readonly serves: boolean;
  readonly hasLease: boolean;
  readonly lastSeq: number;
  readonly commitSeq: number;
  /** Entries that are not committed yet; for a learner, entries or bytes still to come are unknown and this is 0. */
  readonly lag: number;
  readonly keys: number;
  readonly logBytes: number;
  /** What this node holds, if it is a prefix: the last epoch that it took part in or has entries of, and the last seq. */
  readonly holds: { readonly epoch: number; readonly seq: number } | undefined;
  /** After a restart of all in-sync members: the nodes that have to be heard before the shard can go on (R12). */
  readonly waitsFor: readonly NodeId[];
  /** At the primary: learners that it feeds. */
  readonly feeds: readonly FeedStatus[];
}

/** How far a learner's feed has got (R9). */
export interface FeedStatus {
  readonly learner: NodeId;
  /** From the log where what the learner holds is a prefix, else a copy of all slots. */
  readonly kind: "log" | "copy";
  /** Of the shard's slots. */
  readonly slotsSent: number;
  readonly slots: number;
  /** Of keys and values. */
  readonly bytesSent: number;
  /** Keys sent, and keys of the shard. */
  readonly keysSent: number;
  readonly keys: number;
  readonly sinceMs: number;
  /** All slots are there, and the learner follows what is ordered. */
  readonly isFed: boolean;
}

/** @returns the time that a copy still takes at its rate so far, ms; 0 if it is all sent, or nothing is known. */
export function remainingMs({ keysSent, keys, sinceMs }: FeedStatus): number {
  if (keysSent === 0 || keysSent >= keys) return 0;
  return (sinceMs * (keys - keysSent)) / keysSent;
}

export interface NodeStatus {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly version: number;
  readonly isDrained: boolean;
  /** Its disk has failed: it has left its shards, or takes no writes because nobody in sync has a disk that works. */
  readonly lacksDisk: boolean;
  /** Serves every shard that it is an in-sync member of, and is one of every shard that lists it as a replica. */
  readonly isReady: boolean;
  readonly operations: number;
  readonly shards: readonly ShardStatus[];
  /** Full copies that wait for their turn at this node. */
  readonly copiesWaiting: number;
  readonly peers: readonly {
    readonly node: NodeId;
    readonly connected: boolean;
    /** Since the last heartbeat that arrived from it; undefined if none ever did. */
    readonly silentMs: number | undefined;
  }[];
  /** The last 64, oldest first. */
  readonly failovers: readonly Failover[];
  readonly counters: CoreCounters;
}

export interface CoreCounters {
  readonly forwarded: number;
  readonly ordered: number;
  readonly committed: number;
  readonly localReads: number;
  readonly waitingReads: number;
  readonly suspicions: number;
  readonly failovers: number;
  readonly epochs: number;
  readonly resent: number;
}
