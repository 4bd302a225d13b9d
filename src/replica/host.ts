/** What a shard asks of the node's core that it lives in, and what the core's other parts ask of it. */

import type { Reply } from "../data/reply.ts";
import type { Configuration, Incarnation, NodeId, Settings, ShardId } from "./configuration.ts";
import type { Issuers } from "./issuers.ts";
import type { JournalItem } from "./journal.ts";
import type { Ack, Message } from "./messages.ts";
import type { Mutant } from "./mutants.ts";
import type { ReadBalancer } from "./read-balancer.ts";
import type { CoreEvent, Limits, Operation, Time } from "./surface.ts";

/** Who has entries that are not in the journal yet. */
export interface Unwritten {
  writeEntries(): void;
}

export interface Counters {
  forwarded: number;
  ordered: number;
  committed: number;
  localReads: number;
  waitingReads: number;
  suspicions: number;
  failovers: number;
  epochs: number;
  resent: number;
}

/** Counters at a process's start. */
export function noCounts(): Counters {
  return {
    forwarded: 0,
    ordered: 0,
    committed: 0,
    localReads: 0,
    waitingReads: 0,
    suspicions: 0,
    failovers: 0,
    epochs: 0,
    resent: 0,
  };
}

export interface Host {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly limits: Limits;
  /** Of the input that is being handled. */
  readonly now: Time;
  readonly settings: Settings;
  readonly counters: Counters;
  readonly readBalancer: ReadBalancer;
  /** The numbers that the node's logs use. */
  readonly issuers: Issuers;
  /** The node hands over all that it can: it is to end, or its disk has failed. */
  readonly isDraining: boolean;
  /** The node's disk has failed: what the log takes from here on will not be on it. */
  readonly lacksDisk: boolean;
  /** Test only: the rule that is deliberately broken. */
  readonly mutant: Mutant | undefined;
  send(to: NodeId, message: Message): void;
  /** Acknowledges at the end of the turn, with whatever else is acknowledged then, after all that is sent. */
  acknowledge(to: NodeId, ack: Ack): void;
  answer(operation: Operation, reply: Reply): void;
  emit(event: CoreEvent): void;
  /** Sends a heartbeat to one peer, or to all, at the next drain. */
  beatSoon(to?: NodeId): void;
  /** Asks a peer for its configuration, which seems to be newer. */
  askConfiguration(peer: NodeId): void;
  /** A removal of the member from the shard has been proposed and may yet take place. */
  isFenced(shard: ShardId, node: NodeId): boolean;
  /** This node's disk held nothing of this cluster when it started, or there is none. */
  readonly isFresh: boolean;
  /** Nodes that an administrator has declared gone for good, with their disks (R12). */
  readonly lost: ReadonlySet<NodeId>;
  /** Items of the journal so far, and how many of them are on disk. */
  readonly journaled: number;
  readonly savedItems: number;
  /** Of the shard's state, after a copy, nothing is on disk yet, whatever items are. */
  isFilling(shard: ShardId): boolean;
  /** Adds to the journal, where the cluster keeps one. */
  journal(item: JournalItem): void;
  /** Has the copy write down its entries before anything else is written down, or at the next drain. */
  writeLater(copy: Unwritten): void;
  /** Whether a full copy to the learner may begin now; if not, `Donor.copyTo` is called when its turn has come (R9). */
  mayCopy(shard: ShardId, learner: NodeId): boolean;
  /** A feed of the learner has ended, or is all sent. */
  copyEnded(shard: ShardId, learner: NodeId): void;
  /** Whether one more chunk of a copy may be read before the next drain ends: a turn must not take long, nor a copy all time. */
  takeCopyTurn(): boolean;
  /** So many bytes of a copy were sent. */
  copied(bytes: number): void;
  /** Incarnation of the process at the other end of the data link; undefined without a link. */
  linkedIncarnation(peer: NodeId): Incarnation | undefined;
  /** Lets the shard send what is due, and try again what it holds, at the next drain. */
  touch(shard: ShardId): void;
}

/** What those parts of the core ask of it that concern all of its shards. */
export interface NodeHost extends Host {
  /** The newest that this node has installed. */
  readonly configuration: Configuration | undefined;
}
