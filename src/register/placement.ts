/** Where shards go: the configuration that a new cluster begins with. */

import {
  type Configuration,
  type NodeRecord,
  type Settings,
  SLOT_COUNT,
} from "../replica/configuration.ts";
import { parseConfiguration } from "../replica/parse-configuration.ts";

/** Defaults of a cluster's settings; `replicas` is bounded by the number of nodes. Times in ms. */
export const DEFAULT_SETTINGS: Settings = {
  replication: "sync",
  minInSync: 1,
  replicas: 3,
  shardCount: 16,
  heartbeatMs: 50,
  leaseMs: 300,
  driftBound: 0.05,
  durability: "none",
  flushMs: 1_000,
  heartbeatChannel: "udp",
};

export interface PlacementOptions {
  readonly clusterId: string;
  /** Each node's name and addresses; incarnations are set to 0, "never started". */
  readonly nodes: readonly Omit<NodeRecord, "incarnation">[];
  readonly settings: Settings;
}

/**
 * The first document, version 1: slots are divided evenly, every shard has `settings.replicas` different nodes, and
 * primaries and copies are spread so that no two nodes differ by more than one.
 *
 * Epochs are 0 and nobody is in sync: the nodes form the cluster once all of them have started.
 * @throws ConfigurationError if a value is out of its range.
 * @throws RangeError if there are fewer nodes than replicas, or fewer replicas than `minInSync`.
 */
export function initialConfiguration(options: PlacementOptions): Configuration {
  const { clusterId, settings } = options;
  const nodes = options.nodes.map((node) => ({ ...node, incarnation: 0 }));
  if (settings.replicas > nodes.length) {
    throw new RangeError(`${settings.replicas} replicas need as many nodes, not ${nodes.length}`);
  }
  if (settings.minInSync > settings.replicas) {
    throw new RangeError(`minInSync ${settings.minInSync} is above ${settings.replicas} replicas`);
  }
  const { shardCount } = settings;
  const placed = place({ nodes: nodes.length, shards: shardCount, replicas: settings.replicas });
  const shards = placed.map((places, id) => {
    const replicas = places.map((place) => nodes[place]?.id);
    return {
      id,
      firstSlot: Math.ceil((id * SLOT_COUNT) / shardCount),
      lastSlot: Math.ceil(((id + 1) * SLOT_COUNT) / shardCount) - 1,
      replicas,
      epoch: 0,
      primary: replicas[0],
      inSync: [],
    };
  });
  return parseConfiguration({ format: 1, clusterId, version: 1, settings, nodes, shards });
}

/**
 * @returns for each shard its nodes' places in the list of nodes, the primary's first.
 *
 * Primaries go round. Each shard's other copies go where the fewest are, and among those where the fewest copies of this
 * primary's shards are, so that a dead node's shards fall to all the others and not to its neighbour alone.
 */
function place(counts: {
  readonly nodes: number;
  readonly shards: number;
  readonly replicas: number;
}): number[][] {
  const total = counts.nodes;
  const copies = Array<number>(total).fill(0);
  const shared = Array.from({ length: total }, () => Array<number>(total).fill(0));
  const placed: number[][] = [];
  for (let shard = 0; shard < counts.shards; shard++) {
    const primary = shard % total;
    const sharedWith = shared[primary] as number[];
    const others = Array.from({ length: total - 1 }, (_, i) => (primary + 1 + i) % total)
      .sort((a, b) => at(copies, a) - at(copies, b) || at(sharedWith, a) - at(sharedWith, b))
      .slice(0, counts.replicas - 1);
    for (const node of others) sharedWith[node] = at(sharedWith, node) + 1;
    for (const node of [primary, ...others]) copies[node] = at(copies, node) + 1;
    placed.push([primary, ...others]);
  }
  while (maybeEven(placed, copies));
  return placed;
}

/** Moves one copy from the fullest node to the emptiest, if they differ by more than one. @returns whether it did. */
function maybeEven(placed: number[][], copies: number[]): boolean {
  const full = copies.indexOf(Math.max(...copies));
  const empty = copies.indexOf(Math.min(...copies));
  if (at(copies, full) - at(copies, empty) <= 1) return false;
  const movable = placed.find((places) => places.indexOf(full) > 0 && !places.includes(empty));
  if (movable === undefined) return false;
  movable[movable.indexOf(full)] = empty;
  copies[full] = at(copies, full) - 1;
  copies[empty] = at(copies, empty) + 1;
  return true;
}

function at(list: readonly number[], index: number): number {
  return list[index] as number;
}
