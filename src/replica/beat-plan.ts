/**
 * Whom a node sends heartbeats, and how often. Those with whom it shares a shard are its neighbours: leases, suspicion and
 * promotions concern nobody else, so they get one every H (R5). The others get one now and then, of which their links see that
 * they are alive and they themselves whether they miss a configuration; a node sends so few of these that their number
 * does not grow with the cluster. A heartbeat may be lost at any time, so to send fewer can never be unsafe.
 */

import type { Configuration, NodeId, Settings, ShardId } from "./configuration.ts";
import { holdersOf, isHolderOf } from "./reconfigure.ts";

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

/** A node's place among the others. */
export interface Neighbourhood {
  /** The shards that the node holds, or shall hold, in ascending order. */
  readonly held: readonly ShardId[];
  /** The other nodes that hold one of them, or shall hold it, each with those that they share. */
  readonly neighbours: ReadonlyMap<NodeId, readonly ShardId[]>;
}

export function neighbourhoodOf(
  node: NodeId,
  { shards }: Pick<Configuration, "shards">,
): Neighbourhood {
  const held: ShardId[] = [];
  const neighbours = new Map<NodeId, ShardId[]>();
  for (const record of shards) {
    if (!isHolderOf(record, node)) continue;
    held.push(record.id);
    for (const other of holdersOf(record)) {
      if (other === node) continue;
      const shared = neighbours.get(other);
      if (shared === undefined) neighbours.set(other, [record.id]);
      else shared.push(record.id);
    }
  }
  return { held, neighbours };
}

export class BeatPlan {
  readonly #nodeId: NodeId;
  #neighbourhood: Neighbourhood = { held: [], neighbours: new Map() };
  #distant: readonly NodeId[] = [];
  #nextDistant = 0;
  #due = new Set<NodeId>();

  constructor(nodeId: NodeId) {
    this.#nodeId = nodeId;
  }

  /** A configuration is being installed. */
  installed(configuration: Configuration): void {
    this.#neighbourhood = neighbourhoodOf(this.#nodeId, configuration);
    const { neighbours } = this.#neighbourhood;
    this.#distant = configuration.nodes
      .map(({ id }) => id)
      .filter((id) => id !== this.#nodeId && !neighbours.has(id));
  }

  /** Shards that this node holds, or shall hold. */
  get held(): readonly ShardId[] {
    return this.#neighbourhood.held;
  }

  /** Nodes that share a shard with this one. */
  get neighbours(): ReadonlyMap<NodeId, readonly ShardId[]> {
    return this.#neighbourhood.neighbours;
  }

  /** A heartbeat to one node is due. */
  soon(to: NodeId): void {
    this.#due.add(to);
  }

  /** A heartbeat to all neighbours is due: what happened to a shard concerns only who holds it. */
  soonToNeighbours(): void {
    for (const node of this.neighbours.keys()) this.#due.add(node);
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
