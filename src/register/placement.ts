/** Where shards go: the configuration that a new cluster begins with. */

import { assert } from "../kit/assert.ts";
import {
  type Configuration,
  type NodeId,
  type NodeRecord,
  type Settings,
  SLOT_COUNT,
} from "../replica/configuration.ts";
import { parseConfiguration } from "../replica/parse-configuration.ts";
import { planRebalance } from "./rebalance.ts";

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
 * The first document, version 1: slots are divided evenly, every shard has `settings.replicas` different nodes, on different
 * hosts and in different zones where it can be. Primaries and copies are spread so that no two nodes differ by more than one,
 * except where copies could not be kept apart otherwise.
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
  const shards = place(nodes, settings).map((replicas, id) => ({
    id,
    firstSlot: Math.ceil((id * SLOT_COUNT) / shardCount),
    lastSlot: Math.ceil(((id + 1) * SLOT_COUNT) / shardCount) - 1,
    replicas,
    epoch: 0,
    primary: replicas[0] ?? "",
    inSync: [],
  }));
  const draft = parseConfiguration({
    format: 1,
    clusterId,
    version: 1,
    settings,
    nodes,
    shards,
  });
  return settled(draft);
}

/** What `hothot rebalance` would change at once is changed at once. */
function settled(draft: Configuration): Configuration {
  const moves = new Map(planRebalance(draft).map((move) => [move.shard, move.to]));
  const shards = draft.shards.map((shard) => {
    const replicas = moves.get(shard.id) ?? shard.replicas;
    return { ...shard, replicas, primary: replicas[0] ?? "" };
  });
  return { ...draft, shards };
}

/**
 * @returns for each shard its nodes, the primary first; nearly even, and the copies as far apart as the nodes are.
 *
 * Primaries go round. Each shard's other copies go, one by one, to the host and zone with the fewest of its copies, among those
 * to the node that has the fewest copies, and among those to where the fewest copies of this primary's shards are, so that a dead
 * node's shards fall to all the others and not to its neighbour alone.
 */
function place(
  nodes: readonly NodeRecord[],
  settings: Pick<Settings, "shardCount" | "replicas">,
): NodeId[][] {
  const copies = new Map<NodeId, number>();
  const shared = new Map<string, number>();
  const count = <K>(counts: Map<K, number>, key: K): number => counts.get(key) ?? 0;
  const placed: NodeId[][] = [];
  for (let shard = 0; shard < settings.shardCount; shard++) {
    const first = shard % nodes.length;
    const primary = nodes[first] as NodeRecord;
    const chosen = [primary];
    const others = [...nodes.slice(first + 1), ...nodes.slice(0, first)];
    while (chosen.length < settings.replicas) {
      const rank = (node: NodeRecord): readonly number[] => [
        chosen.filter(({ host }) => host === node.host).length,
        chosen.filter(({ zone }) => zone === node.zone).length,
        count(copies, node.id),
        count(shared, `${primary.id} ${node.id}`),
      ];
      const next = least(others, rank);
      others.splice(others.indexOf(next), 1);
      chosen.push(next);
    }
    for (const { id } of chosen) {
      copies.set(id, count(copies, id) + 1);
      shared.set(`${primary.id} ${id}`, count(shared, `${primary.id} ${id}`) + 1);
    }
    placed.push(chosen.map(({ id }) => id));
  }
  return placed;
}

/** The item of the least rank, compared number by number; of equals the first. */
function least<T>(items: readonly T[], rankOf: (item: T) => readonly number[]): T {
  const [first, ...rest] = items.map((item) => ({ item, rank: rankOf(item) }));
  assert(first !== undefined, "there is an item");
  let best = first;
  for (const each of rest) if (isLess(each.rank, best.rank)) best = each;
  return best.item;
}

function isLess(one: readonly number[], other: readonly number[]): boolean {
  const at = one.findIndex((number, index) => number !== other[index]);
  return at >= 0 && (one[at] as number) < (other[at] as number);
}
