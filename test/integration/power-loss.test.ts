/** All nodes and the witness are killed at the same moment while clients write: what was promised to these is there afterwards. */

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { killNode, startNode } from "../../src/cli/cluster-state.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { cutPower, losePower } from "../support/power-loss.ts";
import { isRefusal } from "../support/register-load.ts";
import { untilWhole } from "../support/turns.ts";
import { askAll, assertHolds, sameValues, writeAll } from "../support/values.ts";
import { WriteLoad } from "../support/write-load.ts";
import { nodeAt, sleep, startTestCluster, type TestCluster, until } from "./harness.ts";

const LOAD = { connections: 12, keys: 3_000, depth: 20, padding: 100 } as const;

function writers(t: TestContext, cluster: TestCluster): WriteLoad {
  const load = new WriteLoad({ ...LOAD, ports: cluster.state.nodes.map((node) => node.respPort) });
  t.after(() => load.stop());
  return load;
}

// Twenty times with `npm run power-loss`.
test("power loss of all nodes: fsync loses nothing", { timeout: 180_000 }, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const losses = await losePower(cluster, writers(t, cluster), {
    rounds: 5,
    writeMs: 1_000,
    report: (line) => t.diagnostic(line),
  });
  for (const { acknowledged, lost, wrong } of losses) {
    assert.deepEqual(wrong, []);
    assert.equal(lost, 0);
    assert.ok(acknowledged > 0);
  }
});

test("power loss of all nodes: async loses what its interval says", {
  timeout: 180_000,
}, async (t) => {
  const flushMs = 1_000;
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "async", "--flush-ms", String(flushMs)],
  });
  const losses = await losePower(cluster, writers(t, cluster), {
    rounds: 2,
    writeMs: 2_500,
    report: (line) => t.diagnostic(line),
  });
  for (const { acknowledged, oldestLostMs, wrong } of losses) {
    assert.deepEqual(wrong, []);
    assert.ok(acknowledged > 0);
    // The interval, and what two flushes on a busy disk take: the one that was under way, and the one that was due.
    assert.ok(oldestLostMs < 3 * flushMs, `lost what was acknowledged ${oldestLostMs} ms before`);
  }
});

test("nobody-picks-the-winner: any order of starts, one node late", {
  timeout: 240_000,
}, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const load = writers(t, cluster);
  const orders = [
    ["n1", "n2", "n3"],
    ["n2", "n3", "n1"],
    ["n3", "n1", "n2"],
    ["n3", "n2", "n1"],
    ["n1", "n3", "n2"],
    ["n2", "n1", "n3"],
  ];
  for (const [round, order] of orders.entries()) {
    load.start();
    await sleep(700);
    const cutMs = await cutPower(cluster);
    await load.stop();
    // The witness comes before, between or after the nodes.
    for (const id of order.toSpliced(round % 4, 0, "witness")) {
      await startNode(cluster.state, id);
      await sleep(250);
    }
    await untilWhole(cluster);
    const { lost, wrong } = await load.judge(cutMs);
    assert.deepEqual(wrong, [], order.join());
    assert.equal(lost, 0, order.join());
  }
});

/** Kills the nodes one after the other, so that the last alone has what was written last, and then the witness. */
async function endOneByOne(
  cluster: TestCluster,
  order: readonly string[],
): Promise<ReadonlyMap<string, string | null>> {
  const expected = new Map<string, string | null>();
  const write = async (value: string): Promise<void> => {
    const last = cluster.state.nodes.findIndex(({ id }) => id === order.at(-1));
    const values = sameValues(`${value}:`, 200, value);
    await writeAll(cluster, last, values);
    for (const [key, each] of values) expected.set(key, each);
  };
  await write("by all");
  for (const id of order.slice(0, -1)) {
    await killNode(cluster.state, id);
    const seenBy = cluster.state.nodes.findIndex((node) => node.id === order.at(-1));
    await cluster.untilRemoved(id, seenBy);
    await write(`without ${id}`);
  }
  await killNode(cluster.state, order.at(-1) ?? "");
  await killNode(cluster.state, "witness");
  return expected;
}

test("nobody-picks-the-winner: the others wait for the one that has all, and say so", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const expected = await endOneByOne(cluster, ["n3", "n2", "n1"]);
  for (const id of ["witness", "n2", "n3"]) await startNode(cluster.state, id);
  await until("they wait for n1", async () => {
    const { shards } = (await cluster.status(1)).status;
    return shards.every(({ waitsFor }) => waitsFor.join() === "n1");
  });
  // For as long as it takes.
  await sleep(2_000);
  const { stdout } = await cluster.hothot("status");
  assert.match(stdout, /Shard 0 waits for n1\./);
  for (const node of [1, 2]) {
    const [reply = null] = await askAll(nodeAt(cluster.state, node).respPort, [
      ["GET", "by all:1"],
    ]);
    assert.ok(isRefusal(reply), `node ${node} answered ${String(reply)}`);
  }
  await startNode(cluster.state, "n1");
  await untilWhole(cluster);
  for (const node of [0, 1, 2]) await assertHolds(cluster, node, expected);
});

test("one disk never comes back: recover goes on with what is left, and says what may be missing", {
  timeout: 120_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDir, "--durability", "fsync"],
  });
  const expected = await endOneByOne(cluster, ["n3", "n2", "n1"]);
  rmSync(join(dataDir, "n1"), { recursive: true });
  for (const id of ["witness", "n2", "n3"]) await startNode(cluster.state, id);
  await until("they wait for n1", async () => {
    const { shards } = (await cluster.status(1)).status;
    return shards.every(({ waitsFor }) => waitsFor.join() === "n1");
  });
  const unasked = await cluster.hothot("recover", "--lost", "n1");
  assert.notEqual(unasked.status, 0, "it does nothing that was not agreed to");
  assert.match(unasked.stdout, /n1 would be given up for good/);
  const { status, stdout, stderr } = await cluster.hothot("recover", "--lost", "n1", "--yes");
  assert.equal(status, 0, `${stdout}${stderr}`);
  // n2 had left before the last writes; what was written before that is all there.
  const left = new Map(
    [...expected].map(([key, value]) => [key, value === "without n2" ? null : value]),
  );
  for (const node of [1, 2]) {
    await until(`node ${node} is ready`, async () => {
      const { shards } = (await cluster.status(node)).status;
      return shards.every((shard) => shard.serves);
    });
    await assertHolds(cluster, node, left);
  }
  // A new machine of the old name gets everything from the others.
  await startNode(cluster.state, "n1");
  await untilWhole(cluster);
  for (const node of [0, 1, 2]) await assertHolds(cluster, node, left);
});
