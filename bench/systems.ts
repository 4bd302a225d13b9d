/** The systems that are compared: each a set-up together with how its clients use it and the promise they ask for. */

import type { Wait } from "./load/job.ts";
import { etcdSetup } from "./systems/etcd.ts";
import { hothotSetup } from "./systems/hothot.ts";
import { natsSetup } from "./systems/nats.ts";
import { redisClusterSetup, redisSetup } from "./systems/redis.ts";
import { sentinelSetup } from "./systems/sentinel.ts";
import type { ClientKind, SetupKind } from "./systems/setup.ts";

export interface SystemKind {
  readonly name: string;
  /** For tables. */
  readonly title: string;
  /** Systems with the same set-up share its processes. */
  readonly setup: SetupKind;
  readonly clients: ClientKind;
  readonly wait?: Wait;
}

const HOTHOT_3 = hothotSetup("hothot-3", "three nodes, 16 shards, in memory, sync", { nodes: 3 });
const HOTHOT_2 = hothotSetup("hothot-2", "two nodes and a witness, in memory, sync", { nodes: 2 });
const HOTHOT_1 = hothotSetup("hothot-1", "one node, no copy", { nodes: 1 });
/** How many threads one node has; the others above have as many as fits the machine. */
const HOTHOT_THREADS = [1, 2, 3].map((threads) => ({
  threads,
  setup: hothotSetup(`hothot-1-threads${threads}`, `one node, no copy, --threads ${threads}`, {
    nodes: 1,
    args: ["--threads", String(threads)],
  }),
}));
const HOTHOT_ASYNC = hothotSetup("hothot-3-async", "three nodes, in memory, async replication", {
  nodes: 3,
  args: ["--replication", "async"],
});
const HOTHOT_FSYNC = hothotSetup(
  "hothot-3-fsync",
  "three nodes, sync, each write on the disks of all before its answer",
  { nodes: 3, args: ["--durability", "fsync"], keepsData: true },
);
const REDIS = redisSetup("redis-0", 0);
const REDIS_1 = redisSetup("redis-1", 1);
const REDIS_2 = redisSetup("redis-2", 2);
const REDIS_CLUSTER = redisClusterSetup("redis-3+3");

/** All systems, in the order of the tables. */
export const SYSTEMS: readonly SystemKind[] = [
  { name: "hothot3", title: "HotHot, 3 nodes", setup: HOTHOT_3, clients: "spread" },
  {
    name: "hothot3-routed",
    title: "HotHot, 3 nodes, client knows the shards",
    setup: HOTHOT_3,
    clients: "routed",
  },
  {
    name: "hothot3-one",
    title: "HotHot, 3 nodes, clients on one",
    setup: HOTHOT_3,
    clients: "one",
  },
  { name: "hothot2", title: "HotHot, 2 nodes + witness", setup: HOTHOT_2, clients: "spread" },
  {
    name: "hothot3-async",
    title: "HotHot, 3 nodes, async",
    setup: HOTHOT_ASYNC,
    clients: "spread",
  },
  {
    name: "hothot3-fsync",
    title: "HotHot, 3 nodes, fsync",
    setup: HOTHOT_FSYNC,
    clients: "spread",
  },
  { name: "hothot1", title: "HotHot, 1 node", setup: HOTHOT_1, clients: "spread" },
  ...HOTHOT_THREADS.map(
    ({ threads, setup }): SystemKind => ({
      name: `hothot1-threads${threads}`,
      title: `HotHot, 1 node, ${threads} ${threads === 1 ? "thread" : "threads"}`,
      setup,
      clients: "spread",
    }),
  ),
  { name: "redis", title: "Redis alone", setup: REDIS, clients: "one" },
  {
    name: "redis-wait2",
    title: "Redis 1+2, WAIT 2 per write",
    setup: REDIS_2,
    clients: "one",
    wait: { replicas: 2, per: "write" },
  },
  {
    name: "redis-wait2-batch",
    title: "Redis 1+2, WAIT 2 per batch",
    setup: REDIS_2,
    clients: "one",
    wait: { replicas: 2, per: "batch" },
  },
  {
    name: "redis-wait1",
    title: "Redis 1+1, WAIT 1 per write",
    setup: REDIS_1,
    clients: "one",
    wait: { replicas: 1, per: "write" },
  },
  {
    name: "redis-wait1-batch",
    title: "Redis 1+1, WAIT 1 per batch",
    setup: REDIS_1,
    clients: "one",
    wait: { replicas: 1, per: "batch" },
  },
  {
    name: "redis-cluster",
    title: "Redis Cluster 3+3, WAIT 1 per write",
    setup: REDIS_CLUSTER,
    clients: "routed",
    wait: { replicas: 1, per: "write" },
  },
  {
    name: "redis-cluster-batch",
    title: "Redis Cluster 3+3, WAIT 1 per batch",
    setup: REDIS_CLUSTER,
    clients: "routed",
    wait: { replicas: 1, per: "batch" },
  },
  {
    name: "redis-sentinel",
    title: "Redis 1+2 with 3 sentinels",
    setup: sentinelSetup("redis-sentinel"),
    clients: "spread",
  },
  { name: "etcd", title: "etcd, 3 members", setup: etcdSetup("etcd-3"), clients: "spread" },
  { name: "nats", title: "NATS KV R3, memory", setup: natsSetup("nats-3"), clients: "spread" },
];
