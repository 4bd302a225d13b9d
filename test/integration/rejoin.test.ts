/**
 * Nodes that come back: what they missed is there again, the others are not disturbed, and nobody is served by them too early.
 * The names are those of reports by users of other stores, each of which such a return has cost data or sleep.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { killNode, pauseNode, resumeNode, startNode } from "../../src/cli/cluster-state.ts";
import { callHttp } from "../../src/cli/http-client.ts";
import { Refusal } from "../../src/data/reply.ts";
import { withBusyProcess } from "../support/busy-process.ts";
import { storeArguments } from "../support/data-dir.ts";
import { isRefusal, quantile, RegisterLoad } from "../support/register-load.ts";
import { RespClient } from "../support/resp-client.ts";
import { takeTurns, untilWhole } from "../support/turns.ts";
import { askAll, assertHolds } from "../support/values.ts";
import { nodeAt, sleep, startTestCluster, until } from "./harness.ts";

test("missed-writes-repaired", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const expected = new Map<string, string | null>();
  const write = async (requests: readonly (readonly string[])[]): Promise<void> => {
    // Each node takes the keys of its own half, so that what they take does not overtake.
    const replies = await Promise.all(
      [0, 1].map((node) =>
        askAll(
          nodeAt(cluster.state, node).respPort,
          requests.filter((request) => Number(request[1]?.slice(1)) % 2 === node),
        ),
      ),
    );
    assert.deepEqual(replies.flat().filter(isRefusal), []);
  };
  const first = Array.from({ length: 4_000 }, (_, index) => `k${index}`);
  for (const key of first) expected.set(key, "first");
  await write(first.map((key) => ["SET", key, "first"]));
  await killNode(cluster.state, "n3");
  await cluster.untilRemoved("n3", 0);
  for (let round = 0; round < 10; round += 1) {
    const requests = Array.from({ length: 10_000 }, (_, index) => {
      const key = `k${(index + round * 1_500) % 20_000}`;
      // Some of what n3 had goes, some of it comes back with another value.
      if (round === 1 && index % 3 === 0) {
        expected.set(key, null);
        return ["DEL", key];
      }
      expected.set(key, `${round}:${index}`);
      return ["SET", key, `${round}:${index}`];
    });
    await write(requests);
  }
  const startedAt = performance.now();
  await startNode(cluster.state, "n3");
  await untilWhole(cluster);
  t.diagnostic(`100,000 missed writes repaired in ${Math.round(performance.now() - startedAt)} ms`);
  // Nothing has been read meanwhile, and one of those that knew is gone at once.
  await killNode(cluster.state, "n1");
  for (const node of [2, 1]) await assertHolds(cluster, node, expected);
});

test("exact-counters", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const counts = { acknowledged: 0, unknown: 0 };
  const troubles: string[] = [];
  const total = 30_000;
  let started = 0;
  let isThirdAway = false;
  /** Counts on one node, 20 at once, until all clients together have begun all that is to be counted. */
  const countAt = async (node: number): Promise<void> => {
    let client: RespClient | undefined;
    while (started < total) {
      if (node === 2 && isThirdAway) {
        client?.destroy();
        client = undefined;
        await sleep(10);
        continue;
      }
      const batch = Math.min(20, total - started);
      started += batch;
      let answered = 0;
      try {
        client ??= await RespClient.connect(nodeAt(cluster.state, node).respPort);
        client.send(...Array.from({ length: batch }, () => ["INCR", "counter"]));
        for (; answered < batch; answered += 1) {
          const reply = await client.next();
          if (!isRefusal(reply)) counts.acknowledged += 1;
          else if (reply.code === "UNCERTAIN") counts.unknown += 1;
          // What is certainly not counted is counted later.
          else started -= 1;
          if (isRefusal(reply) && node !== 2) troubles.push(`node ${node}: ${reply.code}`);
        }
      } catch (error) {
        client?.destroy();
        client = undefined;
        counts.unknown += batch - answered;
        if (node !== 2) troubles.push(`node ${node}: ${String(error)}`);
      }
    }
    client?.destroy();
  };
  const counting = Promise.all([0, 1, 2].map((node) => countAt(node)));
  await until("30 % are counted", () => counts.acknowledged >= 0.3 * total);
  isThirdAway = true;
  await killNode(cluster.state, "n3");
  await startNode(cluster.state, "n3");
  await until("n3 is ready, or all is counted", async () => {
    if (counts.acknowledged + counts.unknown >= total) return true;
    return (await cluster.status(2)).status.isReady;
  });
  isThirdAway = false;
  await counting;
  await untilWhole(cluster);
  assert.deepEqual(troubles, []);
  const { acknowledged, unknown } = counts;
  const values = await Promise.all(
    cluster.state.nodes.map(
      async ({ respPort }) => (await askAll(respPort, [["GET", "counter"]]))[0],
    ),
  );
  t.diagnostic(
    `${acknowledged} acknowledged, ${unknown} unknown, the value is ${values.join(", ")}`,
  );
  const value = Number(values[0]);
  assert.deepEqual(values, [values[0], values[0], values[0]]);
  assert.ok(value >= acknowledged && value <= acknowledged + unknown, `${value} is wrong`);
  assert.ok(acknowledged + unknown >= total);
});

test("ready-means-ready", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({
    ports: ports.slice(0, 2),
    connections: 10,
    keys: 30_000,
    readShare: 0.5,
    rate: 500,
  });
  await load.fill();
  const { respPort, httpPort, host } = nodeAt(cluster.state, 2);
  const constants = new Map(Array.from({ length: 200 }, (_, key) => [`still:${key}`, String(key)]));
  const keys = [...constants.keys()];
  const set = await askAll(
    ports[0] ?? 0,
    keys.map((key) => ["SET", key, constants.get(key) ?? ""]),
  );
  assert.deepEqual(set.filter(isRefusal), []);
  load.start(t);
  for (let round = 1; round <= 3; round += 1) {
    await killNode(cluster.state, "n3");
    await cluster.untilRemoved("n3", 0);
    await startNode(cluster.state, "n3");
    const probes: string[] = [];
    let refused = 0;
    let right = 0;
    let isOver = false;
    const wrong: string[] = [];
    let readyAt = Number.POSITIVE_INFINITY;
    /** Asks over RESP again and again, from before the port is open. */
    const asking = (async () => {
      let client: RespClient | undefined;
      for (let index = 0; !isOver; index += 1) {
        const key = keys[index % keys.length] ?? "";
        const askedAt = performance.now();
        try {
          client ??= await RespClient.connect(respPort);
          const reply = await client.ask("GET", key);
          if (reply === constants.get(key)) right += 1;
          else if (!(reply instanceof Refusal)) wrong.push(`${key} is ${String(reply)}`);
          else {
            refused += 1;
            if (!/^(?:TRYAGAIN|LOADING|CLUSTERDOWN|UNCERTAIN)$/.test(reply.code))
              wrong.push(reply.code);
            // It has called itself ready before this was asked.
            if (askedAt > readyAt) wrong.push(`refused though ready: ${reply.code}`);
          }
        } catch {
          if (askedAt > readyAt) wrong.push("no connection though ready");
          client = undefined;
          await sleep(1);
        }
        if (index % 20 === 0) await sleep(1);
      }
      client?.destroy();
    })();
    const deadline = performance.now() + 60_000;
    while (performance.now() < Math.min(deadline, readyAt + 1_000)) {
      const answer = await callHttp({
        host,
        port: httpPort,
        path: "/readyz",
        timeoutMs: 5_000,
      }).catch(() => undefined);
      const probe = String(answer?.status ?? "none");
      if (probe === "503" && readyAt < Number.POSITIVE_INFINITY) {
        t.diagnostic(
          `not ready ${Math.round(performance.now() - readyAt)} ms later: ${answer?.body}`,
        );
      }
      if (probes.at(-1) !== probe) probes.push(probe);
      if (probe === "200" && readyAt === Number.POSITIVE_INFINITY) {
        readyAt = performance.now();
        const { shards } = (await cluster.status(0)).status;
        const without = shards.filter((shard) => !shard.inSync.includes("n3"));
        assert.deepEqual(without, [], "it called itself ready before it was in sync");
      }
      await sleep(2);
    }
    isOver = true;
    await asking;
    t.diagnostic(
      `round ${round}: ${right} right, ${refused} refused; /readyz: ${probes.join(", ")}`,
    );
    assert.deepEqual(wrong.slice(0, 5), []);
    assert.match(probes.join(" "), /^(?:none )?(?:503 )?200$/, "readyz flaps");
    assert.ok(right > 0);
    await untilWhole(cluster);
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
});

test("slow-node-evicted: frozen for 5 s, and beside a busy process", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ports, connections: 15, keys: 3_000, readShare: 0.5, rate: 600 });
  await load.fill();
  load.start(t);
  await sleep(1_000);
  for (const index of [2, 0]) {
    const { id } = nodeAt(cluster.state, index);
    load.announce(index);
    load.takeLatencies();
    pauseNode(cluster.state, id);
    await sleep(5_000);
    // What was under way when it froze has been answered long before it goes on, or its latency would not be here.
    const slowest = quantile(load.takeLatencies(), 1);
    const answered = load.counts.answered;
    await sleep(500);
    assert.ok(load.counts.answered > answered, "the others go on while it is frozen");
    t.diagnostic(`${id} frozen: the slowest command elsewhere took ${Math.round(slowest)} ms`);
    assert.ok(slowest < 4_000, "the others waited for it to go on");
    resumeNode(cluster.state, id);
    await untilWhole(cluster);
    load.welcome(index);
    assert.deepEqual(load.troubles, []);
  }
  load.takeLatencies();
  await withBusyProcess(() => sleep(4_000));
  t.diagnostic(`beside a busy process: p99 ${Math.round(quantile(load.takeLatencies(), 0.99))} ms`);
  await untilWhole(cluster);
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

// 200 clients race for 10,000 keys in the report. Here each of 200 races for 500 of 5,000, twenty on a key: a tenth of a million commands.
test("one-lock-holder: 200 clients, a node dies", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const clientCount = 200;
  const keyCount = 5_000;
  const perClient = 500;
  const winners = new Map<number, string[]>();
  const maybe = new Map<number, Set<string>>();
  const troubles: string[] = [];
  let answered = 0;
  let isVictimAway = false;
  const race = async (client: number): Promise<void> => {
    const name = `client-${client}`;
    const home = client % 3;
    let node = home;
    let connection: RespClient | undefined;
    for (let from = 0; from < perClient; from += 25) {
      if (isVictimAway && node === 2) {
        connection?.destroy();
        connection = undefined;
        node = client % 2;
      }
      // Neighbours race for the same keys at the same time.
      const block = Math.floor(client / 20) * perClient;
      const keys = Array.from({ length: 25 }, (_, index) => (block + from + index) % keyCount);
      let got = 0;
      try {
        connection ??= await RespClient.connect(nodeAt(cluster.state, node).respPort);
        connection.send(...keys.map((key) => ["SET", `lock:${key}`, name, "NX"]));
        for (const key of keys) {
          const reply = await connection.next();
          got += 1;
          answered += 1;
          if (isRefusal(reply)) {
            if (node !== 2) troubles.push(`node ${node}: ${reply.code}`);
            if (reply.code === "UNCERTAIN") addTo(maybe, key, name);
          } else if (reply !== null) winners.set(key, [...(winners.get(key) ?? []), name]);
        }
      } catch (error) {
        for (const key of keys.slice(got)) addTo(maybe, key, name);
        if (node !== 2) troubles.push(`node ${node}: ${String(error)}`);
        connection?.destroy();
        connection = undefined;
        node = client % 2;
      }
    }
    connection?.destroy();
  };
  const racing = Promise.all(Array.from({ length: clientCount }, (_, client) => race(client)));
  await until("a quarter is raced for", () => answered > (clientCount * perClient) / 4);
  isVictimAway = true;
  await killNode(cluster.state, "n3");
  await racing;
  await startNode(cluster.state, "n3");
  await untilWhole(cluster);
  assert.deepEqual(troubles.slice(0, 5), []);
  const twice = [...winners].filter(([, names]) => names.length > 1);
  assert.deepEqual(twice, []);
  for (const { id, respPort } of cluster.state.nodes) {
    const values = await askAll(
      respPort,
      Array.from({ length: keyCount }, (_, key) => ["GET", `lock:${key}`]),
    );
    const wrong = values.flatMap((value, key) => {
      const winner = winners.get(key)?.[0];
      if (winner !== undefined) return value === winner ? [] : [`${key}: ${winner} lost it`];
      const isKnown = typeof value === "string" && maybe.get(key)?.has(value) === true;
      return isKnown ? [] : [`${key} is ${String(value)}`];
    });
    assert.deepEqual(wrong.slice(0, 10), [], `seen by ${id}`);
  }
  t.diagnostic(
    `${winners.size} of ${keyCount} won with an answer; ${maybe.size} had an unknown attempt`,
  );
  assert.ok(winners.size > keyCount / 2);
});

// A million keys and three rounds with `npm run soak`.
test("each node killed and restarted in turn under load", { timeout: 180_000 }, async (t) => {
  const cluster = await startTestCluster(t, { shards: 16, args: storeArguments() });
  const result = await takeTurns(cluster, {
    keys: 50_000,
    connections: 50,
    readShare: 0.8,
    rate: 1_000,
    rounds: 1,
    downMs: 1_000,
    calmMs: 2_000,
    report: (line) => t.diagnostic(line),
  });
  t.diagnostic(`${result.answered} commands answered, ${result.unknown} lost at dying nodes`);
  assert.deepEqual(result.troubles, []);
  assert.deepEqual(result.wrong, []);
});

function addTo(sets: Map<number, Set<string>>, key: number, name: string): void {
  const names = sets.get(key) ?? new Set();
  names.add(name);
  sets.set(key, names);
}
