import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeStatus, shardStatus } from "../../test/support/node-status.ts";
import type { Failover, NodeStatus, ShardStatus } from "../replica/surface.ts";
import type { NodeView } from "./node-view.ts";
import { formatTable } from "./output.ts";
import { describeCluster } from "./status.ts";

const SHARD = shardStatus({
  epoch: 3,
  inSync: ["n1", "n3"],
  lastSeq: 12,
  commitSeq: 10,
  lag: 2,
  keys: 7,
});

const FAILOVER: Failover = {
  shard: 0,
  epoch: 3,
  removed: ["n2"],
  oldPrimary: "n2",
  newPrimary: "n1",
  detectionMs: 365.4,
  reconfigurationMs: 20,
  gapMs: 402,
  atWallMs: Date.UTC(2026, 0, 1),
};

function nodeView(id: string, status: Partial<NodeStatus> | undefined, trouble?: string): NodeView {
  const full = nodeStatus({ nodeId: id, version: 3, ...status });
  return {
    id,
    host: "127.0.0.1",
    respPort: 7001,
    httpPort: 8001,
    standing: "running",
    answer: status === undefined ? undefined : { status: full, configuration: undefined },
    trouble,
  };
}

test("columns are as wide as their widest cell", () => {
  assert.deepEqual(formatTable(["a", "b"], [["long", "1"], ["x"]]), ["a     b", "long  1", "x"]);
});

test("the report shows the newest epoch, leases, lag, dead nodes and failures by node", () => {
  const old: ShardStatus = { ...SHARD, epoch: 2, primary: "n2", role: "backup", lag: 0 };
  const report = describeCluster([
    nodeView("n1", {
      shards: [SHARD],
      failovers: [FAILOVER, { ...FAILOVER, shard: 1, gapMs: 430 }],
    }),
    nodeView("n2", undefined, "not running"),
    nodeView("n3", { isReady: false, shards: [{ ...old, hasLease: false, serves: false }] }),
  ]).join("\n");
  assert.match(report, /^n1 +ready .* 1 +1\/1 +7 +0$/m);
  assert.match(report, /^n2 +not running /m);
  assert.match(report, /^n3 +not ready .* 0 +0\/1 /m);
  assert.match(report, /^0 +0-16383 +3 +n1 +n1,n3 +n1 +- +2 +7$/m);
  assert.match(report, /^2026-01-01T00:00:00\.000Z +n2 +n1 +2 +2 +365 ms +20 ms +430 ms$/m);
});

test("a node whose disk failed is named, whether it has left its shards or not", () => {
  const report = describeCluster([
    nodeView("n1", { shards: [SHARD], lacksDisk: true }),
    nodeView("n2", { shards: [], lacksDisk: true, isDrained: true }),
  ]).join("\n");
  assert.match(report, /^n1 +disk failed /m);
  assert.match(report, /^n2 +disk failed /m);
});

test("a cluster of which nobody answers has a report too", () => {
  const report = describeCluster([nodeView("n1", undefined, "paused")]).join("\n");
  assert.match(report, /^n1 +paused/m);
  assert.match(report, /No node tells of its shards\./);
  assert.match(report, /No failovers\./);
});
