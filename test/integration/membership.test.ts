/** Commands of membership on clusters of every kind, and what they refuse. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { type TestContext, test } from "node:test";
import { killNode, latestState, processOf, readClusterState } from "../../src/cli/cluster-state.ts";
import { askStatus } from "../../src/cli/node-view.ts";
import { openRegister } from "../../src/register/open-register.ts";
import { spreadOf } from "../../src/register/rebalance.ts";
import { WitnessServer } from "../../src/register/witness.ts";
import type { Configuration } from "../../src/replica/configuration.ts";
import {
  type Finished,
  freePortRanges,
  HOTHOT,
  runHothot,
  startTestCluster,
  until,
} from "./harness.ts";

/** A witness of its own, and commands on it. */
async function startRegister(t: TestContext) {
  const witness = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${await witness.listen()}`;
  t.after(() => witness.close());
  const register = openRegister(url, { timeoutMs: 20_000, environment: {} });
  t.after(() => register.close());
  const hothot = (...args: string[]): Promise<Finished> => runHothot(...args, "--register", url);
  const read = async (): Promise<Configuration> => {
    const configuration = await register.read();
    assert.ok(configuration !== undefined);
    return configuration;
  };
  return { url, hothot, read };
}

function assertRefused(finished: Finished, why: RegExp): void {
  assert.equal(finished.status, 1, finished.stdout);
  assert.match(finished.stderr, why);
}

test("a cluster of several machines grows, is spread, and loses a node", {
  timeout: 120_000,
}, async (t) => {
  const { url, hothot, read } = await startRegister(t);
  const [base = 0] = await freePortRanges(1);
  const ports = (node: number): number[] => [0, 1, 2].map((kind) => base + 3 * node + kind);
  const places = [0, 1].map((node) => `n${node + 1}=127.0.0.1:${ports(node).join(":")}@z${node}`);
  const startNode = (id: string): ReturnType<typeof spawn> => {
    const child = spawn(process.execPath, [HOTHOT, "node", "--id", id, "--register", url], {
      stdio: "ignore",
    });
    t.after(() => child.kill("SIGKILL"));
    return child;
  };
  assertRefused(await hothot("rebalance"), /holds no cluster; make one with: hothot init/);
  const init = await hothot("init", "--nodes", places.join(","), "--shards", "6");
  assert.equal(init.status, 0, init.stderr);
  assertRefused(await hothot("rebalance"), /not formed yet/);

  const first = startNode("n1");
  startNode("n2");
  await until("the cluster is formed", async () => {
    return (await read()).shards.every(({ epoch }) => epoch > 0);
  });
  const [resp, http, peers] = ports(2).map(String);
  const join = (...more: string[]): Promise<Finished> =>
    hothot("join", "--id", "n3", "--host", "127.0.0.1", ...more);
  assertRefused(await join("--port", resp ?? ""), /needs --id, --host, --port/);
  const rest = ["--http-port", http ?? "", "--peer-port", peers ?? ""];
  assertRefused(await join("--port", String(base), ...rest), /is an address of n1/);
  const joined = await join("--port", resp ?? "", ...rest, "--zone", "z2");
  assert.equal(joined.status, 0, joined.stderr);
  assert.match(joined.stdout, /hothot node --id n3 --cluster \S+ --register http/);
  const again = await join("--port", resp ?? "", ...rest, "--zone", "z2");
  assert.equal(again.status, 0, "what was interrupted can be done again");
  assertRefused(await join("--port", resp ?? "", ...rest), /has a node n3 already/);

  // Asked for before the node runs, it waits for it.
  const rebalancing = hothot("rebalance");
  const before = spreadOf(await read());
  startNode("n3");
  const done = await rebalancing;
  assert.equal(done.status, 0, done.stderr);
  const after = spreadOf(await read());
  assert.deepEqual([...before.copies.values()], [6, 6, 0]);
  assert.deepEqual([...after.copies.values()], [4, 4, 4]);
  assert.deepEqual([...after.primaries.values()], [2, 2, 2]);
  assertRefused(await hothot("remove", "n3"), /is in sync with .*hothot drain n3/);
  assertRefused(await hothot("remove", "n3", "--force"), /n3 runs, so it is not gone/);
  assertRefused(await hothot("remove", "n9"), /There is no node n9/);
  assertRefused(await hothot("drain", "n2", "n3"), /1 nodes would be left for 2 copies/);
  assertRefused(await hothot("recover", "--lost", "n2", "--yes"), /n2 runs, so it is not lost/);

  const held = await hothot("copies", "--hold", "1h");
  assert.equal(held.status, 0, held.stderr);
  assertRefused(await hothot("copies"), /either --hold TIME or --resume/);
  const resumed = await hothot("copies", "--resume");
  assert.equal(resumed.status, 0, resumed.stderr);

  first.kill("SIGKILL");
  await until("the others took over", async () => {
    return (await read()).shards.every(({ inSync }) => inSync.every(({ node }) => node !== "n1"));
  });
  assertRefused(await hothot("remove", "n1"), /is to hold shards .*--force/);
  const drained = await hothot("drain", "n1");
  assert.equal(drained.status, 0, drained.stderr);
  const removed = await hothot("remove", "n1");
  assert.equal(removed.status, 0, removed.stderr);
  const end = await read();
  assert.deepEqual(
    [...spreadOf(end).copies],
    [
      ["n2", 6],
      ["n3", 6],
    ],
  );
  assert.ok(end.shards.every(({ inSync }) => inSync.length === 2));
});

test("a node takes another's place, and nodes that join belong to hothot up", {
  timeout: 120_000,
}, async (t) => {
  const zones = ["--zones", "east,west"];
  const cluster = await startTestCluster(t, { nodes: 2, shards: 4, args: zones });
  const hothot = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await cluster.hothot(...args);
    assert.equal(status, 0, `hothot ${args.join(" ")}: ${stderr}`);
    return stdout + stderr;
  };
  const first = await cluster.client(0);
  await first.set("kept", "1");
  // Name and ports follow those that are there.
  assert.match(await hothot("join", "--zone", "east"), /n3 is ready at 127\.0\.0\.1:/);
  await hothot("replace", "n1", "n3");
  await hothot("remove", "n1");
  const state = latestState(cluster.state);
  assert.deepEqual(
    state.nodes.map(({ id }) => id),
    ["n2", "n3"],
  );
  assert.equal(processOf(state, "n1"), undefined);
  const third = state.nodes[1];
  assert.ok(third !== undefined);
  const { configuration, status } = await askStatus(third.host, third.httpPort);
  assert.deepEqual(
    configuration?.nodes.map(({ id }) => id),
    ["n2", "n3"],
  );
  assert.deepEqual(
    configuration?.nodes.map(({ zone }) => zone),
    ["west", "east"],
  );
  assert.ok(status.shards.every(({ inSync }) => [...inSync].sort().join() === "n2,n3"));

  // One that dies is started again like the others; one that is killed on demand stays down.
  const process1 = processOf(state, "n3");
  process.kill(process1?.pid ?? 0, "SIGKILL");
  await until("n3 runs again", async () => {
    const now = processOf(state, "n3");
    return (
      now?.pid !== process1?.pid && (await askStatus(third.host, third.httpPort)).status.isReady
    );
  });
  await killNode(state, "n3");
  await until("n2 is alone", async () => {
    const { shards } = (await cluster.status(1)).status;
    return shards.every(({ inSync }) => inSync.join() === "n2");
  });
  const forced = await cluster.hothot("remove", "n3", "--force");
  assert.equal(forced.status, 0, forced.stderr);
  assert.deepEqual(
    readClusterState(cluster.dir).nodes.map(({ id }) => id),
    ["n2"],
  );
  const { shards } = (await cluster.status(1)).configuration ?? {};
  assert.ok(shards?.every(({ replicas }) => replicas.join() === "n2"));
  const second = await cluster.client(1);
  assert.equal(await second.get("kept"), "1");
});
