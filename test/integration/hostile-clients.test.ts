/** Clients that are broken, greedy or asleep harm nobody but themselves. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { standingOf } from "../../src/cli/cluster-state.ts";
import {
  lacks,
  metricOrZero,
  nodeAt,
  run,
  sleep,
  startTestCluster,
  type TestCluster,
  until,
} from "./harness.ts";

/** Asks every node for a write and a read by a client that behaves. */
async function assertServesOthers(cluster: TestCluster): Promise<void> {
  for (const index of cluster.state.nodes.keys()) {
    const client = await cluster.client(index);
    assert.equal(await client.set(`serves-${index}`, "yes"), "OK");
    assert.equal(await client.get(`serves-${index}`), "yes");
    client.destroy();
  }
  for (const node of cluster.state.nodes)
    assert.equal(standingOf(cluster.state, node.id), "running");
}

function gather(socket: Socket): { text: string; closed: boolean } {
  const gathered = { text: "", closed: false };
  socket.on("data", (chunk: Buffer) => {
    gathered.text += chunk.toString("latin1");
  });
  socket.on("close", () => {
    gathered.closed = true;
  });
  return gathered;
}

test("malformed RESP is answered with a protocol error and the connection is closed", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  const malformed = [
    "*1\r\n:5\r\n",
    "PING\r\n*1\r\n$x\r\n",
    "*99999999999\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n$4\r\nPINGxx",
    `*${"9".repeat(70_000)}`,
    `${"a".repeat(70_000)}`,
    'SET a "unbalanced\r\n',
  ];
  for (const bytes of malformed) {
    const socket = await cluster.socket(0);
    const gathered = gather(socket);
    socket.write(bytes, "latin1");
    await until(`the connection is closed after ${bytes.slice(0, 20)}`, () => gathered.closed);
    assert.match(gathered.text, /^(?:\+PONG\r\n)?-ERR Protocol error/, bytes.slice(0, 20));
  }
  await assertServesOthers(cluster);
});

test("a bulk header of 600 MB is refused before its bytes come", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  const socket = await cluster.socket(1);
  const gathered = gather(socket);
  socket.write("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$629145600\r\nabc");
  await until("the connection is closed", () => gathered.closed);
  assert.match(gathered.text, /^-ERR Protocol error: invalid bulk length\r\n/);
  await assertServesOthers(cluster);
});

test("5,000 idle connections leave a node serving", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  const limits = await run("sh", ["-c", "ulimit -n"]);
  const openFilesMax = limits.stdout.trim() === "unlimited" ? 100_000 : Number(limits.stdout);
  const count = Math.min(5_000, openFilesMax - 500);
  if (count < 5_000) t.diagnostic(`only ${count} connections: ulimit -n is ${openFilesMax}`);
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Math.min(250, count - sockets.length);
    sockets.push(...(await Promise.all(Array.from({ length: batch }, () => cluster.socket(0)))));
  }
  await assertServesOthers(cluster);
  const last = sockets.at(-1);
  assert.ok(last !== undefined);
  const gathered = gather(last);
  last.write("PING\r\n");
  await until("the last of them is served too", () => gathered.text === "+PONG\r\n");
  assert.ok(
    sockets.every((socket) => !socket.destroyed),
    "an idle connection was closed",
  );
});

test("a client that never reads its replies is bounded and disturbs nobody", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  const client = await cluster.client(0);
  await client.set("big", "x".repeat(1_000_000));
  const greedy = await cluster.socket(0);
  greedy.pause();
  let closed = false;
  greedy.on("close", () => {
    closed = true;
  });
  // 2 GB of replies that nobody takes.
  greedy.write("*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(2_000));
  for (let i = 0; i < 20; i += 1) {
    await assertServesOthers(cluster);
    await sleep(50);
  }
  const bytes = await metricOrZero(cluster, 0, "process_resident_memory_bytes");
  t.diagnostic(
    `resident memory ${Math.round(bytes / 2 ** 20)} MiB, the greedy client was ${closed ? "" : "not "}closed`,
  );
  assert.ok(bytes < 1_000_000_000, `the node holds ${bytes} bytes`);
});

test("redis-benchmark -t set,get -P 16 runs clean", {
  skip: lacks("redis-benchmark"),
}, async (t) => {
  const cluster = await startTestCluster(t);
  const port = String(nodeAt(cluster.state, 1).respPort);
  const args = [
    "-p",
    port,
    "-t",
    "set,get",
    "-P",
    "16",
    "-n",
    "100000",
    "-r",
    "10000",
    "-c",
    "50",
    "--csv",
  ];
  const finished = await run("redis-benchmark", args, 60_000);
  assert.equal(finished.status, 0, finished.stderr);
  assert.doesNotMatch(finished.stdout + finished.stderr, /error/i);
  assert.match(finished.stdout, /"SET"/);
  assert.match(finished.stdout, /"GET"/);
  t.diagnostic(finished.stdout.replaceAll("\n", " "));
  for (const node of cluster.state.nodes)
    assert.equal(standingOf(cluster.state, node.id), "running");
});
