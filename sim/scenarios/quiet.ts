/** What a scenario does not want to leave to chance. */

import type { Settings } from "../../src/replica/configuration.ts";
import type { NetworkOptions } from "../network.ts";
import type { Plan } from "../run.ts";

/** Links that do nothing bad by themselves. */
export const QUIET_NETWORK: NetworkOptions = {
  delayMinMs: 0.1,
  delayMaxMs: 3,
  heartbeatLoss: 0,
  resetEveryMs: Number.POSITIVE_INFINITY,
};

/** One shard, and no answer before all in-sync members have the write. */
export const ONE_SHARD: Partial<Settings> = { shardCount: 1, replication: "sync", minInSync: 1 };

/** A formed cluster to which nothing happens but what a script does. */
export const QUIET_PLAN: Plan = {
  settings: ONE_SHARD,
  faults: [],
  faultsForMs: 1,
  network: QUIET_NETWORK,
  drift: 0,
  wallSkewMs: 0,
  isUnformed: false,
  workload: { thinkMs: 15, isSticky: true, hasExpiry: false, keys: 2, clients: 3 },
};

/** Three nodes that answer for what is on their disks, which are quick unless a script does something to them. */
export const DISKS_PLAN: Plan = {
  ...QUIET_PLAN,
  nodeCount: 3,
  settings: { ...ONE_SHARD, durability: "fsync" },
  syncMsMax: 1,
  workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
};
