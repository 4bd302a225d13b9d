/** A cluster whose nodes each keep their copy in a Redis server: it goes on with it, and people can read it there. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { askStatus } from "../../src/cli/node-view.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { isRefusal } from "../support/register-load.ts";
import { RespClient } from "../support/resp-client.ts";
import { askAll } from "../support/values.ts";
import { freePortRanges, HOTHOT, lacks, run, runHothot, sleep, until } from "./harness.ts";

const NODES = [0, 1, 2];

/** A process that ends with the test. */
class Service {
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  output = "";

  constructor(t: TestContext, command: readonly string[]) {
    this.#command = command;
    t.after(() => this.stop("SIGKILL"));
  }

  start(): void {
    const [program = "", ...args] = this.#command;
    this.#child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
}

test("--store redis://…: what nodes hold is in their Redis servers, and comes back from there", {
  timeout: 120_000,
  skip: lacks("redis-server"),
}, async (t) => {
  const [resp = 0, http = 0, peers = 0, redis = 0, witness = 0] = await freePortRanges(5);
  const dir = dataDirectory();
  const url = `http://127.0.0.1:${witness}`;
  const hothot = (...args: string[]): Service =>
    new Service(t, [process.execPath, HOTHOT, ...args]);
  const register = hothot("witness", "--port", String(witness), "--file", join(dir, "register"));
  const redises = NODES.map((index) => {
    const home = join(dir, `redis${index}`);
    mkdirSync(home);
    const place = ["--port", String(redis + index), "--bind", "127.0.0.1", "--dir", home];
    return new Service(t, ["redis-server", ...place, "--appendonly", "yes"]);
  });
  const nodes = NODES.map((index) => {
    const store = `redis://127.0.0.1:${redis + index}/0`;
    return hothot("node", "--id", `n${index + 1}`, "--register", url, "--store", store);
  });
  const redisCli = async (index: number, ...command: string[]): Promise<string> => {
    const place = ["-h", "127.0.0.1", "-p", String(redis + index)];
    return (await run("redis-cli", [...place, ...command])).stdout.trim();
  };
  const untilInSync = (): Promise<void> =>
    until("every shard has three copies", async () => {
      for (const index of NODES) {
        const { status } = await askStatus("127.0.0.1", http + index);
        if (!status.isReady || status.shards.some(({ inSync }) => inSync.length < 3)) return false;
      }
      return true;
    });
  const assertHolds = async (expected: ReadonlyMap<string, string | null>): Promise<void> => {
    for (const index of NODES) {
      const keys = [...expected.keys()];
      const values = await askAll(
        resp + index,
        keys.map((key) => ["GET", key]),
      );
      assert.deepEqual(new Map(keys.map((key, at) => [key, values[at]])), expected);
    }
  };

  register.start();
  for (const each of redises) each.start();
  for (const index of NODES) {
    await until("its Redis answers", async () => (await redisCli(index, "PING")) === "PONG");
  }
  const places = NODES.map(
    (at) => `n${at + 1}=127.0.0.1:${resp + at}:${http + at}:${peers + at}`,
  ).join();
  await until("the cluster is formed", async () => {
    const made = ["--nodes", places, "--shards", "8", "--durability", "async"];
    return (await runHothot("init", "--register", url, ...made)).status === 0;
  });
  for (const node of nodes) node.start();
  await untilInSync();

  const expected = new Map<string, string | null>();
  for (let index = 0; index < 500; index += 1) {
    expected.set(`key:${index}`, index % 5 === 0 ? null : `value ${index}`);
  }
  const written = await askAll(resp, [
    ...[...expected.keys()].map((key) => ["SET", key, "first"]),
    ...[...expected].map(([key, value]) => (value === null ? ["DEL", key] : ["SET", key, value])),
  ]);
  assert.deepEqual(written.filter(isRefusal), []);
  for (const node of nodes) await node.stop("SIGTERM");
  for (const each of redises) await each.stop("SIGTERM");

  for (const each of redises) each.start();
  for (const index of NODES) {
    await until("its Redis answers", async () => (await redisCli(index, "PING")) === "PONG");
    // A stop writes the log; the plain keys are as of the last checkpoint, and complete after the next start.
  }
  for (const node of nodes) node.start();
  await untilInSync();
  await assertHolds(expected);
  for (const index of NODES) {
    await until(
      "people can read it",
      async () => (await redisCli(index, "GET", "key:1")) === "value 1",
    );
    await until("it is deleted", async () => (await redisCli(index, "EXISTS", "key:0")) === "0");
  }

  // A server that goes away is a disk that fails: its node leaves, and comes back with it.
  await redises[2]?.stop("SIGKILL");
  const client = await RespClient.connect(resp);
  await until("n3 has left", async () => {
    assert.ok(!isRefusal(await client.ask("SET", "key:1", "without n3")));
    const { status } = await askStatus("127.0.0.1", http);
    return status.shards.every(({ inSync }) => !inSync.includes("n3"));
  });
  assert.match(nodes[2]?.output ?? "", /the disk failed: /);
  await sleep(500);
  client.destroy();
  redises[2]?.start();
  await untilInSync();
  expected.set("key:1", "without n3");
  await assertHolds(expected);
});
