import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CliError } from "./cli-error.ts";
import {
  clusterExists,
  isKeptDown,
  killNode,
  launch,
  liveProcesses,
  logPath,
  pauseNode,
  processOf,
  readClusterState,
  removeClusterPlan,
  resumeNode,
  standingOf,
  startNode,
} from "./cluster-state.ts";
import { type ProcessIdentity, processStanding, signalProcess } from "./processes.ts";
import { startCluster, stopCluster } from "./supervisor.ts";
import { makeCluster, READY_NODE, starting, until, WAITING_WITNESS } from "./testing.ts";

const FAILING_NODE = 'console.log("cannot open the disk"); process.exit(3);';
const STUBBORN_NODE = `process.on("SIGTERM", () => undefined); ${READY_NODE}`;

const neverStopping = new AbortController().signal;

test("a cluster starts, tells of its nodes, and stops whole", async (t) => {
  const state = await makeCluster(t, [READY_NODE, READY_NODE]);
  const told: string[] = [];
  await startCluster(
    state,
    starting(neverStopping, (line) => told.push(line)),
  );
  assert.deepEqual(liveProcesses(state), ["n1", "n2", "witness"]);
  assert.deepEqual([...told].map((line) => line.slice(3)).sort(), [
    "is ready (1 of 2)",
    "is ready (2 of 2)",
  ]);
  await stopCluster(state, assert.fail);
  assert.deepEqual(liveProcesses(state), []);
});

test("a node that ends while the cluster starts is named with the end of its log", async (t) => {
  const state = await makeCluster(t, [READY_NODE, FAILING_NODE]);
  await assert.rejects(
    startCluster(
      state,
      starting(neverStopping, () => undefined),
    ),
    (error) =>
      error instanceof CliError && /^n2 ended while[\s\S]*cannot open the disk/.test(error.message),
  );
});

test("a cluster that is asked to stop while it starts says so", async (t) => {
  const state = await makeCluster(t, [WAITING_WITNESS]);
  const stopping = new AbortController();
  setTimeout(() => stopping.abort(), 100);
  await assert.rejects(
    startCluster(
      state,
      starting(stopping.signal, () => undefined),
    ),
    /Interrupted/,
  );
});

test("kill, start, pause and resume act on the one process that is meant", async (t) => {
  const state = await makeCluster(t, [READY_NODE, READY_NODE]);
  await startCluster(
    state,
    starting(neverStopping, () => undefined),
  );
  const second = processOf(state, "n2");

  await killNode(state, "n1");
  assert.equal(standingOf(state, "n1"), "gone");
  await assert.rejects(killNode(state, "n1"), /hothot start n1/);
  assert.throws(() => pauseNode(state, "n1"), /hothot start n1/);
  await startNode(state, "n1");
  assert.equal(standingOf(state, "n1"), "running");
  await assert.rejects(startNode(state, "n1"), /running already/);

  pauseNode(state, "n2");
  await until(() => standingOf(state, "n2") === "paused");
  resumeNode(state, "n2");
  await until(() => standingOf(state, "n2") === "running");
  assert.deepEqual(processOf(state, "n2"), second);
  assert.throws(() => pauseNode(state, "n9"), /n1, n2, witness/);
});

test("what is killed is kept down until it is started, also what had ended before", async (t) => {
  const state = await makeCluster(t, [READY_NODE]);
  await startCluster(
    state,
    starting(neverStopping, () => undefined),
  );
  const first = processOf(state, "n1");
  assert.ok(first !== undefined);
  signalProcess(first, "SIGKILL");
  await until(() => standingOf(state, "n1") === "gone");
  assert.equal(isKeptDown(state, "n1"), false);
  await killNode(state, "n1");
  assert.equal(isKeptDown(state, "n1"), true);
  await startNode(state, "n1");
  assert.equal(isKeptDown(state, "n1"), false);
  await killNode(state, "n1");
  assert.equal(isKeptDown(state, "n1"), true);
  // Without its plan nobody would find it to end it.
  await killNode(state, "witness");
  removeClusterPlan(state);
  assert.equal(isKeptDown(state, "n1"), false);
  await startNode(state, "n1");
});

test("of several who start a process one does, and a lock of the dead is no lock", async (t) => {
  const state = await makeCluster(t, [READY_NODE]);
  const attempts = await Promise.allSettled(
    Array.from({ length: 5 }, () => launch(state, state.witness)),
  );
  assert.equal(attempts.filter((each) => each.status === "fulfilled").length, 1);
  for (const each of attempts) {
    if (each.status === "rejected") assert.match(String(each.reason), /is being started by/);
  }
  assert.equal(existsSync(join(state.dir, "witness.lock")), false);
  const lock = join(state.dir, "n1.lock");
  writeFileSync(lock, JSON.stringify({ pid: process.pid, startedAt: "before the flood" }));
  await startNode(state, "n1");
  assert.equal(standingOf(state, "n1"), "running");
  assert.equal(existsSync(lock), false);
});

test("a process is never mistaken for another that got its pid", async (t) => {
  const state = await makeCluster(t, [READY_NODE]);
  const identity = await launch(state, state.witness);
  const stranger: ProcessIdentity = { pid: identity.pid, startedAt: `${identity.startedAt}0` };
  assert.equal(processStanding(stranger), "gone");
  assert.equal(signalProcess(stranger, "SIGKILL"), false);
  assert.equal(processStanding(identity), "running");
});

test("a paused or stubborn process is stopped too", async (t) => {
  const state = await makeCluster(t, [READY_NODE, STUBBORN_NODE]);
  await startCluster(
    state,
    starting(neverStopping, () => undefined),
  );
  pauseNode(state, "n1");
  const urgent = new AbortController();
  setTimeout(() => urgent.abort(), 1_000);
  const told: string[] = [];
  await stopCluster(state, (line) => told.push(line), urgent.signal);
  assert.deepEqual(liveProcesses(state), []);
  assert.equal(told[0], "n2 did not stop in time and was killed");
});

test("a missing, foreign or damaged state says what to do", async (t) => {
  const state = await makeCluster(t, [READY_NODE]);
  assert.deepEqual(readClusterState(state.dir), state);
  writeFileSync(join(state.dir, "cluster.json"), "{");
  assert.throws(() => readClusterState(state.dir), /damaged; remove it/);
  writeFileSync(join(state.dir, "cluster.json"), '{"format":2}');
  assert.throws(() => readClusterState(state.dir), /another version/);
  removeClusterPlan(state);
  assert.equal(clusterExists(state.dir), false);
  assert.throws(() => readClusterState(state.dir), /hothot up/);
  assert.ok(logPath(state, "n1").endsWith("n1.log"));
});
