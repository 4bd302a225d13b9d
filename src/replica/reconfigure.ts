/** Changes to the configuration, as pure functions from one document to the next (R6). */

import { assert } from "../kit/assert.ts";
import type {
  Configuration,
  Incarnation,
  NodeId,
  NodeRecord,
  ShardId,
  ShardRecord,
} from "./configuration.ts";

/** The next epoch of the shard, without the nodes named and with the given primary. */
export function withoutMembers(
  record: ShardRecord,
  removed: ReadonlySet<NodeId>,
  primary: NodeId,
): ShardRecord {
  const inSync = record.inSync.filter((member) => !removed.has(member.node));
  assert(
    inSync.some((member) => member.node === primary),
    "a primary is in sync",
  );
  return { ...record, epoch: record.epoch + 1, primary, inSync };
}

/** The next epoch of the shard, with a learner promoted. */
export function withMember(
  record: ShardRecord,
  node: NodeId,
  incarnation: Incarnation,
): ShardRecord {
  const epoch = record.epoch + 1;
  const others = record.inSync.filter((member) => member.node !== node);
  return { ...record, epoch, inSync: [...others, { node, incarnation, since: epoch }] };
}

/** The next epoch of a shard whose in-sync members have all restarted: one of its replicas alone (R12). */
export function recovered(
  record: ShardRecord,
  node: NodeId,
  incarnation: Incarnation,
): ShardRecord {
  return {
    ...record,
    epoch: record.epoch + 1,
    primary: node,
    inSync: [{ node, incarnation, since: 0 }],
  };
}

/**
 * The next epoch of the shard, with another of its in-sync members as primary, and as the preferred one if it is a replica:
 * else the shard would be given back at once.
 */
export function withPrimary(record: ShardRecord, primary: NodeId): ShardRecord {
  const next = withoutMembers(record, new Set(), primary);
  if (!record.replicas.includes(primary)) return next;
  return { ...next, replicas: [primary, ...record.replicas.filter((node) => node !== primary)] };
}

/**
 * Both parts of a shard that is divided, each in its next epoch (R16). The members are in the new one what they are in the old
 * one: proven, if they are.
 * @param at the first slot of the new shard.
 * @param id of the new shard.
 */
export function divided(
  record: ShardRecord,
  at: number,
  id: ShardId,
): { readonly kept: ShardRecord; readonly added: ShardRecord } {
  assert(at > record.firstSlot && at <= record.lastSlot, "both parts have a slot");
  const next = { ...record, epoch: record.epoch + 1 };
  return {
    kept: { ...next, lastSlot: at - 1 },
    added: { ...next, id, firstSlot: at },
  };
}

/** Nodes that hold a copy, or shall hold one: the replicas, then members that are to go. */
export function holdersOf({
  replicas,
  inSync,
}: Pick<ShardRecord, "replicas" | "inSync">): readonly NodeId[] {
  const others = inSync.filter(({ node }) => !replicas.includes(node));
  return others.length === 0 ? replicas : [...replicas, ...others.map(({ node }) => node)];
}

/** Whether a node is one of the shard's holders. */
export function isHolderOf(
  { replicas, inSync }: Pick<ShardRecord, "replicas" | "inSync">,
  node: NodeId,
): boolean {
  return replicas.includes(node) || inSync.some((member) => member.node === node);
}

/** How many shards each node is the primary of. */
export function primaryCounts(shards: readonly ShardRecord[]): Map<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const shard of shards) counts.set(shard.primary, (counts.get(shard.primary) ?? 0) + 1);
  return counts;
}

/** The candidate with the fewest primaries; among equals the one that stands first. */
export function leastLoaded(
  candidates: readonly NodeId[],
  counts: ReadonlyMap<NodeId, number>,
): NodeId | undefined {
  let best: NodeId | undefined;
  for (const node of candidates) {
    if (best === undefined || (counts.get(node) ?? 0) < (counts.get(best) ?? 0)) best = node;
  }
  return best;
}

/** Who of the candidates is to be the shard's primary: one that stays a replica, if any does; of these the least loaded. */
export function heirAmong(
  candidates: readonly NodeId[],
  { replicas }: ShardRecord,
  counts: ReadonlyMap<NodeId, number>,
): NodeId | undefined {
  const staying = candidates.filter((node) => replicas.includes(node));
  return leastLoaded(staying, counts) ?? leastLoaded(candidates, counts);
}

/** The next version of the document, with some records replaced, and those of new shards added. */
export function withRecords(
  configuration: Configuration,
  shards: ReadonlyMap<ShardId, ShardRecord>,
  nodes: ReadonlyMap<NodeId, NodeRecord> = new Map(),
): Configuration {
  return {
    ...configuration,
    version: configuration.version + 1,
    shards: [
      ...configuration.shards.map((shard) => shards.get(shard.id) ?? shard),
      ...[...shards.values()].filter(({ id }) => id >= configuration.shards.length),
    ],
    nodes: configuration.nodes.map((node) => nodes.get(node.id) ?? node),
  };
}

/** True once every node has started and no shard has its first epoch yet. */
export function canForm(configuration: Configuration): boolean {
  return (
    configuration.shards.every((shard) => shard.epoch === 0) &&
    configuration.nodes.every((node) => node.incarnation !== 0)
  );
}

/** Every shard's first epoch: all of its replicas are in sync, for all are empty, and so all are proven. */
export function formed(configuration: Configuration): ReadonlyMap<ShardId, ShardRecord> {
  const incarnations = new Map(configuration.nodes.map((node) => [node.id, node.incarnation]));
  return new Map(
    configuration.shards.map((shard) => [
      shard.id,
      {
        ...shard,
        epoch: 1,
        primary: shard.replicas[0] ?? "",
        inSync: shard.replicas.map((node) => ({
          node,
          incarnation: incarnations.get(node) ?? 0,
          since: 0,
        })),
      },
    ]),
  );
}

/** Whether the next document takes a node out of an in-sync set that it is in now. */
export function removesNode(current: Configuration, next: Configuration, node: NodeId): boolean {
  return current.shards.some(
    (shard, index) =>
      shard.inSync.some((member) => member.node === node) &&
      next.shards[index]?.inSync.some((member) => member.node === node) === false,
  );
}
