import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Configuration, Member } from "../replica/configuration.ts";
import {
  MembershipError,
  planReplacement,
  withAddresses,
  withNode,
  withoutNode,
  withReplicas,
} from "./membership.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "./placement.ts";

function place(number: number) {
  return {
    id: `n${number}`,
    host: "127.0.0.1",
    zone: "",
    respPort: 7000 + number,
    httpPort: 8000 + number,
    peerPort: 9000 + number,
  };
}

/** Three nodes, and four shards with two copies each, all of them in sync. */
function formedCluster(): Configuration {
  const first = initialConfiguration({
    clusterId: "c",
    nodes: [1, 2, 3].map(place),
    settings: { ...DEFAULT_SETTINGS, shardCount: 4, replicas: 2 },
  });
  const shards = first.shards.map((shard) => ({
    ...shard,
    epoch: 1,
    inSync: shard.replicas.map((node): Member => ({ node, incarnation: 7, since: 0 })),
  }));
  return { ...first, shards };
}

/** As after the death of a node. */
function without(configuration: Configuration, node: string): Configuration {
  const shards = configuration.shards.map((shard) => {
    const inSync = shard.inSync.filter((member) => member.node !== node);
    return { ...shard, inSync, primary: inSync[0]?.node ?? "" };
  });
  return { ...configuration, shards };
}

const refusal = (message: RegExp) => ({ name: "MembershipError", message });

describe("a node that moves to other addresses", () => {
  it("keeps its name, its process and its shards", () => {
    const before = formedCluster();
    const moved = { ...place(2), host: "10.0.0.2", respPort: 7100, zone: "east" };
    const after = withAddresses(before, moved);
    assert.deepEqual(after?.nodes[1], { ...before.nodes[1], ...moved });
    assert.deepEqual([after?.nodes[0], after?.nodes[2]], [before.nodes[0], before.nodes[2]]);
    assert.deepEqual(after?.shards, before.shards);
    assert.equal(after?.version, before.version + 1);
    assert.equal(after === undefined ? "" : withAddresses(after, moved), undefined);
  });

  it("takes no address of another, and has to be there", () => {
    const before = formedCluster();
    const taken = { ...place(2), peerPort: 7001 };
    assert.throws(() => withAddresses(before, taken), refusal(/7001 is an address of n1/));
    assert.throws(() => withAddresses(before, place(9)), refusal(/no node n9/));
  });
});

describe("a node that joins", () => {
  it("is added once and holds nothing", () => {
    const before = formedCluster();
    const after = withNode(before, place(4));
    assert.deepEqual(after?.nodes.at(-1), { ...place(4), incarnation: 0 });
    assert.equal(after?.version, before.version + 1);
    assert.deepEqual(after?.shards, before.shards);
    assert.equal(after === undefined ? "" : withNode(after, place(4)), undefined);
  });

  it("needs a name, addresses and ports of its own", () => {
    const before = formedCluster();
    assert.throws(
      () => withNode(before, { ...place(4), id: "n2" }),
      refusal(/has a node n2 already/),
    );
    assert.throws(
      () => withNode(before, { ...place(4), httpPort: 7002 }),
      refusal(/127\.0\.0\.1:7002 is an address of n2/),
    );
    assert.throws(
      () => withNode(before, { ...place(4), peerPort: 7004 }),
      refusal(/different ports/),
    );
    assert.throws(() => withNode(before, { ...place(4), id: "a b" }), refusal(/nodes\[3\]\.id/));
    // The same ports on another machine are others.
    assert.ok(withNode(before, { ...place(1), id: "n4", host: "10.0.0.4" }) !== undefined);
  });
});

describe("a node that is removed", () => {
  it("must hold nothing, and nothing must be meant for it", () => {
    const before = formedCluster();
    assert.throws(() => withoutNode(before, "n1", { isGone: false }), refusal(/hothot drain n1/));
    assert.throws(
      () => withoutNode(before, "n1", { isGone: true }),
      refusal(/still in sync with shards/),
    );
    const dead = without(before, "n1");
    assert.throws(() => withoutNode(dead, "n1", { isGone: false }), refusal(/is to hold shards/));
    assert.throws(() =>
      withoutNode({ ...before, nodes: before.nodes.slice(0, 1) }, "n1", { isGone: true }),
    );
    assert.equal(withoutNode(before, "n9", { isGone: false }), undefined);
  });

  it("goes, if it is empty", () => {
    const more = withNode(formedCluster(), place(4));
    assert.ok(more !== undefined);
    const after = withoutNode(more, "n4", { isGone: false });
    assert.deepEqual(after?.nodes, formedCluster().nodes);
    assert.deepEqual(after?.shards, formedCluster().shards);
  });

  it("leaves a copy less where it is gone, but never none, and no in-sync set is touched", () => {
    const dead = without(formedCluster(), "n1");
    const after = withoutNode(dead, "n1", { isGone: true });
    assert.ok(after !== undefined);
    assert.ok(
      after.shards.every(({ replicas }) => !replicas.includes("n1") && replicas.length > 0),
    );
    assert.deepEqual(
      after.shards.map(({ inSync, primary, epoch }) => ({ inSync, primary, epoch })),
      dead.shards.map(({ inSync, primary, epoch }) => ({ inSync, primary, epoch })),
    );
    const [first, ...rest] = dead.shards;
    assert.ok(first !== undefined);
    const single = { ...dead, shards: [{ ...first, replicas: ["n1"] }, ...rest] };
    assert.throws(() => withoutNode(single, "n1", { isGone: true }), refusal(/only one/));
  });

  it("may go before the cluster is formed", () => {
    const first = initialConfiguration({
      clusterId: "c",
      nodes: [1, 2, 3].map(place),
      settings: { ...DEFAULT_SETTINGS, shardCount: 3, replicas: 2 },
    });
    const after = withoutNode(first, "n1", { isGone: true });
    assert.ok(after?.shards.every(({ primary, replicas }) => primary === replicas[0]));
  });
});

describe("new replicas", () => {
  it("change nothing but the replicas of these shards", () => {
    const before = formedCluster();
    const after = withReplicas(before, [{ shard: 1, to: ["n1", "n2"] }]);
    assert.deepEqual(after?.shards[1], { ...before.shards[1], replicas: ["n1", "n2"] });
    assert.deepEqual(after?.shards[0], before.shards[0]);
    assert.equal(
      after === undefined ? "" : withReplicas(after, [{ shard: 1, to: ["n1", "n2"] }]),
      undefined,
    );
    assert.throws(() => withReplicas(before, [{ shard: 1, to: ["n8"] }]), MembershipError);
  });

  it("let a node take another's place, also as preferred primary", () => {
    const more = withNode(formedCluster(), place(4));
    assert.ok(more !== undefined);
    const moves = planReplacement(more, { old: "n1", by: "n4" });
    for (const { from, to, copiedTo } of moves) {
      assert.deepEqual(
        to,
        from.map((node) => (node === "n1" ? "n4" : node)),
      );
      assert.deepEqual(copiedTo, ["n4"]);
    }
    const after = withReplicas(more, moves);
    assert.ok(after !== undefined);
    assert.deepEqual(planReplacement(after, { old: "n1", by: "n4" }), []);
    assert.throws(() => planReplacement(more, { old: "n1", by: "n2" }), refusal(/hothot drain n1/));
    assert.throws(
      () => planReplacement(more, { old: "n1", by: "n9" }),
      refusal(/names are: n1, n2/),
    );
    assert.throws(() => planReplacement(more, { old: "n1", by: "n1" }), refusal(/own place/));
  });
});
