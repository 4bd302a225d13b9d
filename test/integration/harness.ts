/**
 * Real clusters for black-box tests: `hothot up` as a child process on free ports, with its state in a directory of its
 * own. Whatever becomes of a test, nothing of its cluster is left running.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createClient } from "redis";
import { removeBed } from "../../src/cli/bed/bed.ts";
import {
  type ClusterState,
  clusterExists,
  liveProcesses,
  logPath,
  processNames,
  processOf,
  readClusterState,
} from "../../src/cli/cluster-state.ts";
import { callHttp } from "../../src/cli/http-client.ts";
import { askStatus, type StatusAnswer } from "../../src/cli/node-view.ts";
import { signalProcess } from "../../src/cli/processes.ts";
import { logTail } from "../../src/cli/supervisor.ts";
import { freePorts } from "../support/ports.ts";

/** The built program. */
export const HOTHOT = resolve(import.meta.dirname, "../../src/main/hothot.js");

/** How long a condition may take on a slow machine that does other work too, ms. */
const PATIENCE_MS = 30_000;
const STOP_MS_MAX = 30_000;
/** More than any test's cluster needs of one kind. */
const PORTS_PER_KIND = 10;

/** Of the options of `hothot up`, those that tests vary. */
export interface ClusterOptions {
  readonly nodes?: number;
  readonly shards?: number;
  /** Further arguments of `hothot up`. */
  readonly args?: readonly string[];
}

/** The result of a program that has ended. */
export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A client of the stock library, connected to one node, that never connects again by itself. */
export type Client = Awaited<ReturnType<typeof connectClient>>;

/** A running cluster. */
export interface TestCluster {
  readonly dir: string;
  readonly state: ClusterState;
  /** The foreground process of `hothot up`. */
  readonly supervisor: ChildProcess;
  /** All that the supervisor has printed, on both channels. */
  output(): string;
  /** A connected client of the node with this index, from 0; closed after the test. */
  client(node: number): Promise<Client>;
  /** A plain connection to the node's RESP port; closed after the test. */
  socket(node: number): Promise<Socket>;
  status(node: number): Promise<StatusAnswer>;
  /** Runs a `hothot` command on this cluster. */
  hothot(...args: string[]): Promise<Finished>;
  /** Waits until all nodes but those named say that they are ready. */
  untilReady(options?: { readonly except?: readonly string[] }): Promise<void>;
  /** Waits until no shard has the node among its in-sync members, as seen by the node with the index `seenBy`. */
  untilRemoved(id: string, seenBy: number): Promise<void>;
}

/** What a cluster needs of the test, or of whatever else it is to end with. */
export interface Owner {
  after(ending: () => unknown): void;
}

/** Starts a cluster that ends with the test. */
export async function startTestCluster(
  t: Owner,
  options: ClusterOptions = {},
): Promise<TestCluster> {
  const dir = mkdtempSync(join(tmpdir(), "hothot-test-"));
  for (let attempt = 1; ; attempt += 1) {
    const ports = await portArguments();
    const args = [
      ...[
        "up",
        "--dir",
        dir,
        "--nodes",
        String(options.nodes ?? 3),
        "--shards",
        String(options.shards ?? 8),
      ],
      ...ports,
      ...(options.args ?? []),
    ];
    const supervisor = spawn(process.execPath, [HOTHOT, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    supervisor.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    supervisor.stderr.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const emergency = (): void => endAtOnce(dir, supervisor);
    process.on("exit", emergency);
    const isUp = await untilUp(supervisor, () => output);
    if (isUp) {
      t.after(async () => {
        await stop(supervisor, dir);
        process.off("exit", emergency);
      });
      return makeCluster(t, dir, supervisor, () => output);
    }
    const tails = allLogTails(dir);
    await stop(supervisor, dir);
    process.off("exit", emergency);
    // Somebody else may have taken a port between the look and the use.
    if (attempt < 5 && output.includes("EADDRINUSE")) continue;
    if (attempt < 5 && output.includes("Not all ports are free")) continue;
    throw new Error(`the cluster did not start:\n${output}\n${tails}`);
  }
}

/** Arguments for `hothot up` that name ports which are free now. */
export async function portArguments(): Promise<string[]> {
  const [resp, http, peers, witness] = await freePortRanges(4);
  return [
    ...["--port", String(resp), "--http-port", String(http)],
    ...["--peer-port", String(peers), "--witness-port", String(witness)],
  ];
}

/** @returns first ports of `count` ranges that are free now, and that no other file of tests uses. */
export async function freePortRanges(count: number): Promise<number[]> {
  const base = await freePorts(count * PORTS_PER_KIND);
  return Array.from({ length: count }, (_, index) => base + index * PORTS_PER_KIND);
}

/** Runs a program to its end. */
export function run(
  command: string,
  args: readonly string[],
  timeoutMs = PATIENCE_MS,
): Promise<Finished> {
  return new Promise((resolveEnd, reject) => {
    const child = spawn(command, [...args], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: timeoutMs,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once("error", reject);
    child.once("close", (status) => resolveEnd({ status, stdout, stderr }));
  });
}

/** Runs `hothot` to its end. */
export function runHothot(...args: string[]): Promise<Finished> {
  return run(process.execPath, [HOTHOT, ...args], 2 * PATIENCE_MS);
}

/**
 * Waits until the condition holds; what it throws counts as not yet.
 * @throws AssertionError if it does not within the patience that tests have.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  }
  assert.fail(
    `not within ${timeoutMs} ms: ${what}${last === undefined ? "" : ` (${String(last)})`}`,
  );
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolveSleep) => setTimeout(resolveSleep, ms));
}

/**
 * Whether a program is on this machine; the runner installs what it can before the tests.
 * @param packages of Debian that bring it.
 */
export function lacks(program: string, packages = "redis-server redis-tools"): string | false {
  const isThere = (process.env["PATH"] ?? "")
    .split(":")
    .some((folder) => existsSync(join(folder, program)));
  return isThere ? false : `${program} is not installed (apt-get install ${packages})`;
}

/** A client of the stock library without reconnection, so that every error is seen. */
export async function connectClient(port: number, host = "127.0.0.1") {
  const client = createClient({
    socket: { host, port, reconnectStrategy: false, connectTimeout: PATIENCE_MS },
  });
  // The library wants a listener; what matters reaches the command that failed.
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/**
 * Cuts the links of a node to some of its peers, at its own end and both ways, until it is called with none.
 * The cluster needs `--enable-faults`.
 */
export async function cutLinks(
  cluster: TestCluster,
  node: number,
  peers: readonly string[],
): Promise<void> {
  const plan = nodeAt(cluster.state, node);
  const answer = await callHttp({
    host: plan.host,
    port: plan.httpPort,
    method: "POST",
    path: "/faults",
    body: { drop: peers },
    timeoutMs: PATIENCE_MS,
  });
  assert.ok(answer.status < 300, `POST /faults answered ${answer.status} ${answer.body}`);
}

/** The value of a metric of a node, summed over its labels. */
export async function metric(cluster: TestCluster, node: number, name: string): Promise<number> {
  const plan = nodeAt(cluster.state, node);
  const answer = await callHttp({
    host: plan.host,
    port: plan.httpPort,
    path: "/metrics",
    timeoutMs: PATIENCE_MS,
  });
  const lines = answer.body
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  assert.ok(lines.length > 0, `there is no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** As `metric`, but 0 where the platform has no such metric. */
export async function metricOrZero(
  cluster: TestCluster,
  node: number,
  name: string,
): Promise<number> {
  return metric(cluster, node, name).catch(() => 0);
}

/** The plan of the node with the index `node`, from 0. */
export function nodeAt(state: ClusterState, node: number): ClusterState["nodes"][number] {
  const plan = state.nodes[node];
  assert.ok(plan !== undefined, `the cluster has no node ${node}`);
  return plan;
}

function makeCluster(
  t: Owner,
  dir: string,
  supervisor: ChildProcess,
  output: () => string,
): TestCluster {
  const state = readClusterState(dir);
  const status = (node: number): Promise<StatusAnswer> => {
    const plan = nodeAt(state, node);
    return askStatus(plan.host, plan.httpPort);
  };
  return {
    dir,
    state,
    supervisor,
    output,
    status,
    async client(node) {
      const { host, respPort } = nodeAt(state, node);
      const client = await connectClient(respPort, host);
      t.after(() => {
        if (client.isOpen) client.destroy();
      });
      return client;
    },
    async socket(node) {
      const socket = connect({
        host: nodeAt(state, node).host,
        port: nodeAt(state, node).respPort,
        noDelay: true,
      });
      socket.on("error", () => undefined);
      t.after(() => socket.destroy());
      await new Promise<void>((resolveOpen, reject) => {
        socket.once("connect", resolveOpen);
        socket.once("error", reject);
      });
      return socket;
    },
    hothot: (...args) => runHothot(...args, "--dir", dir),
    untilReady: (options) =>
      until("every node is ready", async () => {
        for (const [index, node] of state.nodes.entries()) {
          if (options?.except?.includes(node.id) === true) continue;
          if (!(await status(index)).status.isReady) return false;
        }
        return true;
      }),
    untilRemoved: (id, seenBy) =>
      until(`${id} is removed from every shard`, async () => {
        const { shards } = (await status(seenBy)).status;
        return shards.every(
          (shard) => !shard.inSync.includes(id) && (shard.serves || shard.role === "none"),
        );
      }),
  };
}

async function untilUp(supervisor: ChildProcess, output: () => string): Promise<boolean> {
  const deadline = performance.now() + 3 * PATIENCE_MS;
  while (performance.now() < deadline) {
    if (output().includes("Stop it with Ctrl-C.")) return true;
    if (supervisor.exitCode !== null || supervisor.signalCode !== null) return false;
    await sleep(20);
  }
  return false;
}

async function stop(supervisor: ChildProcess, dir: string): Promise<void> {
  supervisor.kill("SIGTERM");
  const deadline = performance.now() + STOP_MS_MAX;
  while (
    supervisor.exitCode === null &&
    supervisor.signalCode === null &&
    performance.now() < deadline
  )
    await sleep(20);
  endAtOnce(dir, supervisor);
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}

/** Kills whatever still runs, without waiting, as a process that is about to exit has to. */
function endAtOnce(dir: string, supervisor: ChildProcess): void {
  if (supervisor.exitCode === null && supervisor.signalCode === null) supervisor.kill("SIGKILL");
  if (!clusterExists(dir)) return;
  const state = readClusterState(dir);
  for (const id of liveProcesses(state)) {
    const identity = processOf(state, id);
    if (identity !== undefined) signalProcess(identity, "SIGKILL");
  }
  if (state.bed !== undefined) removeBed(state.bed);
}

function allLogTails(dir: string): string {
  if (!clusterExists(dir)) return "";
  const state = readClusterState(dir);
  return processNames(state)
    .map((id) => `${logPath(state, id)}:\n${logTail(state, id, 10)}`)
    .join("\n");
}
