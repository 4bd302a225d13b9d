/** Where a cluster stands on its way to what its document asks for: which shards are in motion, and what they wait for. Pure. */

import type { Configuration, NodeId, ShardRecord } from "../replica/configuration.ts";
import type { FeedStatus } from "../replica/surface.ts";
import { livingNodes, type Statuses } from "./membership-cluster.ts";

/** A shard that is not yet as its `replicas` want it. */
export interface Motion {
  readonly shard: ShardRecord;
  /** Replicas that are not in sync yet. */
  readonly missing: readonly NodeId[];
  /** In-sync members that are no replicas any more. */
  readonly leaving: readonly NodeId[];
}

/**
 * Shards whose copies are still on their way. A replica that is missing because it does not run is not on its way; but
 * nothing leaves before it is there.
 */
export function motionsOf(configuration: Configuration, statuses: Statuses): readonly Motion[] {
  const living = livingNodes(statuses);
  return configuration.shards.flatMap((shard) => {
    const inSync = new Set(shard.inSync.map(({ node }) => node));
    const missing = shard.replicas.filter((node) => !inSync.has(node));
    const leaving = [...inSync].filter((node) => !shard.replicas.includes(node));
    const isMoving = leaving.length > 0 || missing.some((node) => living.has(node));
    return isMoving ? [{ shard, missing, leaving }] : [];
  });
}

/** Shards in place that are not led by their preferred primary although that could lead them. */
export function misledShards(configuration: Configuration): readonly ShardRecord[] {
  return configuration.shards.filter(
    ({ primary, replicas, inSync }) =>
      primary !== replicas[0] && inSync.some(({ node }) => node === replicas[0]),
  );
}

/** @returns what the shard waits for, for people; such as `n4 has 1200 of 5000 keys`. */
export function describeMotion(motion: Motion, statuses: Statuses): string {
  const living = livingNodes(statuses);
  const feeds = feedsOf(motion.shard, statuses);
  const reasons = motion.missing.map((node) => {
    if (!living.has(node)) return `${node} does not answer`;
    const feed = feeds.find(({ learner }) => learner === node);
    if (feed === undefined) return `${node} waits for its turn`;
    if (feed.isFed) return `${node} has all, and is about to be in sync`;
    return feed.kind === "log"
      ? `${node} is given what it missed`
      : `${node} has ${feed.keysSent} of ${feed.keys} keys`;
  });
  if (reasons.length > 0) return reasons.join(", ");
  return `${motion.leaving.join(", ")} ${motion.leaving.length === 1 ? "is" : "are"} about to leave`;
}

function feedsOf(shard: ShardRecord, statuses: Statuses): readonly FeedStatus[] {
  const primary = statuses.get(shard.primary);
  return primary?.shards.find((each) => each.shard === shard.id)?.feeds ?? [];
}
