import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { CliError } from "./cli-error.ts";
import {
  type ClusterState,
  clusterExists,
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
  writeClusterPlan,
} from "./cluster-state.ts";
import { type ProcessIdentity, pause, processStanding, signalProcess } from "./processes.ts";
import {
  type Report,
  type StartOptions,
  startCluster,
  stopCluster,
  watchCluster,
} from "./supervisor.ts";

/** A node that does nothing but say that it is ready. */
const READY_NODE = `
import { createServer } from "node:http";
createServer((_, response) => response.end("ready")).listen(Number(process.argv[2]), "127.0.0.1");
console.log("listening");
`;
const WAITING_WITNESS = "setInterval(() => undefined, 1000);";
const FAILING_NODE = 'console.log("cannot open the disk"); process.exit(3);';
const STUBBORN_NODE = `process.on("SIGTERM", () => undefined); ${READY_NODE}`;

const neverStopping = new AbortController().signal;

function starting(stopping: AbortSignal, report: Report): StartOptions {
  return { report, stopping, formCluster: async () => undefined };
}

async function makeCluster(t: TestContext, scripts: readonly string[]): Promise<ClusterState> {
  const dir = mkdtempSync(join(tmpdir(), "hothot-state-"));
  const script = (name: string, text: string): string => {
    const path = join(dir, `${name}.mjs`);
    writeFileSync(path, text);
    return path;
  };
  const nodes = [];
  for (const [index, text] of scripts.entries()) {
    const id = `n${index + 1}`;
    const httpPort = await freePort();
    nodes.push({
      id,
      host: "127.0.0.1",
      respPort: 0,
      peerPort: 0,
      httpPort,
      args: [script(id, text), String(httpPort)],
    });
  }
  const state = writeClusterPlan(dir, {
    format: 1,
    clusterId: "test",
    witness: {
      id: "witness",
      url: "http://127.0.0.1:1",
      args: [script("witness", WAITING_WITNESS)],
    },
    nodes,
  });
  t.after(async () => {
    const hurry = new AbortController();
    hurry.abort();
    await stopCluster(state, () => undefined, hurry.signal);
    rmSync(dir, { recursive: true, force: true });
  });
  return state;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i += 1) await pause(20);
  assert.ok(condition(), "the condition did not come true within 20 s");
}

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

test("the watch tells what happens to each process", async (t) => {
  const state = await makeCluster(t, [READY_NODE]);
  await startCluster(
    state,
    starting(neverStopping, () => undefined),
  );
  const stopping = new AbortController();
  const told: string[] = [];
  const watching = watchCluster(state, (line) => told.push(line), stopping.signal);
  await killNode(state, "n1");
  await until(() =>
    told.some((line) => line.includes("hothot start n1") && line.includes("listening")),
  );
  await startNode(state, "n1");
  await until(() => told.some((line) => line === "n1 was started again"));
  await killNode(state, "witness");
  await until(() => told.some((line) => line.includes("cannot fail over without it")));
  stopping.abort();
  await watching;
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
