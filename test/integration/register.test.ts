/** Registers as programs: a witness that is killed, events that get lost, and how a cluster is entered into one. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { askStatus } from "../../src/cli/node-view.ts";
import { openRegister } from "../../src/register/open-register.ts";
import type { Register } from "../../src/register/register.ts";
import { WitnessServer } from "../../src/register/witness.ts";
import { documentOf } from "../contracts/register.ts";
import { EtcdCluster, lacksEtcd } from "../support/etcd.ts";
import { type Finished, freePortRanges, HOTHOT, run, runHothot, sleep, until } from "./harness.ts";

const PATIENCE_MS = 20_000;

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "hothot-register-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function open(t: TestContext, url: string, timeoutMs = PATIENCE_MS): Register {
  const register = openRegister(url, { timeoutMs, environment: {} });
  t.after(() => register.close());
  return register;
}

/** A program that ends with the test at the latest. */
function start(t: TestContext, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [HOTHOT, ...args], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

async function startWitness(t: TestContext): Promise<string> {
  const witness = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const port = await witness.listen();
  t.after(() => witness.close());
  return `http://127.0.0.1:${port}`;
}

/** Runs a node that is expected to end by itself. */
function runNode(url: string, ...args: string[]): Promise<Finished> {
  return run(process.execPath, [HOTHOT, "node", "--id", "n1", "--register", url, ...args]);
}

test("a witness forgets nothing that it has promised, killed at any moment", {
  timeout: 120_000,
}, async (t) => {
  const dir = folder(t);
  const file = join(dir, "configuration.json");
  const [port] = await freePortRanges(1);
  const register = open(t, `http://127.0.0.1:${port}`, 2_000);
  let promised = 0;
  let asked = 0;
  for (let round = 1; round <= 6; round += 1) {
    const child = start(t, ["witness", "--port", String(port), "--file", file]);
    const ended = once(child, "exit");
    let found = 0;
    await until("the witness answers", async () => {
      found = (await register.read())?.version ?? 0;
      return true;
    });
    assert.ok(found >= promised && found <= asked, `${promised} <= ${found} <= ${asked}`);
    if (found > 0) assert.deepEqual(await register.read(), documentOf(found));
    assert.deepEqual(
      readdirSync(dir).filter((name) => name !== "configuration.json"),
      [],
      "nothing half-written is left",
    );
    promised = found;
    let isKilled = false;
    const swaps = (async () => {
      while (!isKilled) {
        asked = promised + 1;
        const { outcome } = await register.swap(documentOf(asked));
        if (outcome !== "done") return;
        promised = asked;
      }
    })();
    const goal = promised + 3;
    await until("some swaps are done", () => promised >= goal);
    await sleep(Math.random() * 20);
    child.kill("SIGKILL");
    isKilled = true;
    await Promise.all([swaps, ended]);
  }
  assert.ok(promised >= 18);
});

test("a missed event heals: a node whose watch is deaf reads the register at intervals", {
  timeout: 90_000,
}, async (t) => {
  const witness = await startWitness(t);
  // Between the node and the witness: waiting requests are never answered.
  const relay = http.createServer((request, response) => {
    if (request.url?.includes("after=") === true) return;
    const { method, url, headers } = request;
    const onward = http.request(new URL(url ?? "/", witness), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    relay.close();
    relay.closeAllConnections();
  });
  const [port = 0] = await freePortRanges(1);
  const nodes = `n1=127.0.0.1:${port}:${port + 1}:${port + 2}`;
  const init = await runHothot("init", "--register", witness, "--nodes", nodes, "--shards", "2");
  assert.equal(init.status, 0, init.stderr);
  const relayPort = (relay.address() as AddressInfo).port;
  start(t, ["node", "--id", "n1", "--register", `http://127.0.0.1:${relayPort}`]);
  await until("the node is ready", async () => {
    return (await askStatus("127.0.0.1", port + 1)).status.isReady;
  });
  const register = open(t, witness);
  const current = await register.read();
  assert.ok(current !== undefined);
  const next = { ...current, version: current.version + 1 };
  assert.equal((await register.swap(next)).outcome, "done");
  await until("the node has it", async () => {
    const { configuration } = await askStatus("127.0.0.1", port + 1);
    return (configuration?.version ?? 0) >= next.version;
  });
});

test("init enters a cluster once, and says what is wrong", { timeout: 120_000 }, async (t) => {
  const dir = folder(t);
  const url = await startWitness(t);
  const register = open(t, url);
  const file = join(dir, "nodes.json");
  const place = { id: "a", host: "10.0.0.1", respPort: 1, httpPort: 2, peerPort: 3 };
  const init = (...args: string[]): Promise<Finished> =>
    runHothot("init", "--register", url, ...args);
  writeFileSync(file, JSON.stringify([{ ...place, respPort: 0 }]));
  const wrong: readonly [args: readonly string[], why: RegExp][] = [
    [[], /--nodes or --nodes-file/],
    [["--nodes", "n1=a:1:2:3", "--nodes-file", file], /--nodes or --nodes-file/],
    [["--nodes", "n1=a:1:2"], /NAME=HOST:RESP:HTTP:PEERS/],
    [["--nodes", "n1=a:1:2:70000"], /from 1 to 65535/],
    [["--nodes", "n1=a:1:2:3,n1=a:4:5:6"], /one id twice/],
    [["--nodes", "n1=a:1:2:2"], /n1 has a:2 twice/],
    [["--nodes", "n1=a:1:2:3,n2=a:3:4:5"], /n1 and n2 both have a:3/],
    [["--nodes", "n1=a:1:2:3", "--replicas", "2"], /needs as many nodes/],
    [["--nodes", "n1=a:1:2:3", "--cluster", "a b"], /clusterId/],
    [["--nodes-file", join(dir, "missing.json")], /Cannot read the nodes/],
    [["--nodes-file", file], /ports of a/],
  ];
  await Promise.all(
    wrong.map(async ([args, why]) => {
      const { status, stderr } = await init(...args);
      assert.notEqual(status, 0, args.join(" "));
      assert.match(stderr, why);
      assert.doesNotMatch(stderr, /this is a bug/);
    }),
  );
  assert.equal(await register.read(), undefined, "nothing was written");

  writeFileSync(file, JSON.stringify([place, { ...place, id: "b", host: "10.0.0.2", zone: "z" }]));
  const done = await init("--nodes-file", file, "--cluster", "c1", "--min-in-sync", "2");
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /hothot node --id a --cluster c1 --register http/);
  const document = await register.read();
  assert.equal(document?.clusterId, "c1");
  assert.equal(document?.settings.minInSync, 2);
  assert.deepEqual(
    document?.nodes.map((node) => [node.id, node.host, node.zone]),
    [
      ["a", "10.0.0.1", ""],
      ["b", "10.0.0.2", "z"],
    ],
  );
  const again = await init("--nodes-file", file, "--cluster", "c1");
  assert.equal(again.status, 1);
  assert.match(
    again.stderr,
    /already holds the configuration of cluster c1 \(version 1, nodes a, b\)/,
  );
  assert.deepEqual(await register.read(), document);
});

test("an etcd that is another cluster's, or a newer program's, is refused and left alone", {
  skip: lacksEtcd(),
  timeout: 120_000,
}, async (t) => {
  const etcd = await EtcdCluster.start({ members: 1 });
  t.after(() => etcd.close());
  const url = `etcd://${etcd.hosts}`;
  const key = Buffer.from("/hothot/configuration").toString("base64");
  const stored = async (): Promise<unknown> =>
    ((await etcd.post(0, "/v3/kv/range", { key }))["kvs"] as { value: string }[])[0]?.value;
  const nodes = ["--nodes", "n1=127.0.0.1:1:2:3"];
  const init = await runHothot("init", "--register", url, ...nodes, "--cluster", "mine");
  assert.equal(init.status, 0, init.stderr);
  const mine = await stored();
  const again = await runHothot("init", "--register", url, ...nodes, "--cluster", "yours");
  assert.match(again.stderr, /already holds the configuration of cluster mine/);
  const stranger = await runNode(url, "--cluster", "yours");
  assert.notEqual(stranger.status, 0);
  assert.match(stranger.stdout + stranger.stderr, /belongs to cluster mine, not to yours/);
  assert.equal(await stored(), mine);

  const newer = Buffer.from(JSON.stringify({ format: 2 })).toString("base64");
  await etcd.post(0, "/v3/kv/put", { key, value: newer });
  for (const finished of [
    await runHothot("init", "--register", url, ...nodes),
    await runNode(url, "--cluster", "mine"),
  ]) {
    assert.notEqual(finished.status, 0);
    assert.match(finished.stdout + finished.stderr, /newer/);
  }
  assert.equal(await stored(), newer);

  const misnamed = await runNode("etcd://user:secret@127.0.0.1");
  assert.notEqual(misnamed.status, 0);
  assert.match(misnamed.stdout + misnamed.stderr, /HOTHOT_ETCD_USER/);
});
