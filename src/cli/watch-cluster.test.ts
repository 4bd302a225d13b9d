import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ClusterState, killNode, processOf, standingOf, startNode } from "./cluster-state.ts";
import { pause, signalProcess } from "./processes.ts";
import { startCluster } from "./supervisor.ts";
import { makeCluster, READY_NODE, starting, until } from "./testing.ts";
import { describeEnding, watchCluster } from "./watch-cluster.ts";

/** So that a test sees several restarts; the real ones are in restart-policy.ts. */
const WAITS = { firstMs: 20, longestMs: 100, soundMs: 60_000 };

/** A node that dies soon after it was started, as soon as there is a file of this name in its folder. */
const FRAIL_NODE = `
import { existsSync } from "node:fs";
import { join } from "node:path";
const poison = join(import.meta.dirname, "poison");
if (existsSync(poison)) { console.log(JSON.stringify({ msg: "the disk is full" })); process.exit(9); }
${READY_NODE}
`;

/** A cluster that runs and is watched until the end of the test. */
async function watched(
  t: TestContext,
  script: string,
  restarts: boolean,
): Promise<{ state: ClusterState; told: string[] }> {
  const told: string[] = [];
  const report = (line: string) => {
    told.push(line);
  };
  const stopping = new AbortController();
  let watching: Promise<void> | undefined;
  // Before the cluster's own end, which comes in this order: who still watches starts again what that stops.
  t.after(async () => {
    stopping.abort();
    await watching;
  });
  const state = await makeCluster(t, [script]);
  const options = starting(stopping.signal, () => undefined);
  await startCluster(state, options);
  watching = watchCluster(state, { ...options, report, restarts, waits: WAITS });
  return { state, told };
}

function kill9(state: ClusterState, id: string): void {
  const identity = processOf(state, id);
  assert.ok(identity !== undefined);
  signalProcess(identity, "SIGKILL");
}

test("what dies by itself is started again, and the reason is told", async (t) => {
  const { state, told } = await watched(t, READY_NODE, true);
  for (const id of ["n1", "witness"]) {
    const before = processOf(state, id);
    kill9(state, id);
    await until(() => told.includes(`${id} is started again`));
    assert.equal(standingOf(state, id), "running");
    assert.notDeepEqual(processOf(state, id), before);
  }
  const [end = ""] = told.filter((line) => line.startsWith("n1 has ended"));
  assert.match(end, /\(SIGKILL: .*others serve on\. It is started again in 20 ms\n.*listening/);
  assert.ok(told.some((line) => /^witness has ended.*cannot fail over without it/.test(line)));
});

test("what is killed on demand stays down until it is started", async (t) => {
  const { state, told } = await watched(t, READY_NODE, true);
  await killNode(state, "n1");
  await until(() => told.some((line) => /^n1 was killed on demand .*hothot start n1/.test(line)));
  await pause(3 * WAITS.longestMs);
  assert.equal(standingOf(state, "n1"), "gone");
  await startNode(state, "n1");
  await until(() => told.includes("n1 was started again"));
  kill9(state, "n1");
  await until(() => told.includes("n1 is started again"));
});

test("what dies again and again is tried on, with waits, and a person is called", async (t) => {
  const { state, told } = await watched(t, FRAIL_NODE, true);
  const poison = join(state.dir, "poison");
  writeFileSync(poison, "");
  kill9(state, "n1");
  await until(() => told.some((line) => line.includes("5 times in a row")));
  const alarm = told.find((line) => line.includes("5 times in a row")) ?? "";
  assert.match(alarm, /^n1 has ended \(status 9\); .* again in 100 ms/);
  assert.match(alarm, /the disk is full[\s\S]*n1\.log.*ports.*hothot kill n1/);
  await killNode(state, "n1");
  await until(() => told.some((line) => line.includes("stays down")));
  assert.ok(existsSync(poison));
  assert.equal(standingOf(state, "n1"), "gone");
});

test("without restarts the watch only tells what happens to each process", async (t) => {
  const { state, told } = await watched(t, READY_NODE, false);
  kill9(state, "n1");
  await until(() =>
    told.some((line) => line.includes("hothot start n1") && line.includes("listening")),
  );
  await pause(3 * WAITS.longestMs);
  assert.equal(standingOf(state, "n1"), "gone");
  await startNode(state, "n1");
  await until(() => told.some((line) => line === "n1 was started again"));
  await killNode(state, "witness");
  await until(() => told.some((line) => line.includes("cannot fail over without it")));
});

test("endings in words", () => {
  assert.equal(describeEnding({ status: 3, signal: null }), "status 3");
  assert.equal(describeEnding({ status: null, signal: "SIGTERM" }), "SIGTERM");
  assert.match(describeEnding({ status: 70, signal: null }), /status 70: a bug/);
  assert.match(describeEnding({ status: null, signal: "SIGKILL" }), /memory was short/);
});
