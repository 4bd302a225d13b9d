/**
 * Changes of a cluster's membership, as pure functions from one document to the next. An administrator changes `nodes` and
 * the shards' `replicas` and nothing else: epochs, primaries and in-sync sets belong to the nodes, which follow by themselves.
 */

import type { Configuration, NodeId, NodeRecord, ShardId } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import type { Move } from "./rebalance.ts";

/** What was asked for cannot be; the message says why and what to do, for the person who asked. */
export class MembershipError extends Error {
  override readonly name = "MembershipError";
}

/** A node's name and addresses before its first start. */
export type NodePlace = Omit<NodeRecord, "incarnation">;

/**
 * The document with one node more, which holds nothing yet.
 * @returns undefined if just this node, with these addresses, is in it already.
 * @throws MembershipError if its name or one of its addresses is another's, or it is malformed.
 */
export function withNode(current: Configuration, place: NodePlace): Configuration | undefined {
  const namesake = current.nodes.find(({ id }) => id === place.id);
  if (namesake !== undefined) {
    if (describePlace(namesake) === describePlace(place)) return undefined;
    throw new MembershipError(
      `The cluster has a node ${place.id} already, at ${describePlace(namesake)}; choose another name.`,
    );
  }
  refuseTaken(current.nodes, place);
  return next(current, { nodes: [...current.nodes, { ...place, incarnation: 0 }] });
}

/**
 * The document with a node at other addresses. Nodes are known by their names, so that nothing else changes; the node's process must
 * not run meanwhile, for it listens where it was when it started.
 * @returns undefined if it is there already.
 * @throws MembershipError if there is no such node, or an address is another's, or it is malformed.
 */
export function withAddresses(current: Configuration, place: NodePlace): Configuration | undefined {
  const record = requireNode(current, place.id);
  if (describePlace(record) === describePlace(place)) return undefined;
  refuseTaken(
    current.nodes.filter(({ id }) => id !== place.id),
    place,
  );
  return next(current, {
    nodes: current.nodes.map((node) => (node === record ? { ...node, ...place } : node)),
  });
}

/**
 * The document without a node.
 * @param isGone the caller knows that the node does not run: then it is also taken out of the replicas of shards that have
 *   others, which have a copy less from then on.
 * @returns undefined if there is no such node.
 * @throws MembershipError if something depends on it.
 */
export function withoutNode(
  current: Configuration,
  node: NodeId,
  options: { readonly isGone: boolean },
): Configuration | undefined {
  if (!current.nodes.some(({ id }) => id === node)) return undefined;
  if (current.nodes.length === 1) throw new MembershipError(`${node} is the last node.`);
  const inSync = current.shards.filter((shard) => shard.inSync.some((each) => each.node === node));
  if (inSync.length > 0) {
    throw new MembershipError(
      options.isGone
        ? `${node} is still in sync with ${describeShards(inSync)}. While another copy of them lives, the nodes take it out ` +
            "themselves within a second; where none does, see: hothot recover"
        : `${node} is in sync with ${describeShards(inSync)}. Move them away first: hothot drain ${node}`,
    );
  }
  const listed = current.shards.filter((shard) => shard.replicas.includes(node));
  const only = listed.filter((shard) => shard.replicas.length === 1);
  if (only.length > 0) {
    throw new MembershipError(`${node} is the only one that is to hold ${describeShards(only)}.`);
  }
  if (listed.length > 0 && !options.isGone) {
    throw new MembershipError(
      `${node} is to hold ${describeShards(listed)}. Move them away first: hothot drain ${node} ` +
        "(or, if it is gone for good and they shall have a copy less, remove it with --force)",
    );
  }
  return next(current, {
    nodes: current.nodes.filter(({ id }) => id !== node),
    shards: current.shards.map((shard) => {
      const replicas = shard.replicas.filter((id) => id !== node);
      // Before the cluster is formed the primary is only what it shall be.
      return { ...shard, replicas, primary: shard.epoch === 0 ? replicas[0] : shard.primary };
    }),
  });
}

/**
 * The document with these shards on other replicas.
 * @returns undefined if all of them are there already.
 */
export function withReplicas(
  current: Configuration,
  moves: readonly Pick<Move, "shard" | "to">[],
): Configuration | undefined {
  const targets = new Map(moves.map(({ shard, to }) => [shard, to]));
  const shards = current.shards.map((shard) => {
    const replicas = targets.get(shard.id);
    return replicas === undefined || replicas.join() === shard.replicas.join()
      ? shard
      : { ...shard, replicas, primary: shard.epoch === 0 ? replicas[0] : shard.primary };
  });
  if (shards.every((shard, index) => shard === current.shards[index])) return undefined;
  return next(current, { shards });
}

/**
 * The moves by which one node takes another's place in every shard.
 * @throws MembershipError if there is no such node, or if it holds one of these shards already: that one would lose a copy.
 */
export function planReplacement(
  current: Configuration,
  { old, by }: { readonly old: NodeId; readonly by: NodeId },
): readonly Move[] {
  for (const id of [old, by]) requireNode(current, id);
  if (old === by) throw new MembershipError("A node cannot take its own place.");
  const held = current.shards.filter(({ replicas }) => replicas.includes(old));
  const shared = held.filter(({ replicas }) => replicas.includes(by));
  if (shared.length > 0) {
    throw new MembershipError(
      `${by} is to hold ${describeShards(shared)} already, as ${old} is. Spread what ${old} holds over all others: hothot drain ${old}`,
    );
  }
  return held.map(({ id, replicas }) => ({
    shard: id,
    from: replicas,
    to: replicas.map((node) => (node === old ? by : node)),
    copiedTo: [by],
  }));
}

/** @throws MembershipError that names all nodes, if there is none of this name. */
export function requireNode(current: Configuration, node: NodeId): NodeRecord {
  const record = current.nodes.find(({ id }) => id === node);
  if (record !== undefined) return record;
  const names = current.nodes.map(({ id }) => id).join(", ");
  throw new MembershipError(`There is no node ${node}. The names are: ${names}`);
}

/** Such as `shard 3`, `shards 0, 1, 2`, `16 shards`. */
export function describeShards(shards: readonly { readonly id: ShardId }[]): string {
  if (shards.length > 8) return `${shards.length} shards`;
  return `shard${shards.length === 1 ? "" : "s"} ${shards.map(({ id }) => id).join(", ")}`;
}

function describePlace({ host, zone, respPort, httpPort, peerPort }: NodePlace): string {
  return `${host}:${respPort}:${httpPort}:${peerPort}${zone === "" ? "" : `@${zone}`}`;
}

/** @throws MembershipError if one of the addresses is another node's, or two of them are one. */
function refuseTaken(others: readonly NodeRecord[], place: NodePlace): void {
  const own = addressesOf(place);
  if (new Set(own).size !== own.length) {
    throw new MembershipError(`${place.id} needs three different ports.`);
  }
  for (const node of others) {
    const taken = addressesOf(node).find((address) => own.includes(address));
    if (taken === undefined) continue;
    throw new MembershipError(`${taken} is an address of ${node.id}; give ${place.id} another.`);
  }
}

function addressesOf({ host, respPort, httpPort, peerPort }: NodePlace): string[] {
  return [respPort, httpPort, peerPort].map((port) => `${host}:${port}`);
}

function next(
  current: Configuration,
  change: { readonly nodes?: readonly unknown[]; readonly shards?: readonly unknown[] },
): Configuration {
  try {
    return parseConfiguration({ ...current, ...change, version: current.version + 1 });
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new MembershipError(`That makes no cluster: ${error.message}`, { cause: error });
  }
}
