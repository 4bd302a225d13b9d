/** What a shard's log is made of, and what is remembered of entries that it holds no more. */

import type { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";
import type { Incarnation, NodeId } from "./configuration.ts";

/** Names one forwarded or ordered command for ever (R10). `counter` grows per node, incarnation and shard, from 1. */
export interface Stamp {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly counter: number;
  /** The node has the answers of all its stamps of this shard below this one and asks for none of them again. */
  readonly doneBelow: number;
}

/** One place in a shard's log: the effects of one command or transaction, which are applied and shown as a whole. */
export interface Entry {
  readonly seq: number;
  /** The epoch in which it was ordered. */
  readonly epoch: number;
  /** Undefined for what no client asked for, such as an expiry. */
  readonly stamp: Stamp | undefined;
  /** What the stamp's client is to be told. */
  readonly reply: Reply;
  readonly effects: Effects;
  /**
   * `plain`: what a `SET key value` makes whatever the state is, the reply OK and one effect. `stub`: the same on its way to
   * who gave the stamp, without reply and effect, for its request says them. Undefined for everything else.
   */
  readonly form?: "plain" | "stub" | undefined;
}

/** The first seq of an epoch that has entries. */
export interface EpochRow {
  readonly epoch: number;
  readonly firstSeq: number;
}

/** What is known of one process's stamps. */
export interface StampRecord {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly doneBelow: number;
  readonly ordered: readonly {
    readonly counter: number;
    readonly seq: number;
    readonly reply: Reply;
  }[];
}
