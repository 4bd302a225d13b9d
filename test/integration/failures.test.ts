/** What the clients of the surviving nodes see when a node dies, freezes or is cut off. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  killNode,
  pauseNode,
  resumeNode,
  standingOf,
  startNode,
} from "../../src/cli/cluster-state.ts";
import { assertHolds } from "../support/values.ts";
import { Workers } from "../support/workers.ts";
import { cutLinks, nodeAt, sleep, startTestCluster, type TestCluster, until } from "./harness.ts";

test("50 connections on survivors see no error over ten kills", { timeout: 180_000 }, async (t) => {
  const cluster = await startTestCluster(t);
  const workers = new Workers(cluster, 50);
  await workers.start();
  const gaps: number[] = [];
  for (let kill = 0; kill < 10; kill += 1) {
    const victim = kill % 3;
    const { id } = nodeAt(cluster.state, victim);
    await workers.leave(victim);
    workers.slowestMs = 0;
    await killNode(cluster.state, id);
    await cluster.untilRemoved(id, (victim + 1) % 3);
    const before = workers.answered;
    await until(
      "work goes on",
      () => workers.answered > before + 500 || workers.troubles.length > 0,
    );
    gaps.push(workers.slowestMs);
    assert.deepEqual(workers.troubles, [], `after kill ${kill + 1}`);
    await startNode(cluster.state, id);
    await cluster.untilReady();
  }
  await workers.stop();
  assert.deepEqual(workers.troubles, []);
  const shown = gaps.map((gap) => Math.round(gap)).join(", ");
  t.diagnostic(`${workers.answered} commands; slowest command around each kill, ms: ${shown}`);
});

test("slow-node-evicted and paused-process-serves-nothing: SIGSTOP", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t);
  const survivor = await cluster.client(0);
  const keys = Array.from({ length: 40 }, (_, index) => `key:${index}`);
  for (const [round, pausedMs] of [1_000, 400, 2_500].entries()) {
    await Promise.all(keys.map((key) => survivor.set(key, `old:${round}`)));
    const sleeper = await cluster.socket(2);
    let replies = "";
    sleeper.on("data", (chunk: Buffer) => {
      replies += chunk.toString("latin1");
    });
    pauseNode(cluster.state, "n3");
    // No write fails; they wait until the sleeper is out.
    await Promise.all(keys.map((key) => survivor.set(key, `new:${round}`)));
    // These commands come after the writes were acknowledged, and are the first that the sleeper finds.
    sleeper.write(keys.map((key) => `*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`).join(""));
    await sleep(pausedMs);
    resumeNode(cluster.state, "n3");
    await until(
      "every command is answered",
      () => countReplies(replies) === keys.length || sleeper.closed,
    );
    const stale = replies.match(/old:\d+/g) ?? [];
    assert.deepEqual(stale, [], `stale after ${pausedMs} ms`);
    for (const line of replies.split("\r\n").filter((each) => each.startsWith("-"))) {
      assert.match(line, /^-(?:TRYAGAIN|UNCERTAIN|CLUSTERDOWN|LOADING)/);
    }
    sleeper.destroy();
    await cluster.untilReady();
  }
  assert.equal(standingOf(cluster.state, "n3"), "running");
});

test("a node that is cut off never acknowledges what the others decide", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, { args: ["--enable-faults"] });
  await assertNoTwoWinners(t, cluster, [2]);
});

test("two-machines-suffice: cut from each other, never two acknowledgements", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, args: ["--enable-faults"] });
  await assertNoTwoWinners(t, cluster, [1]);
});

test("two-machines-suffice: either node and the witness may die", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2 });
  const keys = Array.from({ length: 100 }, (_, index) => `key:${index}`);
  const clients = [await cluster.client(0), await cluster.client(1)] as const;
  await Promise.all(keys.map((key) => clients[0].set(key, "first")));

  const workers = new Workers(cluster, 10);
  await workers.start();
  const epochs = (await cluster.status(0)).status.counters.epochs;
  await killNode(cluster.state, "witness");
  await sleep(2_000);
  assert.deepEqual(workers.troubles, []);
  assert.equal(
    (await cluster.status(0)).status.counters.epochs,
    epochs,
    "the witness's death was noticed",
  );
  await startNode(cluster.state, "witness");
  await workers.stop();
  assert.deepEqual(workers.troubles, []);

  for (const victim of [1, 0]) {
    const survivor = 1 - victim;
    const { id } = nodeAt(cluster.state, victim);
    await killNode(cluster.state, id);
    const client = await cluster.client(survivor);
    const values = await Promise.all(keys.map((key) => client.get(key)));
    assert.ok(
      values.every((value) => value === (victim === 1 ? "first" : "second")),
      String(values),
    );
    await Promise.all(keys.map((key) => client.set(key, "second")));
    await startNode(cluster.state, id);
    await cluster.untilReady();
  }
});

/** Cuts the nodes `cutOff` from all others while clients on both sides race for locks; each has one holder at most. */
async function assertNoTwoWinners(
  t: { diagnostic: (text: string) => void },
  cluster: TestCluster,
  cutOff: readonly number[],
): Promise<void> {
  const indexes = [...cluster.state.nodes.keys()];
  const others = indexes
    .filter((index) => !cutOff.includes(index))
    .map((index) => nodeAt(cluster.state, index).id);
  const won = new Map<string, string[]>();
  const refusals = new Map<string, number>();
  let isOver = false;
  const racers = indexes.map(async (index) => {
    const { id } = nodeAt(cluster.state, index);
    const client = await cluster.client(index);
    for (let lock = 0; !isOver; lock += 1) {
      // All sides walk the same locks at about the same pace, in bunches that hit all shards.
      const bunch = Array.from(
        { length: 20 },
        (_, part) => `lock:${Math.floor(performance.now() / 200)}:${lock % 50}:${part}`,
      );
      await Promise.all(
        bunch.map(async (key) => {
          try {
            const reply = await client.set(key, id, { condition: "NX" });
            if (reply === "OK") won.set(key, [...(won.get(key) ?? []), id]);
          } catch (error) {
            const code = String(error).split(" ")[1] ?? String(error);
            refusals.set(`${id} ${code}`, (refusals.get(`${id} ${code}`) ?? 0) + 1);
          }
        }),
      );
      await sleep(5);
    }
  });
  await sleep(500);
  // The second cut outlasts the time in which an operation has to be decided.
  for (const cutMs of [1_000, 4_500]) {
    for (const index of cutOff) await cutLinks(cluster, index, others);
    await until("one side goes on without the other", async () => {
      const views = await Promise.all(indexes.map((index) => cluster.status(index)));
      return views.some(({ status }) =>
        status.shards.every((shard) => shard.inSync.length < indexes.length && shard.serves),
      );
    });
    await sleep(cutMs);
    for (const index of cutOff) await cutLinks(cluster, index, []);
    await cluster.untilReady();
    await sleep(300);
  }
  isOver = true;
  await Promise.all(racers);
  t.diagnostic(`${won.size} locks; refusals: ${JSON.stringify(Object.fromEntries(refusals))}`);
  assert.ok(won.size > 100, "hardly any lock was won, so this shows nothing");
  assert.deepEqual(
    [...won].filter(([, holders]) => holders.length > 1),
    [],
  );
  for (const index of indexes) {
    const winners = [...won].map(([key, [winner = ""]]) => [key, winner] as const);
    await assertHolds(cluster, index, new Map(winners));
  }
}

/** Number of whole replies, all of which are bulk strings, nulls or errors. */
function countReplies(text: string): number {
  return (
    text.match(/(?:^|\r\n)(?:-[^\r\n]*(?=\r\n)|\$-1(?=\r\n)|\$\d+\r\n[^\r\n]*(?=\r\n))/g) ?? []
  ).length;
}
