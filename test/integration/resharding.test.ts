/**
 * Nodes come and go, and shards move, while clients work on every node. What they see is judged at once and at the end: no
 * error, no lost write, one owner of each key at any time.
 */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  killNode,
  latestState,
  type NodePlan,
  processNames,
  startNode,
} from "../../src/cli/cluster-state.ts";
import type { Statuses } from "../../src/cli/membership-cluster.ts";
import { describeMotion, type Motion, motionsOf } from "../../src/cli/membership-progress.ts";
import { askStatus } from "../../src/cli/node-view.ts";
import { spreadOf } from "../../src/register/rebalance.ts";
import type { Configuration } from "../../src/replica/configuration.ts";
import type { NodeStatus } from "../../src/replica/surface.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { cutPower } from "../support/power-loss.ts";
import { RegisterLoad } from "../support/register-load.ts";
import { untilWhole } from "../support/turns.ts";
import { WriteLoad } from "../support/write-load.ts";
import { nodeAt, sleep, startTestCluster, type TestCluster, until } from "./harness.ts";

/** What the nodes that run say, and the newest document among them. */
interface View {
  readonly configuration: Configuration;
  readonly statuses: Statuses;
}

/** Nodes may have joined since the cluster was started, so it is read anew. */
async function view(cluster: TestCluster): Promise<View> {
  const answers = await Promise.all(
    latestState(cluster.state).nodes.map(({ host, httpPort }) =>
      askStatus(host, httpPort).catch(() => undefined),
    ),
  );
  const found = answers.flatMap((answer) => answer ?? []);
  const statuses = new Map<string, NodeStatus>(found.map(({ status }) => [status.nodeId, status]));
  const [newest] = found
    .flatMap(({ configuration }) => configuration ?? [])
    .sort((a, b) => b.version - a.version);
  assert.ok(newest !== undefined, "no node answers");
  return { configuration: newest, statuses };
}

/** Ports of the node with this index, from 0, that is yet to join; the harness has kept them free. */
function placeOf(cluster: TestCluster, index: number): Omit<NodePlan, "args"> {
  const first = nodeAt(cluster.state, 0);
  return {
    id: `n${index + 1}`,
    host: first.host,
    respPort: first.respPort + index,
    httpPort: first.httpPort + index,
    peerPort: first.peerPort + index,
  };
}

function joinArguments({ id, respPort, httpPort, peerPort }: Omit<NodePlan, "args">): string[] {
  return [
    ...["join", "--id", id, "--port", String(respPort)],
    ...["--http-port", String(httpPort), "--peer-port", String(peerPort)],
  ];
}

async function succeed(cluster: TestCluster, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await cluster.hothot(...args);
  assert.equal(status, 0, `hothot ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout + stderr;
}

/** Every shard is led by its preferred primary and by no other node, and in sync with just its replicas. */
async function untilInPlace(cluster: TestCluster): Promise<Configuration> {
  let last: Configuration | undefined;
  await until("all shards are in place", async () => {
    const { configuration, statuses } = await view(cluster);
    last = configuration;
    return configuration.shards.every(({ id, replicas, inSync, primary }) => {
      const leaders = [...statuses.values()].filter(({ shards }) =>
        shards.some(({ shard, role, serves }) => shard === id && role === "primary" && serves),
      );
      const members = inSync.map(({ node }) => node).sort();
      return (
        members.join() === [...replicas].sort().join() &&
        primary === replicas[0] &&
        leaders.map(({ nodeId }) => nodeId).join() === primary
      );
    });
  });
  assert.ok(last !== undefined);
  return last;
}

function assertEven(configuration: Configuration): void {
  const { copies, primaries } = spreadOf(configuration);
  for (const counts of [copies, primaries]) {
    const values = [...counts.values()];
    assert.ok(Math.max(...values) - Math.min(...values) <= 1, `${[...counts].join("; ")}`);
  }
}

/** Load on all nodes, those included that are yet to join: their clients work elsewhere until `welcome`. */
async function startLoad(
  t: TestContext,
  cluster: TestCluster,
  options: {
    readonly nodes: number;
    readonly readShare: number;
    readonly rate: number;
    readonly keys?: number;
  },
): Promise<RegisterLoad> {
  const ports = Array.from({ length: options.nodes }, (_, index) => {
    return placeOf(cluster, index).respPort;
  });
  const load = new RegisterLoad({
    ...{ ports, readShare: options.readShare, rate: options.rate },
    ...{ connections: 15, keys: options.keys ?? 20_000, padding: 200 },
  });
  for (let node = cluster.state.nodes.length; node < options.nodes; node += 1) load.announce(node);
  await load.fill();
  load.start(t);
  return load;
}

test("grow and shrink", { timeout: 180_000 }, async (t) => {
  const cluster = await startTestCluster(t, { nodes: 3, shards: 10 });
  const load = await startLoad(t, cluster, { nodes: 5, readShare: 0.7, rate: 400 });
  const startedAt = performance.now();
  for (const index of [3, 4]) {
    await succeed(cluster, ...joinArguments(placeOf(cluster, index)));
    load.welcome(index);
  }
  await succeed(cluster, "rebalance", "--parallel", "2");
  const grown = await untilInPlace(cluster);
  t.diagnostic(`3 to 5 nodes in ${Math.round(performance.now() - startedAt)} ms`);
  assert.equal(grown.nodes.length, 5);
  assertEven(grown);
  assert.deepEqual(load.troubles, []);
  assert.match(await succeed(cluster, "rebalance"), /nothing had to be moved/);

  const grownAt = performance.now();
  const { status, stderr } = await cluster.hothot("remove", "n4");
  assert.equal(status, 1);
  assert.match(stderr, /hothot drain n4/);
  await succeed(cluster, "drain", "n4", "n5", "--parallel", "2");
  // Nothing is on them any more, but their clients are still served.
  const drained = await untilInPlace(cluster);
  for (const node of ["n4", "n5"]) {
    assert.ok(drained.shards.every(({ replicas }) => !replicas.includes(node)));
  }
  await sleep(500);
  assert.deepEqual(load.troubles, []);
  for (const index of [3, 4]) {
    load.announce(index);
    await succeed(cluster, "remove", `n${index + 1}`);
  }
  const shrunk = await untilInPlace(cluster);
  t.diagnostic(`5 to 3 nodes in ${Math.round(performance.now() - grownAt)} ms`);
  assert.deepEqual(
    shrunk.nodes.map(({ id }) => id),
    ["n1", "n2", "n3"],
  );
  assertEven(shrunk);
  await sleep(500);
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
  t.diagnostic(`${load.counts.answered} commands answered`);
});

test("reshard-under-fire", { timeout: 240_000 }, async (t) => {
  const cluster = await startTestCluster(t, { nodes: 3, shards: 12, args: ["--replicas", "2"] });
  const load = await startLoad(t, cluster, { nodes: 4, readShare: 0.2, rate: 800 });
  await succeed(cluster, ...joinArguments(placeOf(cluster, 3)));
  load.welcome(3);

  /** Runs a command that moves shards, and kills what `choose` says as soon as one is on its way. */
  const moveUnderFire = async (
    command: readonly string[],
    choose: (motion: Motion) => string | undefined,
  ): Promise<void> => {
    const moving = succeed(cluster, ...command);
    let victim = "";
    await until(`a shard moves (${command.join(" ")})`, async () => {
      const { configuration, statuses } = await view(cluster);
      for (const motion of motionsOf(configuration, statuses)) {
        const chosen = choose(motion);
        if (chosen === undefined) continue;
        t.diagnostic(
          `${command.join(" ")}: killing ${chosen} while of shard ${motion.shard.id} ${describeMotion(motion, statuses)}`,
        );
        victim = chosen;
        return true;
      }
      return false;
    });
    const state = latestState(cluster.state);
    const index = state.nodes.findIndex(({ id }) => id === victim);
    if (index >= 0) load.announce(index);
    await killNode(state, victim);
    await sleep(1_500);
    await startNode(state, victim);
    await moving;
    const after = await untilInPlace(cluster);
    // Also one that holds nothing any more, and so was not waited for.
    await until(`${victim} is ready`, async () => {
      return victim === "witness" || (await view(cluster)).statuses.get(victim)?.isReady === true;
    });
    if (index >= 0) load.welcome(index);
    assert.deepEqual(load.troubles, [], `after ${command.join(" ")}`);
    const holders = new Set(after.shards.flatMap(({ replicas }) => replicas));
    assert.equal(holders.has("n4"), command[0] === "rebalance");
  };

  await moveUnderFire(["rebalance"], ({ leaving }) => leaving[0]);
  await moveUnderFire(["drain", "n4"], ({ missing }) => missing[0]);
  await moveUnderFire(["rebalance"], () => "witness");
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2, 3]), []);
  t.diagnostic(`${load.counts.answered} commands answered, ${load.counts.unknown} at dying nodes`);
});

test("shards are divided, and spread", { timeout: 180_000 }, async (t) => {
  const cluster = await startTestCluster(t, {
    nodes: 3,
    shards: 2,
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const load = await startLoad(t, cluster, { nodes: 3, readShare: 0.5, rate: 300, keys: 3_000 });
  const { status, stderr } = await cluster.hothot("split", "0", "9000");
  assert.equal(status, 1);
  assert.match(stderr, /from 1 to 8191/);
  assert.match(await succeed(cluster, "split", "0", "100"), /new shard 2 has 100 to 8191/);
  assert.match(await succeed(cluster, "split", "2"), /new shard 3 has 4146 to 8191/);
  assert.deepEqual(load.troubles, []);
  const startedAt = performance.now();
  assert.match(await succeed(cluster, "split", "--shards", "6"), /There are 6 shards/);
  t.diagnostic(`2 divisions in ${Math.round(performance.now() - startedAt)} ms`);
  await succeed(cluster, "rebalance");
  const divided = await untilInPlace(cluster);
  assert.equal(divided.shards.length, 6);
  assertEven(divided);
  await sleep(500);
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
  t.diagnostic(`${load.counts.answered} commands answered`);

  // What the disks hold is the shards as they are now.
  await cutPower(cluster);
  for (const id of processNames(cluster.state)) await startNode(cluster.state, id);
  await untilWhole(cluster);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
});

test("power loss of all nodes while shards are divided: fsync loses nothing", {
  timeout: 180_000,
}, async (t) => {
  const cluster = await startTestCluster(t, {
    shards: 1,
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new WriteLoad({ connections: 12, keys: 3_000, depth: 20, padding: 300, ports });
  t.after(() => load.stop());
  for (const shards of [2, 4]) {
    load.start();
    await sleep(1_000);
    await succeed(cluster, "split", "--shards", String(shards));
    // The keys of the new shards are still among those of the old ones, or on their way.
    const cutMs = await cutPower(cluster);
    await load.stop();
    for (const id of processNames(cluster.state)) await startNode(cluster.state, id);
    await untilWhole(cluster);
    const { configuration } = await view(cluster);
    assert.equal(configuration.shards.length, shards);
    const { lost, wrong } = await load.judge(cutMs);
    assert.deepEqual(wrong, []);
    assert.equal(lost, 0);
  }
});
