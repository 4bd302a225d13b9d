/** Which stamps the log holds, so that a command that is sent again is answered and not run again (R10). */

import type { Reply } from "../data/reply.ts";
import { Window } from "../kit/window.ts";
import type { Incarnation, NodeId } from "./configuration.ts";
import type { Stamp, StampRecord } from "./entry.ts";

export interface OrderedStamp {
  readonly seq: number;
  readonly reply: Reply;
}

interface Forwarder {
  readonly incarnation: Incarnation;
  doneBelow: number;
  /** By the counter. */
  readonly ordered: Window<OrderedStamp>;
}

/** A node's dead predecessors can have late copies under way; more than one before the last is not to be expected. */
const INCARNATIONS_KEPT = 2;

/**
 * Every replica keeps this beside its log, for any of them may be the next primary. It is pruned by what the stamps
 * themselves say: a forwarder never asks again for what is below its `doneBelow`. So it holds at most what each node
 * may have in flight.
 */
export class Stamps {
  readonly #forwarders = new Map<NodeId, Forwarder[]>();

  #find(node: NodeId, incarnation: Incarnation): Forwarder | undefined {
    const forwarders = this.#forwarders.get(node);
    if (forwarders === undefined) return undefined;
    for (const forwarder of forwarders) if (forwarder.incarnation === incarnation) return forwarder;
    return undefined;
  }

  #create(node: NodeId, forwarder: Forwarder): Forwarder {
    const forwarders = this.#forwarders.get(node) ?? [];
    forwarders.push(forwarder);
    if (forwarders.length > INCARNATIONS_KEPT) forwarders.shift();
    this.#forwarders.set(node, forwarders);
    return forwarder;
  }

  /** Remembers that the stamp was ordered as the entry `seq`. */
  record(stamp: Stamp, seq: number, reply: Reply): void {
    const { node, incarnation, counter, doneBelow } = stamp;
    const forwarder =
      this.#find(node, incarnation) ??
      this.#create(node, { incarnation, doneBelow: 1, ordered: new Window() });
    if (doneBelow > forwarder.doneBelow) {
      forwarder.doneBelow = doneBelow;
      forwarder.ordered.deleteBelow(doneBelow);
    }
    if (counter >= forwarder.doneBelow) forwarder.ordered.set(counter, { seq, reply });
  }

  /** What became of a stamp: its entry, `done` if its forwarder has had the answer, or undefined if it is new. */
  find(stamp: Stamp): OrderedStamp | "done" | undefined {
    const forwarder = this.#find(stamp.node, stamp.incarnation);
    if (forwarder === undefined) return undefined;
    if (stamp.counter < forwarder.doneBelow) return "done";
    return forwarder.ordered.get(stamp.counter);
  }

  /** All of it, for a copy to a learner. */
  records(): readonly StampRecord[] {
    return [...this.#forwarders].flatMap(([node, forwarders]) =>
      forwarders.map(({ incarnation, doneBelow, ordered }) => ({
        node,
        incarnation,
        doneBelow,
        ordered: [...ordered.entries()].map(([counter, at]) => ({ counter, ...at })),
      })),
    );
  }

  /** Begins anew with what a copy brought. */
  reset(records: readonly StampRecord[]): void {
    this.#forwarders.clear();
    for (const { node, incarnation, doneBelow, ordered } of records) {
      const forwarder = this.#create(node, { incarnation, doneBelow, ordered: new Window() });
      for (const { counter, seq, reply } of ordered) forwarder.ordered.set(counter, { seq, reply });
    }
  }
}
