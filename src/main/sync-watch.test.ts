import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeStatus, shardStatus } from "../../test/support/node-status.ts";
import type { NodeStatus, ShardStatus } from "../replica/surface.ts";
import { SyncWatch } from "./sync-watch.ts";

const REPLICAS = new Map([
  [0, ["n1", "n2"]],
  [1, ["n1", "n2"]],
]);

function shard(number: number, over: Partial<ShardStatus>): ShardStatus {
  const learner = { primary: "n2", inSync: ["n2"], role: "learner", serves: false } as const;
  return shardStatus({ shard: number, ...learner, hasLease: false, ...over });
}

function status(over: Partial<NodeStatus>): NodeStatus {
  return nodeStatus({
    isReady: false,
    shards: [shard(0, {}), shard(1, {})],
    peers: [{ node: "n2", connected: true, silentMs: 10 }],
    ...over,
  });
}

test("only what lasts is told, then again after as long, and never of a ready node", () => {
  const watch = new SyncWatch(30_000);
  const told = (atMs: number, over: Partial<NodeStatus> = {}) =>
    watch.look(status(over), atMs, REPLICAS)?.unreadyMs;
  assert.equal(told(1_000), undefined);
  assert.equal(told(30_999), undefined);
  assert.equal(told(31_000), 30_000);
  assert.equal(told(45_000), undefined);
  assert.equal(told(61_000), 60_000);
  assert.equal(told(70_000, { isReady: true }), undefined);
  assert.equal(told(95_000), undefined, "the time counts anew");
  assert.equal(told(125_000, { isDrained: true }), undefined, "it is leaving");
});

test("a learner's reasons name its donor, the link to it, and whether the copy grows", () => {
  const watch = new SyncWatch(0);
  const reasons = (over: Partial<NodeStatus>): string =>
    watch.look(status(over), 0, REPLICAS)?.reasons.join("\n") ?? "";
  const cutOff = reasons({ peers: [{ node: "n2", connected: false, silentMs: undefined }] });
  assert.match(cutOff, /shards 0, 1 are to be copied from n2, and there is no link .*peer port/);
  assert.match(cutOff, /have not grown/);
  assert.match(
    reasons({ shards: [shard(0, { keys: 5 })] }),
    /shards 0 .*linked[\s\S]*grow \(5 keys/,
  );
  assert.match(reasons({ shards: [shard(0, { keys: 5 })] }), /have not grown/);
  assert.match(reasons({ shards: [shard(0, { role: "none" })] }), /has not begun/);
  assert.match(
    reasons({ shards: [shard(0, { primary: "n1", inSync: [] })] }),
    /which is this node/,
  );
});

test("a member that does not serve names the members that it misses", () => {
  const watch = new SyncWatch(0);
  const member = shard(0, { role: "backup", inSync: ["n1", "n2"] });
  const reasons = (connected: boolean): string =>
    watch
      .look(
        status({ shards: [member], peers: [{ node: "n2", connected, silentMs: 5 }] }),
        0,
        REPLICAS,
      )
      ?.reasons.join("\n") ?? "";
  assert.match(reasons(false), /does not serve shards 0: no link to n2/);
  assert.match(reasons(true), /load of this machine/);
});
