/**
 * Nodes that come back with the disks that they had, with damaged ones, with empty ones, or while a disk is full: what they
 * held before is never served as if it were new, and they get what they missed without a full copy where that can be.
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type CallFault, type Calls, holdCalls, SYNCS } from "../../src/cli/check/hold-calls.ts";
import { killNode, logPath, processOf, startNode } from "../../src/cli/cluster-state.ts";
import { Prng } from "../../src/kit/prng.ts";
import { damage, dataDirectory, smallDisk } from "../support/data-dir.ts";
import { cutPower } from "../support/power-loss.ts";
import { isRefusal, quantile, RegisterLoad } from "../support/register-load.ts";
import { RespClient } from "../support/resp-client.ts";
import { untilWhole } from "../support/turns.ts";
import { askAll, assertHolds, sameValues, writeAll } from "../support/values.ts";
import {
  lacks,
  metric,
  nodeAt,
  sleep,
  startTestCluster,
  type TestCluster,
  until,
} from "./harness.ts";

/**
 * Asks one node for all keys again and again, from before its port is open, for so long after it is ready.
 * @returns what it said that is wrong, at most ten lines, and how many answers were right.
 */
async function askWhileItComes(
  cluster: TestCluster,
  node: number,
  expected: ReadonlyMap<string, string | null>,
  afterMs: number,
): Promise<{ readonly wrong: readonly string[]; readonly right: number }> {
  const { respPort } = nodeAt(cluster.state, node);
  const keys = [...expected.keys()];
  const wrong: string[] = [];
  let right = 0;
  let readyAtMs = Number.POSITIVE_INFINITY;
  const watch = cluster.untilReady().then(() => {
    readyAtMs = performance.now();
  });
  let client: RespClient | undefined;
  for (let at = 0; performance.now() < readyAtMs + afterMs; at += 1) {
    const key = keys[at % keys.length] ?? "";
    try {
      client ??= await RespClient.connect(respPort);
      const reply = await client.ask("GET", key);
      if (isRefusal(reply)) continue;
      if (reply === expected.get(key)) right += 1;
      else if (wrong.length < 10) wrong.push(`${key} is ${String(reply)}`);
    } catch {
      client?.destroy();
      client = undefined;
      await sleep(1);
    }
    if (at % 50 === 0) await sleep(1);
  }
  client?.destroy();
  await watch;
  return { wrong, right };
}

/** Full copies that the nodes have begun to send since they started. */
async function copiesBegun(cluster: TestCluster): Promise<number> {
  const counts = await Promise.all(
    cluster.state.nodes.map((_, node) =>
      metric(cluster, node, "hothot_full_copies_total").catch(() => 0),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

for (const missed of ["little", "more than the log holds"] as const) {
  test(`deleted-stays-deleted: a disk that missed ${missed}`, { timeout: 120_000 }, async (t) => {
    const cluster = await startTestCluster(t, { args: ["--data-dir", dataDirectory()] });
    const before = sameValues("key:", 1_000, "old");
    await writeAll(cluster, 0, before);
    // All of it on the disk of who is going to miss what comes: longer than the interval at which it is written.
    await sleep(1_500);
    await killNode(cluster.state, "n3");
    await cluster.untilRemoved("n3", 0);
    const expected = new Map<string, string | null>();
    for (const [index, key] of [...before.keys()].entries()) {
      expected.set(key, index % 2 === 0 ? null : "old");
    }
    await writeAll(cluster, 0, expected);
    for (const [index, key] of [...before.keys()].entries()) {
      if (index % 10 === 0) expected.set(key, "recreated");
    }
    await writeAll(cluster, 1, expected);
    if (missed !== "little") {
      // More than the 1 MiB of its log that each of eight shards keeps.
      const padding = "x".repeat(50_000);
      for (let round = 0; round < 10; round += 1) {
        await writeAll(cluster, 0, sameValues("pad:", 100, padding));
      }
    }
    const asking = askWhileItComes(cluster, 2, expected, 1_000);
    await startNode(cluster.state, "n3");
    const { wrong, right } = await asking;
    assert.deepEqual(wrong, []);
    assert.ok(right > 0);
    await untilWhole(cluster);
    for (const node of [0, 1, 2]) await assertHolds(cluster, node, expected);
    const copies = await copiesBegun(cluster);
    t.diagnostic(`${right} right answers, ${copies} full copies`);
    assert.equal(copies > 0, missed !== "little");
    // Also when those that deleted are not there any more.
    await killNode(cluster.state, "n1");
    await cluster.untilRemoved("n1", 2);
    await killNode(cluster.state, "n2");
    await cluster.untilRemoved("n2", 2);
    await assertHolds(cluster, 2, expected);
  });
}

test("empty-restart-harmless: a node whose directory is deleted", {
  timeout: 180_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDir, "--durability", "fsync"],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ports, connections: 12, keys: 2_000, readShare: 0.5, rate: 400 });
  await load.fill();
  load.start(t);
  const prng = new Prng(1);
  for (const [index, { id }] of cluster.state.nodes.entries()) {
    load.announce(index);
    for (let kill = 0; kill < 6; kill += 1) {
      await killNode(cluster.state, id);
      rmSync(join(dataDir, id), { recursive: true, force: true });
      await startNode(cluster.state, id);
      await sleep(prng.between(20, 700));
      assert.deepEqual(load.troubles, [], `${id}, kill ${kill + 1}`);
    }
    // With one disk gone, the next may go only when this one holds all again.
    await untilWhole(cluster);
    load.welcome(index);
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

test("no-sync-storm: a rolling restart from disks copies nothing whole", {
  timeout: 180_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const shardCount = 4;
  const cluster = await startTestCluster(t, {
    shards: shardCount,
    args: ["--data-dir", dataDir],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({
    // More in each shard than the 1 MiB of its log that are kept.
    ...{ ports, connections: 12, keys: 2_500, padding: 10_000 },
    ...{ readShare: 0.8, rate: 200 },
  });
  await load.fill();
  load.start(t);
  for (const [index, { id }] of cluster.state.nodes.entries()) {
    // A disk that has fallen further behind than the log reaches would be right to ask for a copy.
    await until("the disk has what was filled", async () => {
      return (await metric(cluster, index, "hothot_disk_pending_bytes")) < 500_000;
    });
    load.announce(index);
    await killNode(cluster.state, id);
    await sleep(500);
    await startNode(cluster.state, id);
    await untilWhole(cluster);
    load.welcome(index);
    assert.equal(await copiesBegun(cluster), 0, `${id} was inside the log`);
  }
  for (const { id } of cluster.state.nodes) {
    assert.doesNotMatch(readFileSync(logPath(cluster.state, id), "utf8"), /copying to/);
  }
  // Two that come back with nothing at once: each donor copies one shard at a time.
  const donor = 0;
  for (const [index, { id }] of [...cluster.state.nodes.entries()].slice(1)) {
    load.announce(index);
    await killNode(cluster.state, id);
    await cluster.untilRemoved(id, donor);
    rmSync(join(dataDir, id), { recursive: true });
  }
  for (const { id } of cluster.state.nodes.slice(1)) await startNode(cluster.state, id);
  let most = 0;
  let isWhole = false;
  const whole = untilWhole(cluster).then(() => {
    isWhole = true;
  });
  while (!isWhole) {
    const { shards } = (await cluster.status(donor)).status;
    const feeds = shards.flatMap((shard) => shard.feeds);
    const copying = feeds.filter((feed) => feed.kind === "copy" && feed.slotsSent < feed.slots);
    most = Math.max(most, copying.length);
    await sleep(5);
  }
  await whole;
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.ok(most <= 1, `${most} copies at once`);
  const copies = await copiesBegun(cluster);
  t.diagnostic(`${copies} full copies to two empty nodes, ${most} at once`);
  assert.ok(copies >= 2 * shardCount, "every shard was copied to both");
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

test("a damaged disk is named, put aside, fetched from the peers and never served", {
  timeout: 120_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDir, "--durability", "fsync"],
  });
  const expected = new Map<string, string | null>(sameValues("key:", 3_000, "v".repeat(100)));
  await writeAll(cluster, 0, expected);
  for (const id of ["n3", "n1"]) {
    await killNode(cluster.state, id);
    const name = damage(join(dataDir, id));
    const index = Number(id.slice(1)) - 1;
    const asking = askWhileItComes(cluster, index, expected, 500);
    await startNode(cluster.state, id);
    const { wrong } = await asking;
    assert.deepEqual(wrong, []);
    await untilWhole(cluster);
    await assertHolds(cluster, index, expected);
    const log = readFileSync(logPath(cluster.state, id), "utf8");
    assert.match(log, /what the disk held is damaged; it is fetched from the peers/);
    const { reason } = JSON.parse(
      log.split("\n").find((line) => line.includes("what the disk held is damaged")) ?? "{}",
    ) as { readonly reason?: string };
    t.diagnostic(`${id}: ${name}: ${reason}`);
    assert.ok(reason !== undefined && reason !== "", "the log says what is damaged");
    const [aside = ""] = readdirSync(join(dataDir, id)).filter((each) => /^corrupt-/.test(each));
    assert.ok(readdirSync(join(dataDir, id, aside, "data")).length > 0, "it is kept as evidence");
    assert.ok(log.includes(aside), "the log says where it is");
  }
});

test("with every disk damaged the cluster does not come up empty by itself", {
  timeout: 120_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDir, "--durability", "fsync"],
  });
  await writeAll(cluster, 0, sameValues("key:", 3_000, "v".repeat(100)));
  await cutPower(cluster);
  for (const { id } of cluster.state.nodes) damage(join(dataDir, id));
  for (const id of ["witness", "n1", "n2", "n3"]) await startNode(cluster.state, id);
  await until("all answer", async () => {
    for (const node of [0, 1, 2]) await cluster.status(node);
    return true;
  });
  await sleep(3_000);
  for (const node of [0, 1, 2]) {
    const { respPort } = nodeAt(cluster.state, node);
    const replies = await askAll(respPort, [
      ["GET", "key:1"],
      ["SET", "key:1", "new"],
    ]);
    assert.ok(replies.every(isRefusal), `node ${node} answered ${replies.map(String).join(", ")}`);
  }
  // Only a person can decide to begin anew.
  const running = await cluster.hothot("recover", "--lost", "n1", "--yes");
  assert.notEqual(running.status, 0);
  await killNode(cluster.state, "n1");
  await until("they wait for n1", async () => {
    const { shards } = (await cluster.status(1)).status;
    return shards.every(({ waitsFor }) => waitsFor.join() === "n1");
  });
  const recovered = await cluster.hothot("recover", "--lost", "n1", "--yes");
  assert.equal(recovered.status, 0, `${recovered.stdout}${recovered.stderr}`);
  assert.match(recovered.stdout, /ALL OF IT/);
  await startNode(cluster.state, "n1");
  await untilWhole(cluster);
  const anew = sameValues("key:", 100, "anew");
  await writeAll(cluster, 0, anew);
  for (const node of [0, 1, 2]) await assertHolds(cluster, node, anew);
});

test("slow-node-evicted: a full disk: the node says so and leaves, the others go on, and it comes back", {
  timeout: 120_000,
  skip: process.getuid?.() === 0 ? false : "it takes root to mount a small disk",
}, async (t) => {
  const dataDir = dataDirectory();
  const disk = smallDisk(join(dataDir, "n3"), 48);
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDir, "--durability", "fsync"],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({
    ...{ ports, connections: 12, keys: 3_000, padding: 1_000 },
    ...{ readShare: 0.3, rate: 300 },
  });
  await load.fill();
  load.announce(2);
  load.start(t);
  for (let round = 1; round <= 2; round += 1) {
    load.takeLatencies();
    disk.fill();
    await cluster.untilRemoved("n3", 0);
    await sleep(1_000);
    const slowest = quantile(load.takeLatencies(), 1);
    t.diagnostic(`the slowest command elsewhere took ${Math.round(slowest)} ms`);
    assert.ok(slowest < 4_000, "the others waited for it");
    assert.deepEqual(load.troubles, []);
    assert.match(readFileSync(logPath(cluster.state, "n3"), "utf8"), /the disk failed: /);
    const { status } = await cluster.status(2);
    assert.ok(!status.isReady);
    // It lives, is of use as a gateway, and tries the disk again.
    const gateway = await RespClient.connect(ports[2] ?? 0);
    const reply = await gateway.ask("GET", "key:1");
    gateway.destroy();
    assert.ok(!isRefusal(reply), String(reply));
    disk.makeRoom();
    await untilWhole(cluster);
    assert.match(readFileSync(logPath(cluster.state, "n3"), "utf8"), /the disk works again/);
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
  // What it holds on its disk is all that it says.
  await cutPower(cluster);
  for (const id of ["witness", "n3", "n1", "n2"]) await startNode(cluster.state, id);
  await untilWhole(cluster);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

/** Holds calls of a node's process until the test ends or it is told to stop. */
async function holdCallsOf(
  t: TestContext,
  cluster: TestCluster,
  id: string,
  calls: Calls,
  fault: CallFault = { error: "EIO" },
) {
  const { pid } = processOf(cluster.state, id) ?? {};
  assert.ok(pid !== undefined, `${id} runs`);
  const release = await holdCalls(pid, calls, fault);
  t.after(release);
  return release;
}

/** The file that a node's database appends to. */
function databaseLog(dir: string): string {
  const name = readdirSync(join(dir, "data")).find((each) => each.endsWith(".log"));
  assert.ok(name !== undefined, `${dir} is in use`);
  return join(dir, "data", name);
}

for (const [what, callsOf] of [
  ["a sync", () => SYNCS],
  ["a write", (dir: string) => ({ names: ["write"], path: databaseLog(dir) })],
] as const) {
  test(`${what} fails with an I/O error: the node says so and leaves, and comes back`, {
    timeout: 120_000,
    skip: lacks("strace", "strace"),
  }, async (t) => {
    const dataDir = dataDirectory();
    const cluster = await startTestCluster(t, {
      args: ["--data-dir", dataDir, "--durability", "fsync"],
    });
    const ports = cluster.state.nodes.map((node) => node.respPort);
    const load = new RegisterLoad({
      ...{ ports, connections: 12, keys: 1_000, readShare: 0.3, rate: 200 },
    });
    await load.fill();
    load.announce(2);
    load.start(t);
    const release = await holdCallsOf(t, cluster, "n3", callsOf(join(dataDir, "n3")));
    await cluster.untilRemoved("n3", 0);
    const log = readFileSync(logPath(cluster.state, "n3"), "utf8");
    assert.match(log, /the disk failed: [^"]*Input\/output error/);
    assert.deepEqual(load.troubles, []);
    await release();
    await untilWhole(cluster);
    assert.match(readFileSync(logPath(cluster.state, "n3"), "utf8"), /the disk works again/);
    await load.stop();
    assert.deepEqual(load.troubles, []);
    // What it holds on its disk is all that it says.
    await cutPower(cluster);
    for (const id of ["witness", "n3", "n1", "n2"]) await startNode(cluster.state, id);
    await untilWhole(cluster);
    assert.deepEqual(await load.verify([0, 1, 2]), []);
  });
}

test("slow-node-evicted: a disk that takes nothing and does not fail", {
  timeout: 120_000,
  skip: lacks("strace", "strace"),
}, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({
    ...{ ports, connections: 12, keys: 1_000, readShare: 0.3, rate: 200 },
  });
  await load.fill();
  load.announce(0);
  load.start(t);
  for (const index of [0, 2]) {
    const { id } = nodeAt(cluster.state, index);
    load.announce(index);
    const release = await holdCallsOf(t, cluster, id, SYNCS, { delayMs: 600_000 });
    // Also as the primary of its shards, which nobody else can remove for that.
    const seenBy = index === 0 ? 1 : 0;
    await until(`${id} leads nothing any more`, async () => {
      const { shards } = (await cluster.status(seenBy)).status;
      return shards.every(({ primary }) => primary !== id);
    });
    const answered = load.counts.answered;
    await until("the others go on", () => load.counts.answered > answered + 100);
    assert.deepEqual(load.troubles, []);
    await release();
    await untilWhole(cluster);
    load.welcome(index);
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

test("the disks of all nodes fail: nobody acknowledges, and who has a disk again goes on alone", {
  timeout: 120_000,
  skip: lacks("strace", "strace"),
}, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const before = sameValues("key:", 200, "before");
  await writeAll(cluster, 0, before);
  const release = await Promise.all(
    cluster.state.nodes.map(({ id }) => holdCallsOf(t, cluster, id, SYNCS)),
  );
  // The first writes make the disks fail; what becomes of them is unknown, or they were refused.
  const writes = (node: number, value: string) =>
    askAll(
      ports[node] ?? 0,
      Array.from({ length: 50 }, (_, index) => ["SET", `during:${index}`, value]),
    );
  const lost = await Promise.all([0, 1, 2].map((node) => writes(node, `lost ${node}`)));
  for (const reply of lost.flat()) assert.ok(isRefusal(reply), `acknowledged: ${String(reply)}`);
  for (const { id } of cluster.state.nodes) {
    assert.match(readFileSync(logPath(cluster.state, id), "utf8"), /the disk failed: /);
  }
  for (const node of [0, 1, 2]) {
    assert.ok((await cluster.status(node)).status.lacksDisk, `node ${node} says so`);
  }
  const refused = await Promise.all([0, 1, 2].map((node) => writes(node, "no")));
  const codes = refused.flat().map((reply) => (isRefusal(reply) ? reply.code : "acknowledged"));
  assert.ok(!codes.includes("acknowledged"));
  assert.ok(codes.includes("MISCONF"), `it is said why: ${[...new Set(codes)].join(", ")}`);
  await release[1]?.();
  await until("n2 goes on", async () => {
    const { shards } = (await cluster.status(1)).status;
    return shards.every(({ inSync, serves }) => inSync.join() === "n2" && serves);
  });
  await assertHolds(cluster, 1, before);
  const after = sameValues("after:", 100, "of n2");
  await writeAll(cluster, 1, after);
  await Promise.all([release[0]?.(), release[2]?.()]);
  await untilWhole(cluster);
  for (const node of [0, 1, 2]) {
    await assertHolds(cluster, node, before);
    await assertHolds(cluster, node, after);
  }
});
