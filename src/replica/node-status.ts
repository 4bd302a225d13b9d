/** What a node tells observers of itself and of its shards, as pure functions of what it holds now. */

import type { Incarnation, NodeId, ShardRecord } from "./configuration.ts";
import { heldAt } from "./recovery.ts";
import type { Shard } from "./shard.ts";
import type { ShardStatus } from "./surface.ts";

/** What a node says of a shard that it does not hold. */
const HOLDS_NOTHING = {
  role: "none",
  serves: false,
  hasLease: false,
  lastSeq: 0,
  commitSeq: 0,
  lag: 0,
  keys: 0,
  logBytes: 0,
  holds: { epoch: 0, seq: 0 },
  waitsFor: [],
  feeds: [],
} as const;

/** The incarnation of the process that a peer's data link leads to; undefined without a link. */
export type Linked = (peer: NodeId) => Incarnation | undefined;

/**
 * @param record of the newest configuration.
 * @param shard what the node has of it, if anything.
 */
export function shardStatus(record: ShardRecord, shard: Shard | undefined): ShardStatus {
  const common = {
    shard: record.id,
    firstSlot: record.firstSlot,
    lastSlot: record.lastSlot,
    epoch: record.epoch,
    primary: record.primary,
    inSync: record.inSync.map((member) => member.node),
  };
  if (shard?.isHolder !== true) return { ...common, ...HOLDS_NOTHING };
  return {
    ...common,
    role: shard.isPrimary ? "primary" : shard.isMember ? "backup" : "learner",
    serves: shard.serves,
    hasLease: shard.hasLease,
    lastSeq: shard.log.lastSeq,
    commitSeq: shard.commitSeq,
    lag: shard.isMember ? shard.log.lastSeq - shard.commitSeq : 0,
    keys: shard.machine.size,
    logBytes: shard.log.bytes,
    holds: heldAt(shard.takeover.position()),
    waitsFor: shard.isMember ? [] : shard.recovery.missing(),
    feeds: shard.donor.status(),
  };
}

/** @returns whether commands on the shard can be answered here: by the node itself, or by the primary that it is linked to. */
export function isReadyFor(record: ShardRecord, shard: Shard | undefined, linked: Linked): boolean {
  if (shard?.isHolder === true) return shard.serves;
  const primary = record.inSync.find(({ node }) => node === record.primary);
  return primary !== undefined && linked(primary.node) === primary.incarnation;
}

/** @returns whether nothing is left with a node that drains, or nobody is there to leave it to. */
export function isDrained(shards: readonly Shard[], linked: Linked): boolean {
  return shards.every(
    (shard) => !shard.isMember || shard.holders.every((node) => linked(node) === undefined),
  );
}
