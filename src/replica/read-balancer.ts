/**
 * Which replica a node asks that is none itself: the place for policies of reading. Every in-sync replica answers
 * linearizable reads, so the choice is about load alone.
 */

import type { NodeId } from "./configuration.ts";

export const READ_POLICIES = ["round-robin", "least-outstanding"] as const;
export type ReadPolicy = (typeof READ_POLICIES)[number];

export class ReadBalancer {
  readonly #policy: ReadPolicy;
  /** Reads under way, by the replica that was asked. */
  readonly #outstanding = new Map<NodeId, number>();
  #turn = 0;

  constructor(policy: ReadPolicy) {
    this.#policy = policy;
  }

  /**
   * @param replicas at least one; any of them can answer.
   * @returns the one to ask; among equals they take turns.
   */
  choose(replicas: readonly NodeId[]): NodeId | undefined {
    this.#turn += 1;
    const start = this.#turn % Math.max(1, replicas.length);
    const inTurn = [...replicas.slice(start), ...replicas.slice(0, start)];
    if (this.#policy === "round-robin") return inTurn[0];
    let best: NodeId | undefined;
    for (const node of inTurn) {
      if (best === undefined || this.outstanding(node) < this.outstanding(best)) best = node;
    }
    return best;
  }

  outstanding(node: NodeId): number {
    return this.#outstanding.get(node) ?? 0;
  }

  began(node: NodeId): void {
    this.#outstanding.set(node, this.outstanding(node) + 1);
  }

  ended(node: NodeId): void {
    const left = this.outstanding(node) - 1;
    if (left > 0) this.#outstanding.set(node, left);
    else this.#outstanding.delete(node);
  }
}
