/** Nodes whose clients' connections are in several threads: nobody can tell, except by the processors that they use. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { Bytes } from "../../src/data/bytes.ts";
import { NULL_ARRAY, OK, Refusal, type Reply, Status } from "../../src/data/reply.ts";
import { RespClient } from "../support/resp-client.ts";
import { metric, nodeAt, sleep, startTestCluster, type TestCluster, until } from "./harness.ts";

/** One with the core, and two for clients. */
const THREADS = ["--threads", "3"];
/** More than it ever takes until both threads have a connection. */
const CONNECTIONS_MAX = 1_000;

async function connect(t: TestContext, cluster: TestCluster): Promise<RespClient> {
  const client = await RespClient.connect(nodeAt(cluster.state, 0).respPort);
  t.after(() => client.destroy());
  return client;
}

function textOf(reply: Reply): string {
  if (reply instanceof Bytes) return reply.toString();
  if (reply instanceof Refusal) return `${reply.code} ${reply.message}`;
  assert.ok(typeof reply === "string", JSON.stringify(reply));
  return reply;
}

/** Fields of a line of CLIENT LIST, or of INFO's lines. */
function fieldsOf(text: string, separator: string, sign: string): Map<string, string> {
  return new Map(
    text.split(separator).map((field) => {
      const [name = "", ...value] = field.trim().split(sign);
      return [name, value.join(sign)];
    }),
  );
}

async function threadOf(client: RespClient): Promise<string> {
  return fieldsOf(textOf(await client.ask("CLIENT", "INFO")), " ", "=").get("io-thread") ?? "";
}

async function info(client: RespClient): Promise<Map<string, string>> {
  return fieldsOf(textOf(await client.ask("INFO")), "\r\n", ":");
}

/** One connection in each of the two threads, and the others that it took to get them. */
async function connectToBoth(
  t: TestContext,
  cluster: TestCluster,
): Promise<readonly [RespClient, RespClient, readonly RespClient[]]> {
  const one = await connect(t, cluster);
  const thread = await threadOf(one);
  const others: RespClient[] = [];
  for (;;) {
    const other = await connect(t, cluster);
    if ((await threadOf(other)) !== thread) return [one, other, others];
    others.push(other);
    assert.ok(others.length < CONNECTIONS_MAX, "connections come to both threads");
  }
}

test("what clients ask about a node concerns all of its threads", async (t) => {
  const cluster = await startTestCluster(t, {
    nodes: 1,
    args: [...THREADS, "--enable-debug"],
  });
  const [one, other, others] = await connectToBoth(t, cluster);
  const count = 2 + others.length;

  await t.test("CLIENT ID, LIST and INFO", async () => {
    const ids = [await one.ask("CLIENT", "ID"), await other.ask("CLIENT", "ID")];
    assert.ok(Number(ids[0]) > 0 && ids[0] !== ids[1]);
    assert.deepEqual(await other.ask("CLIENT", "SETNAME", "somebody"), OK);
    for (const client of [one, other]) {
      const lines = textOf(await client.ask("CLIENT", "LIST"))
        .trim()
        .split("\n");
      assert.equal(lines.length, count);
      const listed = lines.map((line) => Number(fieldsOf(line, " ", "=").get("id")));
      assert.equal(new Set(listed).size, count);
      assert.deepEqual(
        listed,
        [...listed].sort((a, b) => a - b),
      );
      const named = textOf(await client.ask("CLIENT", "LIST", "ID", String(ids[1])));
      assert.equal(fieldsOf(named, " ", "=").get("name"), "somebody");
    }
  });

  await t.test("INFO, CONFIG RESETSTAT and metrics", async () => {
    assert.deepEqual(await one.ask("CONFIG", "RESETSTAT"), OK);
    const before = await metric(cluster, 0, "hothot_commands_total");
    for (const client of [one, other]) {
      for (let n = 0; n < 100; n += 1) assert.deepEqual(await client.ask("SET", `k${n}`, "v"), OK);
    }
    for (const client of [one, other]) {
      const found = await info(client);
      assert.equal(found.get("threads"), "3");
      assert.equal(found.get("connected_clients"), String(count));
      assert.equal(found.get("ready"), "1");
      assert.equal(found.get("db0"), "keys=100");
      const commands = Number(found.get("total_commands_processed"));
      assert.ok(commands >= 200 && commands <= 204, `${commands} commands`);
    }
    assert.equal((await metric(cluster, 0, "hothot_commands_total")) - before, 202);
    assert.equal(await metric(cluster, 0, "hothot_clients"), count);
    assert.deepEqual(await other.ask("CONFIG", "RESETSTAT"), OK);
    const commands = Number((await info(one)).get("total_commands_processed"));
    assert.ok(commands <= 2, `${commands} commands`);
  });

  await t.test("CONFIG SET, in the order of a connection's commands", async () => {
    one.send(["CONFIG", "SET", "timeout", "77"], ["CONFIG", "GET", "timeout"]);
    assert.deepEqual((await one.take(2)).map(shown), ["OK", "timeout,77"]);
    assert.equal(shown(await other.ask("CONFIG", "GET", "timeout")), "timeout,77");
    assert.equal(shown(await other.ask("CONFIG", "GET", "io-threads")), "io-threads,3");
    const refused = await other.ask("CONFIG", "SET", "timeout", "78", "maxclients", "none");
    assert.ok(refused instanceof Refusal);
    assert.equal(shown(await one.ask("CONFIG", "GET", "timeout")), "timeout,77");
    assert.deepEqual(await one.ask("CONFIG", "SET", "timeout", "0"), OK);
  });

  await t.test("maxclients is of all threads together", async () => {
    assert.deepEqual(await one.ask("CONFIG", "SET", "maxclients", String(count)), OK);
    const refused = await (await connect(t, cluster)).next();
    assert.match(textOf(refused), /^ERR max number of clients reached/);
    assert.deepEqual(await other.ask("CONFIG", "SET", "maxclients", "10000"), OK);
    const late = await connect(t, cluster);
    assert.deepEqual(await late.ask("PING"), new Status("PONG"));
    late.destroy();
    await until("it is gone", async () => {
      return (await info(one)).get("connected_clients") === String(count);
    });
  });

  await t.test("requirepass holds for new connections of every thread", async () => {
    assert.deepEqual(await one.ask("CONFIG", "SET", "requirepass", "secret"), OK);
    const threads = new Set<string>();
    for (let n = 0; threads.size < 2; n += 1) {
      assert.ok(n < CONNECTIONS_MAX, "connections come to both threads");
      const client = await connect(t, cluster);
      assert.match(textOf(await client.ask("GET", "k1")), /^NOAUTH/);
      assert.deepEqual(await client.ask("AUTH", "secret"), OK);
      assert.equal(textOf(await client.ask("GET", "k1")), "v");
      threads.add(await threadOf(client));
      client.destroy();
    }
    assert.deepEqual(await other.ask("CONFIG", "SET", "requirepass", ""), OK);
  });

  await t.test("a transaction sees what another thread's client has written", async () => {
    for (const isTouched of [true, false]) {
      assert.deepEqual(await one.ask("WATCH", "w"), OK);
      if (isTouched) assert.deepEqual(await other.ask("SET", "w", "other"), OK);
      one.send(["MULTI"], ["SET", "w", "one"], ["GET", "w"], ["EXEC"]);
      const [, , , result] = await one.take(4);
      if (isTouched) assert.deepEqual(result, NULL_ARRAY);
      else assert.equal(shown(result ?? null), "OK,one");
      assert.equal(textOf(await other.ask("GET", "w")), isTouched ? "other" : "one");
    }
  });

  await t.test("CLIENT REPLY", async () => {
    other.send(["CLIENT", "REPLY", "SKIP"], ["SET", "silent", "1"], ["GET", "silent"]);
    assert.equal(textOf(await other.next()), "1");
    other.send(["CLIENT", "REPLY", "OFF"], ["INCR", "silent"], ["INFO"]);
    other.send(["CLIENT", "REPLY", "ON"], ["GET", "silent"]);
    assert.deepEqual((await other.take(2)).map(shown), ["OK", "2"]);
  });

  await t.test("values of any size, in order", async () => {
    const sizes = [1, 100_000, 10, 5_000_000, 300_000, 2_000_000, 20];
    const values = sizes.map((size, n) => String.fromCharCode(97 + n).repeat(size));
    one.send(...values.map((value, n) => ["SET", `large${n}`, value]));
    for (const reply of await one.take(values.length)) assert.deepEqual(reply, OK);
    other.send(...values.map((_value, n) => ["GET", `large${n}`]));
    const replies = await other.take(values.length);
    for (const [n, reply] of replies.entries()) assert.ok(textOf(reply) === values[n], `large${n}`);
    const all = await one.ask("MGET", ...values.map((_value, n) => `large${n}`));
    assert.ok(Array.isArray(all) && all.every((reply, n) => textOf(reply) === values[n]));
  });

  await t.test("DEBUG SLEEP stalls the core", async () => {
    let isOver = false;
    const sleeping = one.ask("DEBUG", "SLEEP", "1").then((reply) => {
      isOver = true;
      return reply;
    });
    let longestMs = 0;
    while (!isOver) {
      const begunMs = performance.now();
      await other.ask("GET", "k1");
      longestMs = Math.max(longestMs, performance.now() - begunMs);
    }
    assert.deepEqual(await sleeping, OK);
    assert.ok(longestMs > 500, `a GET took ${longestMs} ms`);
  });

  await t.test("idle connections of every thread are closed", async () => {
    const { respPort } = nodeAt(cluster.state, 0);
    const idle = [one, other, ...others];
    assert.deepEqual(await one.ask("CONFIG", "SET", "timeout", "1"), OK);
    await until("all are closed", () => idle.every(({ isClosed }) => isClosed));
    const late = await RespClient.connect(respPort);
    assert.equal((await info(late)).get("connected_clients"), "1");
    late.destroy();
  });
});

test("a node with several threads ends cleanly, and gives answers before", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 1, args: THREADS });
  const [one, other] = await connectToBoth(t, cluster);
  const clients = [one, other];
  for (const client of clients) {
    client.send(...Array.from({ length: 2_000 }, (_none, n) => ["SET", `k${n}`, "v"]));
  }
  await Promise.all(clients.map((client) => client.next()));
  cluster.supervisor.kill("SIGTERM");
  for (const client of clients) {
    await client.closed();
    for (let left = true; left; ) {
      const reply = await client.next().catch(() => undefined);
      left = reply !== undefined;
      if (left) assert.deepEqual(reply, OK);
    }
  }
  const [status] = (await once(cluster.supervisor, "exit")) as [number | null];
  assert.equal(status, 0, cluster.output());
  await assert.rejects(RespClient.connect(nodeAt(cluster.state, 0).respPort));
  assert.ok(!cluster.output().includes("killed"), cluster.output());
});

test("a cluster of such nodes is killed and divided, and no answer is wrong", async (t) => {
  const cluster = await startTestCluster(t, { shards: 4, args: THREADS });
  const running = cluster.hothot(
    "check",
    ...["--duration", "8", "--clients", "12", "--nemesis", "kill,transfer", "--max-gap-ms", "0"],
    ...["--seed", "1", "--json"],
  );
  await sleep(1_000);
  const split = await cluster.hothot("split", "--shards", "8");
  const run = await running;
  assert.equal(run.status, 0, run.stdout + run.stderr);
  const report = JSON.parse(run.stdout);
  assert.equal(report.verdict, "ok");
  assert.equal(report.acknowledgedWritesMissing, 0);
  assert.ok(report.faults.some(({ kind }: { readonly kind: string }) => kind === "kill"));
  assert.equal(split.status, 0, split.stdout + split.stderr);
});

test("what goes wrong in a thread ends its node as a bug", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 1, args: THREADS });
  const killed = await cluster.hothot("kill", "n1");
  assert.equal(killed.status, 0, killed.stderr);
  // Whatever a thread loads fails in it, a moment after its start.
  const failing = `
    import { isMainThread } from "node:worker_threads";
    if (!isMainThread) setTimeout(() => { throw new Error("broken by a test"); }, 500);
  `;
  const node = spawn(
    process.execPath,
    [
      `--import=data:text/javascript,${encodeURIComponent(failing)}`,
      ...nodeAt(cluster.state, 0).args,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.after(() => node.kill("SIGKILL"));
  let output = "";
  node.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [status] = (await once(node, "close")) as [number | null];
  assert.equal(status, 70, output);
  assert.match(output, /broken by a test/);
});

/** A reply as text, an array's items with commas. */
function shown(reply: Reply): string {
  if (Array.isArray(reply)) return reply.map(shown).join(",");
  return reply instanceof Status ? reply.text : textOf(reply);
}
