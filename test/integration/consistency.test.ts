/** What applications build on: locks, counters, and reading at one node what was written at another. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { killNode, pauseNode, resumeNode, startNode } from "../../src/cli/cluster-state.ts";
import {
  type Client,
  metric,
  nodeAt,
  sleep,
  startTestCluster,
  type TestCluster,
} from "./harness.ts";

async function clientsOf(
  cluster: TestCluster,
  perNode: number,
): Promise<{ node: number; client: Client }[]> {
  const clients = [];
  for (const node of cluster.state.nodes.keys()) {
    for (let i = 0; i < perNode; i += 1) clients.push({ node, client: await cluster.client(node) });
  }
  return clients;
}

/** A lost connection or an UNCERTAIN answer leaves open whether the command took effect. */
function isUnknown(error: unknown): boolean {
  return !/TRYAGAIN|NOREPLICAS/.test(String(error));
}

test("one-lock-holder", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t);
  const clients = await clientsOf(cluster, 20);
  const locks = Array.from({ length: 1_500 }, (_, index) => `lock:${index}`);
  const holders = new Map<string, string[]>();
  const doubtful = new Set<string>();
  let raced = 0;
  const races = clients.map(async ({ node, client }, index) => {
    const name = `${nodeAt(cluster.state, node).id}/${index}`;
    for (const lock of locks) {
      try {
        const reply = await client.set(lock, name, { condition: "NX" });
        if (reply === "OK") holders.set(lock, [...(holders.get(lock) ?? []), name]);
      } catch (error) {
        if (isUnknown(error)) doubtful.add(lock);
        // The rest of a dead node's clients have lost their connections.
        if (!client.isOpen) return;
      }
      raced += 1;
    }
  });
  while (raced < 20_000) await sleep(5);
  await killNode(cluster.state, "n3");
  await Promise.all(races);
  const reader = await cluster.client(0);
  const wrong: string[] = [];
  for (const lock of locks) {
    const winners = holders.get(lock) ?? [];
    const value = await reader.get(lock);
    if (winners.length > 1) wrong.push(`${lock} is held by ${winners.join(" and ")}`);
    else if (winners.length === 1 && value !== winners[0])
      wrong.push(`${lock} is ${String(value)}, won by ${winners[0]}`);
    else if (winners.length === 0 && !doubtful.has(lock)) wrong.push(`${lock} was won by nobody`);
  }
  assert.deepEqual(wrong, []);
});

test("exact-counters", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t);
  const counters = ["counter:a", "counter:b", "counter:c", "counter:d"];
  const rounds = 3_000;
  const acknowledged = new Map<string, number>();
  const unknown = new Map<string, number>();
  let asked = 0;
  const add = (map: Map<string, number>, key: string): unknown =>
    map.set(key, (map.get(key) ?? 0) + 1);
  const work = [...cluster.state.nodes.keys()].map(async (node) => {
    let client = await cluster.client(node);
    for (let round = 0; round < rounds; round += 1) {
      asked += 1;
      const key = counters[round % counters.length] ?? "";
      try {
        await client.incr(key);
        add(acknowledged, key);
      } catch (error) {
        if (isUnknown(error)) add(unknown, key);
        // A dead node's client goes on at the next node, as a stock client with several addresses does.
        if (!client.isOpen) client = await cluster.client((node + 1) % 3);
      }
    }
  });
  while (asked < rounds * 3 * 0.3) await sleep(5);
  await killNode(cluster.state, "n3");
  await startNode(cluster.state, "n3");
  await Promise.all(work);
  await cluster.untilReady();
  for (const key of counters) {
    const values: number[] = [];
    for (const node of cluster.state.nodes.keys()) {
      const client = await cluster.client(node);
      values.push(Number(await client.get(key)));
    }
    const [value = Number.NaN] = values;
    const least = acknowledged.get(key) ?? 0;
    const most = least + (unknown.get(key) ?? 0);
    assert.deepEqual(values, [value, value, value], key);
    assert.ok(
      value >= least && value <= most,
      `${key} is ${value}, not between ${least} and ${most}`,
    );
  }
});

test("read-your-writes-anywhere", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t);
  const trios = 8;
  const stale: string[] = [];
  const errors: string[] = [];
  let pairs = 0;
  let isOver = false;
  const work = Array.from({ length: trios }, async (_, trio) => {
    const writer = await cluster.client(0);
    const near = await cluster.client(1);
    let far = await cluster.client(2);
    for (let round = 1; !isOver; round += 1) {
      const key = `key:${trio}:${round % 64}`;
      const value = String(round);
      try {
        await writer.set(key, value);
        const [first, second] = await Promise.all([near.get(key), far.get(key).catch(() => value)]);
        if (first !== value) stale.push(`n2: ${key} is ${String(first)} and should be ${value}`);
        if (second !== value) stale.push(`n3: ${key} is ${String(second)} and should be ${value}`);
        pairs += 1;
      } catch (error) {
        errors.push(String(error));
        return;
      }
      // The third node is paused and killed; its clients have to come back by themselves.
      if (!far.isOpen) far = await cluster.client(2).catch(() => far);
    }
  });
  await sleep(1_000);
  for (let round = 0; round < 2; round += 1) {
    pauseNode(cluster.state, "n3");
    await sleep(1_200);
    resumeNode(cluster.state, "n3");
    await cluster.untilReady();
    await killNode(cluster.state, "n3");
    await sleep(1_000);
    await startNode(cluster.state, "n3");
    await cluster.untilReady();
    await sleep(1_000);
  }
  isOver = true;
  await Promise.all(work);
  t.diagnostic(`${pairs} writes, each read at two other nodes`);
  assert.deepEqual(errors, []);
  assert.deepEqual(stale, []);
  assert.ok(pairs > 100, "too few writes to show anything");
});

test("lean-wire", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, { shards: 1 });
  const indexes = [...cluster.state.nodes.keys()];
  const sent = async (): Promise<number[]> =>
    Promise.all(indexes.map((index) => metric(cluster, index, "hothot_peer_sent_bytes_total")));
  const status = await cluster.status(0);
  const primary = indexes.find(
    (index) => nodeAt(cluster.state, index).id === (status.status.shards[0]?.primary ?? ""),
  );
  assert.ok(primary !== undefined);
  const client = await cluster.client(primary);

  const value = "x".repeat(10_000);
  const count = 3_000;
  const before = await sent();
  for (let done = 0; done < count; done += 100) {
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => client.set(`key:${done + index}`, value)),
    );
  }
  const after = await sent();
  const total = after.reduce((sum, bytes, index) => sum + bytes - (before[index] ?? 0), 0);
  const ratio = total / (count * value.length);
  t.diagnostic(`${ratio.toFixed(2)} bytes on the wire for each byte written`);
  assert.ok(ratio <= 2.5, `${ratio} bytes were sent for each byte written`);
  assert.ok(ratio >= 1.9, `${ratio}: two copies need more than this, so the metric is wrong`);

  const idleBegun = performance.now();
  const idleBefore = await sent();
  await sleep(3_000);
  const idleAfter = await sent();
  const seconds = (performance.now() - idleBegun) / 1_000;
  const kbits = idleAfter.map(
    (bytes, index) => ((bytes - (idleBefore[index] ?? 0)) * 8) / 1_000 / seconds,
  );
  t.diagnostic(`idle, kbit/s a node: ${kbits.map((each) => each.toFixed(1)).join(", ")}`);
  assert.ok(
    kbits.every((each) => each < 100),
    `an idle node sends ${kbits.join(", ")} kbit/s`,
  );
});
