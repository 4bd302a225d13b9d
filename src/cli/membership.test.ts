import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nodeStatus, shardStatus } from "../../test/support/node-status.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "../register/placement.ts";
import type { Configuration, Settings, ShardRecord } from "../replica/configuration.ts";
import type { FeedStatus, NodeStatus, ShardStatus } from "../replica/surface.ts";
import { livingNodes } from "./membership-cluster.ts";
import { describeMotion, misledShards, motionsOf } from "./membership-progress.ts";
import { describeLoss, parseDuration, stuckShards } from "./membership-recover.ts";

/** One shard that `n1` leads, on three of four nodes. */
function clusterOf(shard: Partial<ShardRecord>, settings: Partial<Settings> = {}): Configuration {
  const first = initialConfiguration({
    clusterId: "c",
    nodes: [1, 2, 3, 4].map((number) => ({
      id: `n${number}`,
      host: `10.0.0.${number}`,
      zone: "",
      ...{ respPort: 1, httpPort: 2, peerPort: 3 },
    })),
    settings: { ...DEFAULT_SETTINGS, shardCount: 1, ...settings },
  });
  const record = { ...(first.shards[0] as ShardRecord), epoch: 5, primary: "n1" };
  return { ...first, shards: [{ ...record, inSync: members("n1", "n2", "n3"), ...shard }] };
}

function members(...nodes: readonly string[]) {
  return nodes.map((node) => ({ node, incarnation: 1, since: 0 }));
}

function statusesOf(...all: readonly Partial<NodeStatus>[]): ReadonlyMap<string, NodeStatus> {
  return new Map(all.map((status) => nodeStatus(status)).map((status) => [status.nodeId, status]));
}

const ALL = statusesOf(...["n1", "n2", "n3", "n4"].map((nodeId) => ({ nodeId })));

function feed(over: Partial<FeedStatus>): FeedStatus {
  return {
    ...{ learner: "n4", kind: "copy", slots: 10, slotsSent: 4, bytesSent: 100 },
    ...{ keysSent: 40, keys: 90, sinceMs: 1_000, isFed: false },
    ...over,
  } as FeedStatus;
}

describe("a shard in motion", () => {
  const moving = clusterOf({ replicas: ["n4", "n2", "n3"] });

  it("is one whose copies are not yet where they shall be", () => {
    assert.deepEqual(motionsOf(clusterOf({ replicas: ["n1", "n2", "n3"] }), ALL), []);
    const [motion] = motionsOf(moving, ALL);
    assert.deepEqual([motion?.missing, motion?.leaving], [["n4"], ["n1"]]);
    const returning = clusterOf({ replicas: ["n1", "n2", "n3"], inSync: members("n1", "n2") });
    assert.equal(motionsOf(returning, ALL).length, 1);
  });

  it("waits neither for a dead node that has left nothing behind, nor without one that is to take over", () => {
    const dead = statusesOf({ nodeId: "n1" }, { nodeId: "n2" });
    const degraded = clusterOf({ replicas: ["n1", "n2", "n3"], inSync: members("n1", "n2") });
    assert.deepEqual(motionsOf(degraded, dead), []);
    assert.equal(motionsOf(moving, dead).length, 1);
  });

  it("says what it waits for", () => {
    const [motion] = motionsOf(moving, ALL);
    assert.ok(motion !== undefined);
    const fed = (...feeds: readonly FeedStatus[]) =>
      statusesOf({ nodeId: "n1", shards: [shardStatus({ feeds })] }, { nodeId: "n4" });
    assert.equal(describeMotion(motion, statusesOf({ nodeId: "n1" })), "n4 does not answer");
    assert.equal(describeMotion(motion, fed()), "n4 waits for its turn");
    assert.equal(describeMotion(motion, fed(feed({}))), "n4 has 40 of 90 keys");
    assert.equal(describeMotion(motion, fed(feed({ kind: "log" }))), "n4 is given what it missed");
    assert.match(describeMotion(motion, fed(feed({ isFed: true }))), /about to be in sync/);
    assert.equal(describeMotion({ ...motion, missing: [] }, ALL), "n1 is about to leave");
  });

  it("is misled while its preferred primary could lead it", () => {
    assert.equal(misledShards(clusterOf({ replicas: ["n2", "n1", "n3"] })).length, 1);
    assert.equal(misledShards(clusterOf({ replicas: ["n1", "n2", "n3"] })).length, 0);
    assert.equal(misledShards(moving).length, 0, "n4 is not in sync yet");
  });
});

describe("a node", () => {
  it("runs if it answers, or if one that answers is connected to it", () => {
    const peers = [
      { node: "n2", connected: true, silentMs: 10 },
      { node: "n3", connected: false, silentMs: 10_000 },
    ];
    assert.deepEqual(livingNodes(statusesOf({ nodeId: "n1", peers })), new Set(["n1", "n2"]));
  });
});

describe("a recovery", () => {
  const stuck = (over: Partial<ShardStatus>): Pick<NodeStatus, "shards"> => ({
    shards: [shardStatus({ role: "learner", serves: false, waitsFor: ["n1"], ...over })],
  });
  const left = statusesOf(
    { nodeId: "n2", ...stuck({ holds: { epoch: 5, seq: 70 } }) },
    { nodeId: "n3", ...stuck({ holds: { epoch: 4, seq: 99 } }) },
  );
  const replicas = ["n1", "n2", "n3"];
  const losing = { stuck: [0], lost: ["n1"] };

  it("is for shards that wait, and that nobody leads", () => {
    const configuration = clusterOf({ replicas });
    assert.deepEqual(stuckShards(configuration, left), [0]);
    const led = statusesOf({ nodeId: "n1", shards: [shardStatus()] });
    assert.deepEqual(stuckShards(configuration, new Map([...left, ...led])), []);
    assert.deepEqual(stuckShards(configuration, statusesOf({ nodeId: "n2" })), []);
  });

  it("goes on from the newest epoch, and says what that may cost", () => {
    const lossOf = (
      inSync: readonly string[],
      durability: Settings["durability"],
      statuses = left,
    ): string =>
      describeLoss(
        clusterOf({ replicas, inSync: members(...inSync) }, { durability }),
        statuses,
        losing,
      ).join("\n");
    assert.match(
      lossOf(["n1", "n2"], "fsync"),
      /n1: lost; n2: epoch 5, 70; n3: epoch 4, 99 +n2 +nothing that was answered/,
    );
    assert.match(lossOf(["n1"], "fsync"), / n2 +its newest writes/);
    assert.match(lossOf(["n1", "n2"], "async"), / n2 +its newest writes/);
    const empty = statusesOf({ nodeId: "n2", ...stuck({ holds: undefined }) });
    assert.match(lossOf(["n1"], "fsync", empty), /n2: nothing; n3: does not answer +- +ALL OF IT/);
  });
});

describe("a duration", () => {
  it("has a unit and a bound", () => {
    assert.deepEqual(
      ["250ms", "30s", "10m", "2h"].map(parseDuration),
      [250, 30_000, 600_000, 7_200_000],
    );
    for (const text of ["", "10", "0s", "1d", "-1s", "169h", "1.5h"]) {
      assert.throws(() => parseDuration(text), { code: "commander.invalidArgument" });
    }
  });
});
