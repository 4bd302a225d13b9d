/**
 * Where copies of shards should be, from where they are: which shards get other replicas. Pure; who carries it out sets
 * `replicas` and waits.
 *
 * What is wanted, the first before the next:
 *
 * 1. copies of one shard on different hosts, then in different zones, so that one failure takes one copy;
 * 2. as many copies on each node as on the others: without a conflict with 1, no two differ by more than one;
 * 3. as few copies moved as possible;
 * 4. as many preferred primaries on each node as on the others, and of these as few changes as possible.
 *
 * 1 to 3 are one flow of least cost: each shard sends its copies through zones, hosts and nodes, and a further copy at the
 * same place costs more than the one before. So the plan is optimal and not just good: what is balanced is left alone.
 */

import { assert } from "../kit/assert.ts";
import { FlowNetwork } from "../kit/min-cost-flow.ts";
import type {
  Configuration,
  NodeId,
  NodeRecord,
  ShardId,
  ShardRecord,
} from "../replica/configuration.ts";

/** A shard with its new replicas, the preferred primary first. */
export interface Move {
  readonly shard: ShardId;
  readonly from: readonly NodeId[];
  readonly to: readonly NodeId[];
  /** Nodes that have to be given a copy; none if only the preferred primary changes, or a copy is given up. */
  readonly copiedTo: readonly NodeId[];
}

export interface RebalanceOptions {
  /** Nodes that shall hold nothing any more. */
  readonly without?: ReadonlySet<NodeId>;
}

/**
 * @returns the shards that have to change, in the order of their numbers; none if all is as it should be. Each has
 *   `settings.replicas` copies in the end, or one on each node that is left if these are fewer.
 * @throws RangeError if no node is left.
 */
export function planRebalance(
  configuration: Pick<Configuration, "nodes" | "shards" | "settings">,
  options: RebalanceOptions = {},
): readonly Move[] {
  const { shards, settings } = configuration;
  const nodes = configuration.nodes.filter(({ id }) => options.without?.has(id) !== true);
  if (nodes.length === 0) throw new RangeError("no node is left to hold anything");
  const copies = Math.min(settings.replicas, nodes.length);
  const holders = chooseHolders(shards, nodes, copies);
  const primaries = choosePrimaries(shards, nodes, holders);
  return shards.flatMap((shard, index) => {
    const held = holders[index] ?? new Set<NodeId>();
    const primary = primaries[index] as NodeId;
    const kept = shard.replicas.filter((node) => held.has(node));
    const added = [...held].filter((node) => !shard.replicas.includes(node));
    const to = [primary, ...[...kept, ...added].filter((node) => node !== primary)];
    if (to.join() === shard.replicas.join()) return [];
    return [{ shard: shard.id, from: shard.replicas, to, copiedTo: added }];
  });
}

/** How evenly a cluster's shards lie. */
export interface Spread {
  readonly copies: ReadonlyMap<NodeId, number>;
  /** Preferred primaries. */
  readonly primaries: ReadonlyMap<NodeId, number>;
}

/** @returns how many copies and preferred primaries each node has, by the shards' `replicas`. */
export function spreadOf(configuration: Pick<Configuration, "nodes" | "shards">): Spread {
  const copies = new Map(configuration.nodes.map(({ id }) => [id, 0]));
  const primaries = new Map(copies);
  for (const { replicas } of configuration.shards) {
    for (const node of replicas) copies.set(node, (copies.get(node) ?? 0) + 1);
    const [first] = replicas;
    if (first !== undefined) primaries.set(first, (primaries.get(first) ?? 0) + 1);
  }
  return { copies, primaries };
}

/**
 * What things cost. Each weight is above all that the lesser ones can come to along one path of the network that goes to
 * no place twice, and a plan in which no such path is worth changing is the best.
 */
interface Weights {
  readonly move: number;
  readonly balance: number;
  readonly zone: number;
  readonly host: number;
}

function weightsOf(counts: { shards: number; nodes: number; copies: number }): Weights {
  const { shards, nodes, copies } = counts;
  const steps = 2 * Math.min(shards, nodes) + 2;
  const balance = steps + 1;
  const zone = balance * (shards + 1) * 2;
  const host = zone * (copies * steps + 1);
  return { move: 1, balance, zone, host };
}

/** @returns for each shard the nodes that shall hold it. */
function chooseHolders(
  shards: readonly ShardRecord[],
  nodes: readonly NodeRecord[],
  copies: number,
): ReadonlySet<NodeId>[] {
  const weights = weightsOf({ shards: shards.length, nodes: nodes.length, copies });
  const network = new FlowNetwork();
  const source = network.addVertex();
  const sink = network.addVertex();
  const places = placesOf(nodes);
  const doors = addNodes(network, nodes, {
    sink,
    most: shards.length,
    weight: weights.balance,
    free: freeOf(nodes, shards.length * copies),
  });
  const edges = shards.map((shard, index) => {
    const start = network.addVertex();
    network.addEdge({ from: source, to: start, capacity: copies, cost: 0 });
    const ends = new Map<NodeId, number>();
    // Turned a little further for each shard, so that the new copies of one node's shards do not all go to another one.
    for (const hosts of rotated(places, index)) {
      const size = Math.min(copies, hosts.flat().length);
      const zone = addGroup(network, start, { size, weight: weights.zone });
      for (const onHost of rotated(hosts, index)) {
        const size = Math.min(copies, onHost.length);
        const host = addGroup(network, zone, { size, weight: weights.host });
        for (const { id } of rotated(onHost, index)) {
          const cost = shard.replicas.includes(id) ? 0 : weights.move;
          const to = doors.get(id) as number;
          ends.set(id, network.addEdge({ from: host, to, capacity: 1, cost }));
        }
      }
    }
    return ends;
  });
  const sent = network.send({ source, sink });
  assert(sent === shards.length * copies, "every copy finds a node");
  return edges.map((ends) => {
    const chosen = [...ends].filter(([, edge]) => network.sentThrough(edge) === 1);
    return new Set(chosen.map(([node]) => node));
  });
}

/** @returns for each shard which of its holders shall be its primary. */
function choosePrimaries(
  shards: readonly ShardRecord[],
  nodes: readonly NodeRecord[],
  holders: readonly ReadonlySet<NodeId>[],
): NodeId[] {
  const weights = weightsOf({ shards: shards.length, nodes: nodes.length, copies: 1 });
  const network = new FlowNetwork();
  const source = network.addVertex();
  const sink = network.addVertex();
  const doors = addNodes(network, nodes, {
    sink,
    most: shards.length,
    weight: weights.balance,
    free: freeOf(nodes, shards.length),
  });
  const edges = shards.map((shard, index) => {
    const from = network.addVertex();
    network.addEdge({ from: source, to: from, capacity: 1, cost: 0 });
    const ends = new Map<NodeId, number>();
    for (const id of rotated([...(holders[index] ?? [])], index)) {
      const cost = shard.replicas[0] === id ? 0 : weights.move;
      const to = doors.get(id) as number;
      ends.set(id, network.addEdge({ from, to, capacity: 1, cost }));
    }
    return ends;
  });
  const sent = network.send({ source, sink });
  assert(sent === shards.length, "every shard finds a primary");
  return edges.map((ends) => {
    const [primary] = [...ends].find(([, edge]) => network.sentThrough(edge) === 1) ?? [];
    assert(primary !== undefined, "every shard finds a primary");
    return primary;
  });
}

/** Every node takes all, but each further unit costs more than the one before: the sum is least when all have alike. */
function addNodes(
  network: FlowNetwork,
  nodes: readonly NodeRecord[],
  options: {
    readonly sink: number;
    readonly most: number;
    readonly weight: number;
    readonly free: number;
  },
): ReadonlyMap<NodeId, number> {
  const { sink, most, weight, free } = options;
  return new Map(
    nodes.map(({ id }) => {
      const from = network.addVertex();
      network.addEdge({ from, to: sink, capacity: free, cost: 0 });
      for (let unit = free + 1; unit <= most; unit++) {
        network.addEdge({ from, to: sink, capacity: 1, cost: (unit - free) * weight });
      }
      return [id, from];
    }),
  );
}

/**
 * Units that a node takes at no cost, which saves most of the work. Where nothing speaks against an even spread, every node
 * gets them. Where copies have to be kept apart, some nodes may get fewer than others, and then each unit counts.
 */
function freeOf(nodes: readonly NodeRecord[], units: number): number {
  const zones = new Set(nodes.map(({ zone }) => zone));
  const hosts = new Set(nodes.map(({ host }) => host));
  const isUniform = zones.size === 1 && (hosts.size === 1 || hosts.size === nodes.length);
  return isUniform ? Math.floor(units / nodes.length) : 0;
}

/** A zone or host, as one shard sees it: each further copy of this shard in it costs more than the one before. */
function addGroup(
  network: FlowNetwork,
  from: number,
  options: { readonly size: number; readonly weight: number },
): number {
  // Only one can be there, so there is nothing to choose.
  if (options.size === 1) return from;
  const to = network.addVertex();
  for (let unit = 0; unit < options.size; unit++) {
    network.addEdge({ from, to, capacity: 1, cost: unit * options.weight });
  }
  return to;
}

/** The nodes by zone and host. */
function placesOf(nodes: readonly NodeRecord[]): readonly (readonly (readonly NodeRecord[])[])[] {
  const zones = [...groupBy(nodes, ({ zone }) => zone).values()];
  return zones.map((inZone) => [...groupBy(inZone, ({ host }) => host).values()]);
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** The same items, beginning with another one. */
function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
