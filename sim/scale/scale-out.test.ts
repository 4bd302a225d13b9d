/** What a node does must not grow with the number of nodes, and all that a small cluster can do a larger one can too. */

import assert from "node:assert/strict";
import { it } from "node:test";
import { neighbourhoodOf } from "../../src/replica/beat-plan.ts";
import { ScaleCluster } from "./cluster.ts";
import { measure } from "./measure.ts";

const BEATS_PER_SECOND = 20;
/** To nodes that share no shard with the sender. */
const DISTANT_PER_BEAT = 10;

for (const nodeCount of [3, 12, 40]) {
  it(`${nodeCount} nodes send few heartbeats, serve all writes, and outlive their deaths`, () => {
    const result = measure({ nodeCount, shardCount: nodeCount, seed: 1 }, () => undefined);
    const { neighbours, idle, load, death, disaster } = result;
    const most = (neighbours + DISTANT_PER_BEAT) * BEATS_PER_SECOND;
    assert.ok(idle.beats <= most, `${idle.beats} heartbeats a second, not ${most}`);
    assert.ok(idle.beats >= 0.9 * neighbours * BEATS_PER_SECOND, `only ${idle.beats} heartbeats`);
    assert.ok(idle.registerBytes < result.documentBytes, "what has not changed is not read again");
    assert.equal(load.refused, 0);
    assert.equal(load.written, (nodeCount * 100) / 2);
    assert.equal(death.shards, 3);
    for (const change of [death, result.return, disaster]) assert.ok(change.isOver);
    // Who proposes, and the other holders.
    assert.ok(death.documentBytes <= death.swaps * 6 * result.documentBytes);
  });
}

it("a node has the shards that it holds, and those that its clients ask for", () => {
  const cluster = new ScaleCluster({ nodeCount: 20, shardCount: 40, seed: 2 });
  cluster.start(() => undefined);
  cluster.queue.runUntil(500);
  for (const { id, core } of cluster.nodes.values()) {
    const { held } = neighbourhoodOf(id, cluster.current);
    assert.deepEqual(
      core?.shards.map((shard) => shard.id),
      held,
    );
    assert.equal(core?.status({ monoMs: 1_500, wallMs: 1 }).shards.length, 40);
  }
  cluster.load(100, 1_000);
  cluster.queue.runUntil(2_000);
  assert.equal(cluster.written, 20 * 50);
  const asked = [...cluster.nodes.values()].filter(({ core }) => (core?.shards.length ?? 0) > 6);
  assert.ok(asked.length > 10);
});
