/** A cluster's life on one machine, as its user sees it: up, status, clients, death and return of a node, down. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  clusterExists,
  killNode,
  liveProcesses,
  processOf,
  readClusterState,
  standingOf,
  supervisorOf,
} from "../../src/cli/cluster-state.ts";
import { callHttp } from "../../src/cli/http-client.ts";
import { processStanding, signalProcess } from "../../src/cli/processes.ts";
import {
  freePortRanges,
  lacks,
  nodeAt,
  portArguments,
  run,
  runHothot,
  startTestCluster,
  until,
} from "./harness.ts";

test("the lines of the README: set on one node, get on another, over RESP and HTTP", async (t) => {
  const cluster = await startTestCluster(t);
  const first = nodeAt(cluster.state, 0);
  const third = nodeAt(cluster.state, 2);
  assert.match(cluster.output(), new RegExp(`n3 +127\\.0\\.0\\.1:${third.respPort} `));
  assert.match(cluster.output(), /Try: redis-cli -p/);

  const writer = await cluster.client(0);
  const reader = await cluster.client(2);
  assert.equal(await writer.set("a", "1"), "OK");
  assert.equal(await reader.get("a"), "1");

  const form = await fetch(`http://127.0.0.1:${first.httpPort}/set`, {
    method: "POST",
    body: new URLSearchParams({ key: "b", value: "two words" }),
  });
  assert.deepEqual(await form.json(), { status: "success" });
  const found = await fetch(`http://127.0.0.1:${third.httpPort}/get?key=b`);
  assert.deepEqual(await found.json(), { status: "success", value: "two words" });
  const missing = await fetch(`http://127.0.0.1:${third.httpPort}/get?key=nothing`);
  assert.equal(missing.status, 404);
  const answer: unknown = await missing.json();
  assert.equal((answer as { status?: string }).status, "not_found");
});

test("redis-cli on any node", { skip: lacks("redis-cli") }, async (t) => {
  const cluster = await startTestCluster(t);
  const cli = (node: number, ...args: string[]) =>
    run("redis-cli", ["-p", String(nodeAt(cluster.state, node).respPort), ...args]);
  assert.equal((await cli(0, "set", "a", "1")).stdout, "OK\n");
  assert.equal((await cli(2, "get", "a")).stdout, "1\n");
  assert.equal((await cli(1, "-3", "incrby", "a", "41")).stdout, "42\n");
  assert.match((await cli(1, "nonsense")).stdout, /ERR unknown command/);
});

test("status shows nodes, shards and a dead node, and start brings it back", async (t) => {
  const cluster = await startTestCluster(t, { shards: 4 });
  const whole = await cluster.hothot("status");
  assert.equal(whole.status, 0, whole.stderr);
  assert.match(whole.stdout, /^n1 +ready /m);
  assert.equal(whole.stdout.match(/^\d+ +\d+-\d+ /gm)?.length, 4);

  const killed = await cluster.hothot("kill", "n2");
  assert.equal(killed.status, 0, killed.stderr);
  await until("the supervisor tells of it", () => cluster.output().includes("hothot start n2"));
  await cluster.untilRemoved("n2", 0);
  const broken = await cluster.hothot("status");
  assert.equal(broken.status, 2);
  assert.match(broken.stdout, /^n2 +not running /m);
  assert.match(broken.stdout, /Last failovers[\s\S]* n2 /);

  const json = await cluster.hothot("status", "--json");
  const view: { nodes: { id: string; standing: string }[] } = JSON.parse(json.stdout);
  assert.deepEqual(
    view.nodes.map((node) => [node.id, node.standing]),
    [
      ["n1", "running"],
      ["n2", "gone"],
      ["n3", "running"],
    ],
  );
  const remote = await runHothot(
    "status",
    "--node",
    `127.0.0.1:${nodeAt(cluster.state, 2).httpPort}`,
  );
  assert.match(remote.stdout, /^n1 +ready /m);

  assert.equal((await cluster.hothot("start", "n2")).status, 0);
  await cluster.untilReady();
  const client = await cluster.client(1);
  assert.equal(await client.set("back", "1"), "OK");
});

test("transfer hands a shard over", async (t) => {
  const cluster = await startTestCluster(t, { shards: 3, args: ["--lease-ms", "1000"] });
  const { shards } = (await cluster.status(0)).status;
  const shard = shards[0];
  assert.ok(shard !== undefined);
  const successor = shard.inSync.find((node) => node !== shard.primary);
  assert.ok(successor !== undefined);
  const transferred = await cluster.hothot("transfer", String(shard.shard), successor);
  assert.equal(transferred.status, 0, transferred.stderr);
  const seen = async (): Promise<boolean> => {
    for (const index of [0, 1, 2]) {
      const view = (await cluster.status(index)).status.shards.find(
        (each) => each.shard === shard.shard,
      );
      if (view?.primary !== successor) return false;
    }
    return true;
  };
  await until("all nodes see the successor", seen);
  // A shard goes home when its preferred primary has been in sync for three leases; this one is at home now.
  const leaseMs = (await cluster.status(0)).configuration?.settings.leaseMs ?? 0;
  await sleep(5 * leaseMs);
  assert.ok(await seen(), "the shard stays where it was put");
  const stranger = await cluster.hothot("transfer", String(shard.shard), "n9");
  assert.equal(stranger.status, 1);
  assert.match(stranger.stderr, /no node n9/);
});

test("Ctrl-C stops everything and leaves nothing", async (t) => {
  const cluster = await startTestCluster(t);
  const identities = [...cluster.state.nodes.map((node) => node.id), "witness"].map((id) =>
    processOf(cluster.state, id),
  );
  cluster.supervisor.kill("SIGINT");
  await until("the supervisor ends", () => cluster.supervisor.exitCode !== null);
  assert.equal(cluster.supervisor.exitCode, 0, cluster.output());
  for (const identity of identities) {
    assert.ok(identity !== undefined);
    assert.equal(processStanding(identity), "gone");
  }
  assert.ok(!cluster.output().includes("was killed"), cluster.output());
  assert.equal(clusterExists(cluster.dir), false);
});

test("detached: up returns when it serves, a second one is refused, down stops it all", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hothot-detached-"));
  t.after(async () => {
    if (clusterExists(dir)) await runHothot("down", "--dir", dir);
    rmSync(dir, { recursive: true, force: true });
  });
  const up = await runHothot(
    "up",
    "--detach",
    "--dir",
    dir,
    "--nodes",
    "2",
    ...(await portArguments()),
  );
  assert.equal(up.status, 0, up.stderr);
  assert.match(up.stdout, /hothot down/);
  assert.equal((await runHothot("status", "--dir", dir)).status, 0);

  const second = await runHothot("up", "--dir", dir, ...(await portArguments()));
  assert.equal(second.status, 1);
  assert.match(second.stderr, /A cluster runs in .*hothot down/);

  const state = readClusterState(dir);
  const down = await runHothot("down", "--dir", dir);
  assert.equal(down.status, 0, down.stderr);
  assert.deepEqual(liveProcesses(state), []);
  const again = await runHothot("down", "--dir", dir);
  assert.equal(again.status, 1);
  assert.match(again.stderr, /There is no cluster in .*hothot up/);
});

test("a killed supervisor leaves a cluster that down can stop and a new up recognises", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  const supervisor = supervisorOf(cluster.state);
  assert.ok(supervisor !== undefined);
  signalProcess(supervisor, "SIGKILL");
  await until("the supervisor is gone", () => processStanding(supervisor) === "gone");
  assert.equal(standingOf(cluster.state, "n1"), "running");
  const refused = await cluster.hothot("up");
  assert.match(refused.stderr, /A cluster runs in/);
  assert.equal((await cluster.hothot("down")).status, 0);
  assert.deepEqual(liveProcesses(cluster.state), []);
});

test("a busy port is named and nothing is left running", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hothot-busy-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [resp = 0, http = 0, peers = 0] = await freePortRanges(3);
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(http + 1, "127.0.0.1", resolve));
  t.after(() => blocker.close());
  const up = await runHothot(
    ...["up", "--dir", dir, "--port", String(resp), "--http-port", String(http)],
    ...["--peer-port", String(peers + 1), "--witness-port", String(peers)],
  );
  assert.equal(up.status, 1);
  assert.match(up.stderr, new RegExp(`127\\.0\\.0\\.1:${http + 1} \\(HTTP of n2\\) is in use`));
  assert.match(up.stderr, /--http-port/);
  assert.equal(clusterExists(dir), false);
});

test("a child that dies while the cluster starts ends it all with a clear error", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hothot-dying-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const starting = runHothot("up", "--dir", dir, ...(await portArguments()));
  // As early as its pid is known; a node needs longer than that to become ready.
  await until(
    "n2 is started",
    () => clusterExists(dir) && processOf(readClusterState(dir), "n2") !== undefined,
  );
  const state = readClusterState(dir);
  await killNode(state, "n2");
  const up = await starting;
  assert.equal(up.status, 1, up.stdout);
  assert.match(up.stderr, /n2 ended while the cluster was starting/);
  assert.deepEqual(liveProcesses(state), []);
});

test("wrong options get an error that says what is wanted", async () => {
  const cases: [string[], RegExp][] = [
    [["up", "--nodes", "0"], /--nodes.*from 1 to 16/s],
    [["up", "--nodes", "two"], /--nodes.*from 1 to 16/s],
    [["up", "--replication", "maybe"], /sync, async/],
    [["up", "--nodez", "3"], /unknown option '--nodez'/],
    [["uqp"], /unknown command 'uqp'/],
    [["kill"], /missing required argument 'node'/],
    [["status", "--node", "nowhere"], /HOST:PORT/],
  ];
  for (const [args, expected] of cases) {
    const finished = await runHothot(...args);
    assert.equal(finished.status, 64, args.join(" "));
    assert.match(finished.stderr, expected);
  }
  const conflicting: [string[], RegExp][] = [
    [["up", "--nodes", "2", "--replicas", "3"], /needs as many nodes/],
    [["up", "--nodes", "2", "--min-in-sync", "3"], /never be met/],
    [["up", "--port", "8000", "--http-port", "8001"], /wanted by both/],
    [["up", "--port", "65535"], /does not exist/],
  ];
  for (const [args, expected] of conflicting) {
    const finished = await runHothot(...args);
    assert.equal(finished.status, 1, args.join(" "));
    assert.match(finished.stderr, expected);
  }
});

test("help and version", async () => {
  const help = await runHothot("help");
  assert.equal(help.status, 0);
  for (const name of [
    "up",
    "down",
    "status",
    "kill",
    "pause",
    "resume",
    "start",
    "transfer",
    "check",
  ]) {
    assert.match(help.stdout, new RegExp(`^ +${name}\\b`, "m"));
  }
  for (const args of [["--version"], ["version"]]) {
    const version = await runHothot(...args);
    assert.equal(version.status, 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  }
});

test("the probes and the metrics of every node", async (t) => {
  const cluster = await startTestCluster(t, { nodes: 2, shards: 2 });
  for (const { host, httpPort: port } of cluster.state.nodes) {
    for (const [path, expected] of [
      ["/healthz", /./],
      ["/readyz", /./],
      ["/metrics", /^hothot_\w+/m],
    ] as const) {
      const answer = await callHttp({ host, port, path, timeoutMs: 5_000 });
      assert.equal(answer.status, 200, path);
      assert.match(answer.body, expected);
    }
  }
});
