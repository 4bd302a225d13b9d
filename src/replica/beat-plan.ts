/**
 * Whom a node sends heartbeats, and how often. Those with whom it shares a shard are its neighbours: leases, suspicion and
 * promotions concern nobody else, so they get one every H (R5). The others get one now and then, of which their links see that
 * they are alive and they themselves whether they miss a configuration; a node sends so few of these that their number
 * does not grow with the cluster. A heartbeat may be lost at any time, so to send fewer can never be unsafe.
 */

import type { Configuration, NodeId, Settings, ShardId } from "./configuration.ts";

/** Heartbeat intervals in which each of a few distant nodes gets a heartbeat. */
const DISTANT_BEATS = 10;
/** Distant nodes that get a heartbeat in one interval, at most: with more than a hundred, each has to wait longer. */
const DISTANT_PER_BEAT = 10;

/**
 * @returns the longest time between two heartbeats to a node that is no neighbour, ms.
 */
export function distantBeatMs({
  nodes,
  settings,
}: {
  readonly nodes: readonly unknown[];
  readonly settings: Pick<Settings, "heartbeatMs">;
}): number {
  const beats = Math.max(DISTANT_BEATS, Math.ceil(nodes.length / DISTANT_PER_BEAT));
  return beats * settings.heartbeatMs;
}

/** @returns the nodes that hold, or shall hold, a shard that the node does too, each with these shards in ascending order. */
export function neighboursOf(
  node: NodeId,
  { shards }: Pick<Configuration, "shards">,
): ReadonlyMap<NodeId, readonly ShardId[]> {
  const neighbours = new Map<NodeId, ShardId[]>();
  for (const { id, replicas, inSync } of shards) {
    const leaving = inSync.filter((member) => !replicas.includes(member.node));
    const holders = leaving.length === 0 ? replicas : [...replicas, ...leaving.map((m) => m.node)];
    if (!holders.includes(node)) continue;
    for (const other of holders) {
      if (other === node) continue;
      const shared = neighbours.get(other);
      if (shared === undefined) neighbours.set(other, [id]);
      else shared.push(id);
    }
  }
  return neighbours;
}

export class BeatPlan {
  readonly #nodeId: NodeId;
  #neighbours: ReadonlyMap<NodeId, readonly ShardId[]> = new Map();
  #distant: readonly NodeId[] = [];
  #nextDistant = 0;
  #due = new Set<NodeId>();

  constructor(nodeId: NodeId) {
    this.#nodeId = nodeId;
  }

  /** A configuration is being installed. */
  installed(configuration: Configuration): void {
    this.#neighbours = neighboursOf(this.#nodeId, configuration);
    this.#distant = configuration.nodes.flatMap(({ id }) =>
      id === this.#nodeId || this.#neighbours.has(id) ? [] : [id],
    );
  }

  /** Nodes that share a shard with this one. */
  get neighbours(): ReadonlyMap<NodeId, readonly ShardId[]> {
    return this.#neighbours;
  }

  /** A heartbeat to one node is due. */
  soon(to: NodeId): void {
    this.#due.add(to);
  }

  /** A heartbeat to all neighbours is due: what happened to a shard concerns only who holds it. */
  soonToNeighbours(): void {
    for (const node of this.#neighbours.keys()) this.#due.add(node);
  }

  /** Another heartbeat interval is over. */
  beat(): void {
    this.soonToNeighbours();
    const { length } = this.#distant;
    const count = Math.min(DISTANT_PER_BEAT, Math.ceil(length / DISTANT_BEATS));
    for (let sent = 0; sent < count; sent += 1) {
      const node = this.#distant[this.#nextDistant % length];
      this.#nextDistant = (this.#nextDistant + 1) % length;
      if (node !== undefined) this.#due.add(node);
    }
  }

  /** @returns to whom a heartbeat is due; none is from now on. */
  take(): Iterable<NodeId> {
    if (this.#due.size === 0) return this.#due;
    const due = this.#due;
    this.#due = new Set();
    return due;
  }
}
