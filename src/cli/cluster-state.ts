/**
 * The cluster that `hothot up` runs on this machine, as files in its state directory:
 *
 *     cluster.json     what was started and how; written once
 *     NAME.pid.json    the process that runs NAME now or ran it last; written by whoever starts it
 *     NAME.log         what that process printed
 *
 * One file per process, because several programs start processes: `up` itself, `hothot start`, a test's nemesis.
 */

import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { CliError } from "./cli-error.ts";
import {
  identifyProcess,
  isErrorWithCode,
  type ProcessIdentity,
  type ProcessStanding,
  processEnds,
  processStanding,
  signalProcess,
} from "./processes.ts";

/** How a process of the cluster is started, also again. */
export interface LaunchPlan {
  /** Its name in the cluster: `n1`, `n2` …, `witness`, or `supervisor`. */
  readonly id: string;
  /** Arguments of this Node.js, the script first. */
  readonly args: readonly string[];
}

/** A data node of the cluster with its addresses. */
export interface NodePlan extends LaunchPlan {
  readonly host: string;
  readonly respPort: number;
  readonly httpPort: number;
  readonly peerPort: number;
}

/** What `cluster.json` holds. */
export interface ClusterPlan {
  readonly format: 1;
  readonly clusterId: string;
  readonly witness: LaunchPlan & { readonly url: string };
  readonly nodes: readonly NodePlan[];
}

/** The cluster's plan together with the processes that run or ran it. */
export interface ClusterState extends ClusterPlan {
  /** The state directory, absolute. */
  readonly dir: string;
}

const FILE = "cluster.json";
const SUPERVISOR = "supervisor";

/**
 * Reads the cluster of a state directory.
 * @throws CliError if there is none or it cannot be read.
 */
export function readClusterState(dir: string): ClusterState {
  const path = resolve(dir, FILE);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (isErrorWithCode(error) && error.code === "ENOENT") {
      throw new CliError(
        `There is no cluster in ${resolve(dir)}. Start one with: hothot up (or name its directory with --dir)`,
        { cause: error },
      );
    }
    throw new CliError(`Cannot read ${path}: ${String(error)}`, { cause: error });
  }
  const plan = parsePlan(text, path);
  return { ...plan, dir: resolve(dir) };
}

/** @returns whether a cluster was started in this directory and not stopped, whatever became of its processes. */
export function clusterExists(dir: string): boolean {
  return existsSync(join(dir, FILE));
}

/** Creates the state directory if need be and writes the plan into it. */
export function writeClusterPlan(dir: string, plan: ClusterPlan): ClusterState {
  mkdirSync(dir, { recursive: true });
  writeAtomically(join(dir, FILE), plan);
  return { ...plan, dir: resolve(dir) };
}

/** Forgets a cluster that has ended: its plan and processes, not its logs. */
export function removeClusterPlan(state: ClusterState): void {
  for (const id of [...processNames(state), SUPERVISOR])
    rmSync(pidPath(state, id), { force: true });
  rmSync(join(state.dir, FILE), { force: true });
}

/** Names of the cluster's processes without the supervisor, the nodes first. */
export function processNames(state: ClusterState): string[] {
  return [...state.nodes.map((node) => node.id), state.witness.id];
}

/** @returns the process that runs, or ran, under this name; undefined if none was ever started. */
export function processOf(state: ClusterState, id: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(pidPath(state, id), "utf8"));
    if (isIdentity(value)) return value;
  } catch {
    // A missing or torn file tells as little as a process that was never started.
  }
  return undefined;
}

/** @returns how the process of this name stands; one that was never started is gone. */
export function standingOf(state: ClusterState, id: string): ProcessStanding {
  const identity = processOf(state, id);
  return identity === undefined ? "gone" : processStanding(identity);
}

/** @returns the names of all live processes of the cluster, the supervisor's included. */
export function liveProcesses(state: ClusterState): string[] {
  return [...processNames(state), SUPERVISOR].filter((id) => standingOf(state, id) !== "gone");
}

/** Notes that the calling process supervises the cluster. */
export function recordSupervisor(state: ClusterState): void {
  const identity = identifyProcess(process.pid);
  if (identity !== undefined) writeAtomically(pidPath(state, SUPERVISOR), identity);
}

/** @returns the process that supervises the cluster, or did. */
export function supervisorOf(state: ClusterState): ProcessIdentity | undefined {
  return processOf(state, SUPERVISOR);
}

/** Path of the log of the process of this name. */
export function logPath(state: ClusterState, id: string): string {
  return join(state.dir, `${id}.log`);
}

/**
 * Starts a process of the plan, its output appended to its log. It stands in its own process group, so that a Ctrl-C in
 * the terminal reaches the supervisor alone, which then stops the rest in order.
 * @throws CliError if it already runs or cannot be started.
 */
export async function launch(state: ClusterState, plan: LaunchPlan): Promise<ProcessIdentity> {
  if (standingOf(state, plan.id) !== "gone") throw new CliError(`${plan.id} is running already.`);
  const log = openSync(logPath(state, plan.id), "a");
  try {
    const child = spawn(process.execPath, [...plan.args], {
      detached: true,
      stdio: ["ignore", log, log],
    });
    const pid = await new Promise<number>((resolvePid, reject) => {
      child.once("error", (error) => {
        reject(new CliError(`Cannot start ${plan.id}: ${error.message}`, { cause: error }));
      });
      child.once("spawn", () => {
        if (child.pid !== undefined) resolvePid(child.pid);
      });
    });
    child.unref();
    const identity = identifyProcess(pid);
    if (identity === undefined)
      throw new CliError(`${plan.id} ended at once; see ${logPath(state, plan.id)}`);
    writeAtomically(pidPath(state, plan.id), identity);
    return identity;
  } finally {
    closeSync(log);
  }
}

/**
 * Kills a node's (or the witness's) process at once (SIGKILL) and waits until it is gone.
 * @throws CliError if there is no such process or it does not run.
 */
export async function killNode(state: ClusterState, id: string): Promise<void> {
  const identity = runningProcess(state, id);
  signalProcess(identity, "SIGKILL");
  if (!(await processEnds(identity, 10_000)))
    throw new CliError(`${id} (pid ${identity.pid}) cannot be killed.`);
}

/**
 * Freezes a node's process (SIGSTOP).
 * @throws CliError if there is no such process or it does not run.
 */
export function pauseNode(state: ClusterState, id: string): void {
  signalProcess(runningProcess(state, id), "SIGSTOP");
}

/**
 * Lets a paused node run on (SIGCONT).
 * @throws CliError if there is no such process or it does not run.
 */
export function resumeNode(state: ClusterState, id: string): void {
  signalProcess(runningProcess(state, id), "SIGCONT");
}

/**
 * Starts a node that has ended, as a new process with empty memory, or the witness. A node is not ready yet when this
 * returns.
 * @throws CliError if there is no such process or it runs already.
 */
export async function startNode(state: ClusterState, id: string): Promise<void> {
  await launch(state, planOf(state, id));
}

/**
 * @returns the plan of a node or of the witness.
 * @throws CliError if there is none of this name.
 */
function planOf(state: ClusterState, id: string): LaunchPlan {
  const plan = [...state.nodes, state.witness].find((each) => each.id === id);
  if (plan === undefined) {
    throw new CliError(`There is no node ${id}. The names are: ${processNames(state).join(", ")}`);
  }
  return plan;
}

function runningProcess(state: ClusterState, id: string): ProcessIdentity {
  planOf(state, id);
  const identity = processOf(state, id);
  if (identity === undefined || processStanding(identity) === "gone") {
    throw new CliError(`${id} is not running. Start it with: hothot start ${id}`);
  }
  return identity;
}

function pidPath(state: ClusterState, id: string): string {
  return join(state.dir, `${id}.pid.json`);
}

/** A reader sees the whole file or the one before, never half of it. */
function writeAtomically(path: string, value: unknown): void {
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, `${JSON.stringify(value, undefined, 2)}\n`);
  renameSync(draft, path);
}

function parsePlan(text: string, path: string): ClusterPlan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CliError(`${path} is damaged; remove it and start the cluster again.`, {
      cause: error,
    });
  }
  if (isPlan(value)) return value;
  throw new CliError(
    `${path} was written by another version of hothot; remove it and start the cluster again.`,
  );
}

function isPlan(value: unknown): value is ClusterPlan {
  return (
    typeof value === "object" &&
    value !== null &&
    "format" in value &&
    value.format === 1 &&
    "nodes" in value &&
    Array.isArray(value.nodes) &&
    "witness" in value
  );
}

function isIdentity(value: unknown): value is ProcessIdentity {
  return (
    typeof value === "object" &&
    value !== null &&
    "pid" in value &&
    typeof value.pid === "number" &&
    "startedAt" in value &&
    typeof value.startedAt === "string"
  );
}
