import assert from "node:assert/strict";
import { test } from "node:test";
import { BeatPlan, distantBeatMs, neighbourhoodOf } from "./beat-plan.ts";
import type { Configuration, NodeId, ShardRecord } from "./configuration.ts";

function shard(id: number, replicas: readonly NodeId[], inSync = replicas): ShardRecord {
  return {
    id,
    firstSlot: id,
    lastSlot: id,
    replicas,
    epoch: 1,
    primary: replicas[0] ?? "",
    inSync: inSync.map((node) => ({ node, incarnation: 1, since: 0 })),
  };
}

/** Node 0 shares a shard with 1 and 2, and none with the others. */
function clusterOf(nodeCount: number): Configuration {
  const nodes = Array.from({ length: nodeCount }, (_, index) => ({ id: `n${index}` }));
  const shards = [shard(0, ["n0", "n1", "n2"]), shard(1, ["n1", "n2", "n3"])];
  return { nodes, shards, settings: { heartbeatMs: 50 } } as unknown as Configuration;
}

test("neighbours are those with whom a shard is shared, those that are to leave it included", () => {
  const shards = [
    shard(0, ["a", "b", "c"]),
    shard(1, ["b", "c"]),
    shard(2, ["a", "d"], ["a", "e"]),
    shard(3, ["a", "b"]),
  ];
  assert.deepEqual(neighbourhoodOf("a", { shards }), {
    held: [0, 2, 3],
    neighbours: new Map([
      ["b", [0, 3]],
      ["c", [0]],
      ["d", [2]],
      ["e", [2]],
    ]),
  });
  const { held, neighbours } = neighbourhoodOf("e", { shards });
  assert.deepEqual([held, [...neighbours.keys()]], [[2], ["a", "d"]]);
  assert.equal(neighbourhoodOf("f", { shards }).neighbours.size, 0);
});

for (const nodeCount of [3, 4, 16, 100, 130, 1_000]) {
  test(`of ${nodeCount} nodes, neighbours get every heartbeat and the others some, in time`, () => {
    const configuration = clusterOf(nodeCount);
    const plan = new BeatPlan("n0");
    plan.installed(configuration);
    const beats = distantBeatMs(configuration) / configuration.settings.heartbeatMs;
    const lastAt = new Map<NodeId, number>();
    for (let at = 1; at <= 3 * beats; at += 1) {
      plan.beat();
      const due = [...plan.take()];
      assert.ok(due.includes("n1") && due.includes("n2"));
      assert.ok(!due.includes("n0"));
      assert.ok(due.length <= 2 + 10, `${due.length} heartbeats at once`);
      for (const node of due) {
        assert.ok(at - (lastAt.get(node) ?? 0) <= beats, `${node} waited too long`);
        lastAt.set(node, at);
      }
    }
    assert.equal(lastAt.size, nodeCount - 1);
    for (const at of lastAt.values()) assert.ok(3 * beats - at < beats);
  });
}

test("what happened to a shard is told its holders only", () => {
  const plan = new BeatPlan("n0");
  plan.installed(clusterOf(20));
  plan.soonToNeighbours();
  assert.deepEqual([...plan.take()], ["n1", "n2"]);
  assert.deepEqual([...plan.take()], []);
  plan.soon("n9");
  plan.soon("n9");
  assert.deepEqual([...plan.take()], ["n9"]);
});
