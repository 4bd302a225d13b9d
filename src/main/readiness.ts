/**
 * What `GET /readyz` answers. A node becomes ready when it serves all its shards, and stays ready through the short breaks that
 * every change of an epoch is: requests wait them out and are not refused. If each break took the node from its balancer,
 * a failover would take all nodes from it at once. It reads no clock.
 */

import type { Readiness } from "../http/app.ts";
import type { Settings } from "../replica/configuration.ts";
import type { NodeStatus } from "../replica/surface.ts";

/** The node: it tells cheaply whether it is ready, and all about itself otherwise. */
export interface Looked {
  isReady(): boolean;
  status(): NodeStatus;
}

/** Judges one node, often. */
export class SteadyReadiness {
  readonly #graceMs: number;
  /** When the node last served all its shards, monotonic ms; undefined unless it did so not long before the last look. */
  #readyAtMs: number | undefined;

  /** @param graceMs how long a break may be, ms. */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** @param monoMs now, by a monotonic clock, ms. */
  look(node: Looked, monoMs: number): Readiness {
    if (node.isReady()) {
      this.#readyAtMs = monoMs;
      return { ready: true };
    }
    const status = node.status();
    const own = status.shards.filter((shard) => shard.role !== "none");
    const serving = own.filter((shard) => shard.serves);
    const isMember = own.every((shard) => shard.inSync.includes(status.nodeId));
    const isBreak =
      this.#readyAtMs !== undefined && monoMs - this.#readyAtMs <= this.#graceMs && isMember;
    // What was removed or is leaving has to be filled, or is gone for good: that is no break.
    if (isBreak && own.length > 0 && !status.isDrained) return { ready: true };
    this.#readyAtMs = undefined;
    return { ready: false, reason: `serves ${serving.length} of its ${own.length} shards` };
  }
}

/** @returns how long a failover of another node may interrupt this one, with its swap, ms. */
export function graceOf(settings: Settings): number {
  return 2 * (settings.leaseMs * (1 + settings.driftBound) + settings.heartbeatMs);
}
