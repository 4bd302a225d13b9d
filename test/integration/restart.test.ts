/** Nodes that die again and again: the others do not follow, nothing is lost, and what died by itself comes back by itself. */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import {
  killNode,
  processNames,
  processOf,
  standingOf,
  startNode,
} from "../../src/cli/cluster-state.ts";
import { signalProcess } from "../../src/cli/processes.ts";
import { Prng } from "../../src/kit/prng.ts";
import { storeArguments } from "../support/data-dir.ts";
import { RegisterLoad } from "../support/register-load.ts";
import { untilWhole } from "../support/turns.ts";
import {
  lacks,
  metric,
  nodeAt,
  run,
  sleep,
  startTestCluster,
  type TestCluster,
  until,
} from "./harness.ts";

const DEPLOY = resolve(import.meta.dirname, "../../../deploy");

/** The pids of all processes of the cluster, by name. */
function pidsOf(cluster: TestCluster): Map<string, number | undefined> {
  const names = processNames(cluster.state);
  return new Map(names.map((name) => [name, processOf(cluster.state, name)?.pid]));
}

// A hundred times each in the report, three here: a kill and its repair take two seconds, and several on a busy machine.
test("no-cascade", { timeout: 240_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ports, connections: 15, keys: 5_000, readShare: 0.5, rate: 600 });
  await load.fill();
  load.start(t);
  /** After each kill, the larger of the heaps of the two others, MiB. */
  const heaps: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (const index of [0, 1, 2]) {
      const { id } = nodeAt(cluster.state, index);
      const before = pidsOf(cluster);
      load.announce(index);
      await killNode(cluster.state, id);
      await startNode(cluster.state, id);
      await untilWhole(cluster);
      load.welcome(index);
      const after = pidsOf(cluster);
      before.delete(id);
      for (const [name, pid] of before) {
        assert.equal(after.get(name), pid, `${name} died when ${id} was killed`);
        assert.equal(standingOf(cluster.state, name), "running");
      }
      const survivors = [0, 1, 2].filter((other) => other !== index);
      const used = await Promise.all(
        survivors.map((other) => metric(cluster, other, "nodejs_heap_size_used_bytes")),
      );
      heaps.push(Math.max(...used) / 2 ** 20);
      assert.deepEqual(load.troubles, [], `round ${round + 1}, ${id}`);
    }
  }
  await load.stop();
  assert.deepEqual(await load.verify([0, 1, 2]), []);
  t.diagnostic(`heaps of the survivors, MiB: ${heaps.map((heap) => heap.toFixed(0)).join(" ")}`);
});

// One survivor stays for the whole test here, as in `no-cascade` none does.
test("no-cascade: the heap of who survives stays flat", { timeout: 240_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ports, connections: 15, keys: 5_000, readShare: 0.5, rate: 600 });
  await load.fill();
  load.start(t);
  const samples: number[] = [];
  /** The least of what is in use within half a second: what is left after the garbage is collected, roughly. */
  const heapMib = async (): Promise<number> => {
    let least = Number.POSITIVE_INFINITY;
    for (let look = 0; look < 5; look += 1) {
      least = Math.min(least, await metric(cluster, 0, "nodejs_heap_size_used_bytes"));
      await sleep(100);
    }
    return least / 2 ** 20;
  };
  await sleep(1_000);
  for (let kill = 0; kill < 6; kill += 1) {
    const index = 1 + (kill % 2);
    load.announce(index);
    await killNode(cluster.state, nodeAt(cluster.state, index).id);
    await startNode(cluster.state, nodeAt(cluster.state, index).id);
    await untilWhole(cluster);
    load.welcome(index);
    samples.push(await heapMib());
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
  t.diagnostic(`heap in use, MiB: ${samples.map((sample) => sample.toFixed(1)).join(", ")}`);
  const early = Math.min(...samples.slice(0, 2));
  const late = Math.min(...samples.slice(-2));
  assert.ok(late < 1.5 * early + 10, `it grew from ${early} to ${late} MiB`);
});

// 200 times in the report, 3 x 12 here for the time it takes; a burst of kills of one node, some before it even listens.
test("empty-restart-harmless", { timeout: 240_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  await restartAtOnce(t, cluster, { kills: 12, pauseMs: [20, 700] });
});

// With a long lease the empty node is back, and speaks to the others, before anybody has come to suspect it. The lease is short
// enough for writes to wait for its removal without running out of their 3 s.
test("empty-restart-harmless: back before anybody notices", { timeout: 240_000 }, async (t) => {
  const cluster = await startTestCluster(t, { args: [...storeArguments(), "--lease-ms", "1500"] });
  await restartAtOnce(t, cluster, { kills: 2, pauseMs: [1_000, 3_000] });
});

async function restartAtOnce(
  t: TestContext,
  cluster: TestCluster,
  options: { readonly kills: number; readonly pauseMs: readonly [number, number] },
): Promise<void> {
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ports, connections: 15, keys: 5_000, readShare: 0.5, rate: 600 });
  const prng = new Prng(1);
  await load.fill();
  load.start(t);
  const downMs: number[] = [];
  for (const [index, { id }] of cluster.state.nodes.entries()) {
    load.announce(index);
    for (let kill = 0; kill < options.kills; kill += 1) {
      const identity = processOf(cluster.state, id);
      assert.ok(identity !== undefined);
      const killedAt = performance.now();
      await killNode(cluster.state, id);
      await startNode(cluster.state, id);
      downMs.push(performance.now() - killedAt);
      await sleep(prng.between(...options.pauseMs));
      assert.deepEqual(load.troubles, [], `${id}, kill ${kill + 1}`);
    }
    // Without disks the next may die only when this one holds all again.
    await untilWhole(cluster);
    load.welcome(index);
  }
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.deepEqual(await load.verify([0, 1, 2]), []);
  const slowest = Math.round(Math.max(...downMs));
  t.diagnostic(
    `${downMs.length} kills, started again within ${slowest} ms; ${load.counts.answered} commands`,
  );
}

test("what dies by itself comes back by itself, what is killed on demand does not", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTestCluster(t, { args: storeArguments() });
  for (const id of ["n2", "witness"]) {
    const before = processOf(cluster.state, id);
    assert.ok(before !== undefined);
    signalProcess(before, "SIGKILL");
    await until(`${id} is back`, () => {
      const now = processOf(cluster.state, id);
      return now?.pid !== before.pid && standingOf(cluster.state, id) === "running";
    });
    await untilWhole(cluster);
    assert.match(
      cluster.output(),
      new RegExp(`${id} has ended \\(SIGKILL.*started again in 500 ms\n +last in its log: \\S`),
    );
  }
  assert.equal((await cluster.hothot("kill", "n3")).status, 0);
  await until("it is told", () => cluster.output().includes("n3 was killed on demand"));
  await sleep(1_500);
  assert.equal(standingOf(cluster.state, "n3"), "gone");
  assert.equal((await cluster.hothot("start", "n3")).status, 0);
  await untilWhole(cluster);
});

test("--no-restart leaves the dead dead", { timeout: 60_000 }, async (t) => {
  const cluster = await startTestCluster(t, {
    nodes: 2,
    args: [...storeArguments(), "--no-restart"],
  });
  const identity = processOf(cluster.state, "n2");
  assert.ok(identity !== undefined);
  signalProcess(identity, "SIGKILL");
  await until("it is told", () =>
    cluster.output().includes("Start it again with: hothot start n2"),
  );
  await sleep(1_500);
  assert.equal(standingOf(cluster.state, "n2"), "gone");
});

test("the units of systemd are sound, and leave alone what a restart cannot help", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hothot-units-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const units = ["hothot-node@.service", "hothot-witness.service"].map((name) => {
    const text = readFileSync(join(DEPLOY, name), "utf8");
    assert.match(text, /^Restart=always$/m);
    assert.match(text, /^RestartPreventExitStatus=64 78$/m);
    const path = join(dir, name.replace("@.", "@n1."));
    writeFileSync(path, text);
    return path;
  });
  assert.ok(existsSync(join(DEPLOY, "node.env.example")));
  // Not on every machine, and what it knows changes with systemd only; where it is, it has the last word.
  if (lacks("systemd-analyze") !== false) return;
  const verified = await run("systemd-analyze", ["verify", "--man=no", ...units]);
  assert.equal(verified.status, 0, verified.stderr);
  assert.equal(
    verified.stderr
      .split("\n")
      .filter((line) => line.includes(dir))
      .join("\n"),
    "",
  );
});
