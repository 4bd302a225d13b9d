/** A node and a witness as processes: how they start, what they refuse, and how they end. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { DEFAULT_SETTINGS, initialConfiguration } from "../../src/register/placement.ts";
import { WitnessServer } from "../../src/register/witness.ts";
import { WitnessRegister } from "../../src/register/witness-client.ts";
import type { NodeRecord } from "../../src/replica/configuration.ts";
import { freePorts } from "../support/ports.ts";

const SCRIPT = fileURLToPath(new URL("../../src/main/hothot.js", import.meta.url));
const PATIENCE_MS = 40_000;

interface Process {
  readonly child: ChildProcess;
  /** Everything that it wrote. */
  output(): string;
  /** Its exit status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

function start(t: TestContext, args: readonly string[]): Process {
  const child = spawn(process.execPath, [SCRIPT, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = once(child, "close").then(
    ([code, signal]: (number | string)[]) => code ?? signal ?? "",
  );
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, output: () => output, ended };
}

interface Cluster {
  readonly url: string;
  readonly nodes: readonly Omit<NodeRecord, "incarnation">[];
}

/** A witness in this process that holds a cluster's first configuration; no node runs yet. */
async function createCluster(t: TestContext, count: number): Promise<Cluster> {
  const first = await freePorts(count * 3);
  const nodes = Array.from({ length: count }, (_, index) => ({
    id: `n${index + 1}`,
    host: "127.0.0.1",
    zone: "",
    peerPort: first + index * 3,
    respPort: first + index * 3 + 1,
    httpPort: first + index * 3 + 2,
  }));
  const witness = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${await witness.listen()}`;
  t.after(() => witness.close());
  const register = new WitnessRegister({ url, timeoutMs: PATIENCE_MS });
  const settings = { ...DEFAULT_SETTINGS, shardCount: 4, replicas: count };
  await register.swap(initialConfiguration({ clusterId: "test", nodes, settings }));
  await register.close();
  return { url, nodes };
}

function startNode(t: TestContext, cluster: Cluster, id: string, ...flags: string[]): Process {
  return start(t, ["node", "--id", id, "--register", cluster.url, ...flags]);
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(performance.now() < end, `waited in vain: ${what}`);
    await sleep(20);
  }
}

async function get(port: number, path: string): Promise<number> {
  return fetch(`http://127.0.0.1:${port}${path}`).then(
    (answer) => answer.status,
    () => 0,
  );
}

async function post(port: number, path: string, body: unknown): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  return answer.status;
}

/** One command on a connection of its own. */
async function command(port: number, line: string): Promise<string> {
  const socket = net.connect(port, "127.0.0.1");
  socket.setEncoding("utf8").write(`${line}\r\n`);
  const [answer] = (await once(socket, "data")) as [string];
  socket.destroy();
  return answer;
}

test("two nodes form a cluster, serve, take a cut and a transfer, and end cleanly", async (t) => {
  const cluster = await createCluster(t, 2);
  const [first, second] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined);
  const one = startNode(t, cluster, "n1", "--enable-faults");
  await until("n1 lives", async () => (await get(first.httpPort, "/healthz")) === 200);
  assert.equal(await get(first.httpPort, "/readyz"), 503, "alone it serves nothing");
  const two = startNode(t, cluster, "n2");
  for (const node of cluster.nodes) {
    await until(`${node.id} is ready`, async () => (await get(node.httpPort, "/readyz")) === 200);
  }
  assert.equal(await command(first.respPort, "SET key value"), "+OK\r\n");
  assert.equal(await command(second.respPort, "GET key"), "$5\r\nvalue\r\n");

  assert.equal(await post(first.httpPort, "/transfer", { shard: 99, successor: "n2" }), 409);
  assert.equal(await post(first.httpPort, "/transfer", { shard: "x" }), 400);
  assert.equal(await post(first.httpPort, "/transfer", { shard: 0, successor: "n2" }), 202);

  assert.equal(await post(second.httpPort, "/faults", { drop: [] }), 404, "not without the flag");
  assert.equal(await post(first.httpPort, "/faults", { drop: ["n7"] }), 404);
  assert.equal(await post(first.httpPort, "/faults", { drop: "n2" }), 400);
  assert.equal(await post(first.httpPort, "/faults", { drop: ["n2"], direction: "up" }), 400);
  assert.equal(await post(first.httpPort, "/faults", { drop: ["n2"], direction: "both" }), 200);
  await until("one of them has noticed", async () => {
    const states = await Promise.all(cluster.nodes.map((node) => get(node.httpPort, "/readyz")));
    return states.includes(503);
  });
  assert.equal(await post(first.httpPort, "/faults", { drop: [] }), 200);
  for (const node of cluster.nodes) {
    await until(`${node.id} is whole`, async () => (await get(node.httpPort, "/readyz")) === 200);
  }
  assert.equal(await command(second.respPort, "GET key"), "$5\r\nvalue\r\n");

  two.child.kill("SIGTERM");
  assert.equal(await two.ended, 0, two.output());
  assert.match(two.output(), /all shards are handed over/);
  await until("the other goes on alone", async () => {
    return (await command(first.respPort, "GET key")) === "$5\r\nvalue\r\n";
  });
  one.child.kill("SIGINT");
  assert.equal(await one.ended, 0, one.output());
});

test("all threads of a node wake in turn, those that it starts later as well", {
  skip: process.platform !== "linux" && "only Linux has such a policy",
}, async (t) => {
  const cluster = await createCluster(t, 1);
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  const { child } = startNode(t, cluster, "n1", "--threads", "3");
  await until("n1 is ready", async () => (await get(node.httpPort, "/readyz")) === 200);
  const SCHED_BATCH = "3";
  await until("all threads have the policy", async () => {
    const threads = readdirSync(`/proc/${child.pid}/task`);
    assert.ok(threads.length > 3);
    return threads.every((thread) => policyOf(`/proc/${child.pid}/task/${thread}`) === SCHED_BATCH);
  });
});

/** @param task a thread's folder in `/proc`. */
function policyOf(task: string): string | undefined {
  const stat = readFileSync(join(task, "stat"), "latin1");
  // Behind the name, which may hold anything, the third field comes first; the policy is the 41st.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[41 - 3];
}

test("a node that cannot start says why, and joins nothing", async (t) => {
  const cluster = await createCluster(t, 1);
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  const version = async (): Promise<unknown> =>
    ((await (await fetch(`${cluster.url}/configuration`)).json()) as { version: number }).version;
  for (const port of [node.respPort, node.httpPort, node.peerPort]) {
    const squatter = net.createServer().listen(port, "127.0.0.1");
    await once(squatter, "listening");
    const process = startNode(t, cluster, "n1");
    assert.equal(await process.ended, 1, process.output());
    assert.match(process.output(), new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port} .*in use`));
    squatter.close();
    await once(squatter, "close");
  }
  const stranger = startNode(t, cluster, "n9");
  assert.equal(await stranger.ended, 78);
  assert.match(stranger.output(), /has no node n9; it has n1/);
  const lost = startNode(t, cluster, "n1", "--cluster", "other");
  assert.equal(await lost.ended, 78);
  assert.match(lost.output(), /belongs to cluster test, not to other/);
  assert.equal(await version(), 1, "none of them has written to the register");
});

test("a node whose cluster was configured by a newer version says so, and does not wait", async (t) => {
  const document = JSON.stringify({ format: 99, clusterId: "test", version: 1 });
  const newer = http.createServer((_, response) => response.end(document));
  newer.listen(0, "127.0.0.1");
  await once(newer, "listening");
  t.after(() => newer.close());
  const { port } = newer.address() as net.AddressInfo;
  const node = start(t, ["node", "--id", "n1", "--register", `http://127.0.0.1:${port}`]);
  assert.equal(await node.ended, 78, node.output());
  assert.match(node.output(), /newer version of hothot .*format 99.*install/);
});

test("a witness whose file is another cluster's, or damaged, says so", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hothot-witness-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "register.json");
  const port = await freePorts(1);
  const nodes = [{ id: "n1", host: "127.0.0.1", zone: "", peerPort: 1, respPort: 2, httpPort: 3 }];
  const settings = { ...DEFAULT_SETTINGS, shardCount: 1, replicas: 1 };
  const theirs = JSON.stringify(initialConfiguration({ clusterId: "theirs", nodes, settings }));
  for (const [text, expected] of [
    [theirs, /belongs to cluster theirs, not to ours/],
    [theirs.slice(0, 100), /holds no valid configuration/],
  ] as const) {
    writeFileSync(file, text);
    const args = ["--port", String(port), "--file", file, "--cluster", "ours"];
    const witness = start(t, ["witness", ...args]);
    assert.equal(await witness.ended, 78, witness.output());
    assert.match(witness.output(), expected);
    assert.equal(readFileSync(file, "utf8"), text, "nothing is damaged");
  }
});

test("a node waits for its register, and ends when told to meanwhile", async (t) => {
  const port = await freePorts(1);
  const node = start(t, ["node", "--id", "n1", "--register", `http://127.0.0.1:${port}`]);
  await until("it waits", async () => node.output().includes("waiting for the configuration"));
  node.child.kill("SIGTERM");
  assert.equal(await node.ended, 0, node.output());
});

test("a witness says when its port is taken, and ends cleanly", async (t) => {
  const squatter = net.createServer().listen(0, "127.0.0.1");
  await once(squatter, "listening");
  const { port } = squatter.address() as net.AddressInfo;
  const refused = start(t, ["witness", "--port", String(port)]);
  assert.equal(await refused.ended, 1);
  assert.match(refused.output(), /in use/);
  squatter.close();
  await once(squatter, "close");
  const witness = start(t, ["witness", "--port", String(port)]);
  await until("it answers", async () => (await get(port, "/healthz")) === 200);
  witness.child.kill("SIGTERM");
  assert.equal(await witness.ended, 0, witness.output());
});
