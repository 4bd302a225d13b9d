/** What a node says of itself, for tests of what is made of it. */

import { noCounts } from "../../src/replica/host.ts";
import type { NodeStatus, ShardStatus } from "../../src/replica/surface.ts";

/** The whole key space as one shard of which `n1` is the primary, with nothing in it. */
export function shardStatus(over: Partial<ShardStatus> = {}): ShardStatus {
  return {
    shard: 0,
    firstSlot: 0,
    lastSlot: 16_383,
    epoch: 1,
    primary: "n1",
    inSync: ["n1"],
    role: "primary",
    serves: true,
    hasLease: true,
    lastSeq: 0,
    commitSeq: 0,
    lag: 0,
    keys: 0,
    logBytes: 0,
    holds: { epoch: 1, seq: 0 },
    waitsFor: [],
    feeds: [],
    ...over,
  };
}

/** The node `n1`, ready, with neither shards nor peers. */
export function nodeStatus(over: Partial<NodeStatus> = {}): NodeStatus {
  return {
    nodeId: "n1",
    incarnation: 1,
    version: 1,
    isDrained: false,
    lacksDisk: false,
    isReady: true,
    operations: 0,
    shards: [],
    copiesWaiting: 0,
    peers: [],
    failovers: [],
    counters: noCounts(),
    ...over,
  };
}
