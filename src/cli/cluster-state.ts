/**
 * The cluster that `hothot up` runs on this machine, as files in its state directory:
 *
 *     cluster.json     what is to run and how; written by `up`, and again when a node joins or is removed
 *     NAME.pid.json    the process that runs NAME now or ran it last; written by whoever starts it
 *     NAME.log         what that process printed
 *     NAME.down        there while NAME is to stay down: `hothot kill` makes it, `hothot start` removes it
 *     NAME.lock        there while NAME is being started, with who starts it
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
import type { BedPlan } from "./bed/bed.ts";
import { CliError } from "./cli-error.ts";
import {
  identifyProcess,
  isErrorWithCode,
  type ProcessEnding,
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
  /** The network namespace that it runs in, if not in the machine's own. */
  readonly namespace?: string;
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
  /** The network that the processes run in, if it was made for them. */
  readonly bed?: BedPlan;
}

/** The cluster's plan together with the processes that run or ran it. */
export interface ClusterState extends ClusterPlan {
  /** The state directory, absolute. */
  readonly dir: string;
}

const FILE = "cluster.json";
const SUPERVISOR = "supervisor";
/** How long a node may take to hand over and end, before it is killed, ms. */
const RETIRE_MS_MAX = 8_000;

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

/** @returns the cluster with the plan as it is now, for nodes may have joined or been removed; as given if it is gone. */
export function latestState(state: ClusterState): ClusterState {
  try {
    const latest = readClusterState(state.dir);
    return latest.clusterId === state.clusterId ? latest : state;
  } catch (error) {
    if (error instanceof CliError) return state;
    throw error;
  }
}

/**
 * Adds a node to the plan, unless it is there already; it does not run yet.
 * @throws CliError if another program changes the plan at this moment.
 */
export function addNodePlan(state: ClusterState, node: NodePlan): ClusterState {
  return changePlan(state, (plan) =>
    plan.nodes.some(({ id }) => id === node.id) ? plan : { ...plan, nodes: [...plan.nodes, node] },
  );
}

/**
 * Notes where a node is from its next start on.
 * @throws CliError if another program changes the plan at this moment.
 */
export function moveNodePlan(
  state: ClusterState,
  place: Pick<NodePlan, "id" | "host" | "respPort" | "httpPort" | "peerPort">,
): ClusterState {
  return changePlan(state, (plan) => ({
    ...plan,
    nodes: plan.nodes.map((node) => (node.id === place.id ? { ...node, ...place } : node)),
  }));
}

/**
 * Ends a node's process, in order if it takes no longer than it should, and takes the node out of the plan.
 * @throws CliError if the process cannot be ended, or another program changes the plan at this moment.
 */
export async function retireNode(state: ClusterState, id: string): Promise<void> {
  if (!isPlanned(state, id)) return;
  writeFileSync(downPath(state, id), "");
  const identity = processOf(state, id);
  if (identity !== undefined && signalProcess(identity, "SIGTERM")) {
    signalProcess(identity, "SIGCONT");
    if (!(await processEnds(identity, RETIRE_MS_MAX))) signalProcess(identity, "SIGKILL");
    if (!(await processEnds(identity, RETIRE_MS_MAX)))
      throw new CliError(`${id} (pid ${identity.pid}) cannot be ended.`);
  }
  changePlan(state, (plan) => ({ ...plan, nodes: plan.nodes.filter((node) => node.id !== id) }));
  for (const path of [pidPath(state, id), downPath(state, id)]) rmSync(path, { force: true });
}

function changePlan(state: ClusterState, change: (plan: ClusterPlan) => ClusterPlan): ClusterState {
  const unlock = lockLaunch(state, "cluster");
  try {
    const { dir, ...plan } = readClusterState(state.dir);
    return writeClusterPlan(dir, change(plan));
  } finally {
    unlock();
  }
}

/** Forgets a cluster that has ended: its plan and processes, not its logs. */
export function removeClusterPlan(state: ClusterState): void {
  for (const id of [...processNames(state), SUPERVISOR])
    rmSync(pidPath(state, id), { force: true });
  forgetMarks(state);
  rmSync(join(state.dir, FILE), { force: true });
}

/** Names of the cluster's processes without the supervisor, the nodes first. */
export function processNames(state: ClusterState): string[] {
  return [...state.nodes.map((node) => node.id), state.witness.id];
}

/** @returns the process that runs, or ran, under this name; undefined if none was ever started. */
export function processOf(state: ClusterState, id: string): ProcessIdentity | undefined {
  return readIdentity(pidPath(state, id));
}

function readIdentity(path: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
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
 * @param onEnd told how it ended, if that happens while the calling process lives.
 * @throws CliError if it already runs or cannot be started.
 */
export async function launch(
  state: ClusterState,
  plan: LaunchPlan,
  onEnd?: (ending: ProcessEnding) => void,
): Promise<ProcessIdentity> {
  const unlock = lockLaunch(state, plan.id);
  try {
    if (standingOf(state, plan.id) !== "gone") throw new CliError(`${plan.id} is running already.`);
    return await spawnProcess(state, plan, onEnd);
  } finally {
    unlock();
  }
}

async function spawnProcess(
  state: ClusterState,
  plan: LaunchPlan,
  onEnd: ((ending: ProcessEnding) => void) | undefined,
): Promise<ProcessIdentity> {
  const log = openSync(logPath(state, plan.id), "a");
  try {
    const command = [process.execPath, ...plan.args];
    // `ip` becomes the program that it runs, so the pid is the node's.
    if (plan.namespace !== undefined) command.unshift("ip", "netns", "exec", plan.namespace);
    const [program = process.execPath, ...args] = command;
    const child = spawn(program, args, {
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
    child.once("exit", (status, signal) => onEnd?.({ pid, status, signal }));
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
 * Only one may start a process at a time: of two, the one whose process loses the ports would else name it as the one that
 * runs.
 * @returns what ends the claim.
 * @throws CliError if another process is starting it.
 */
function lockLaunch(state: ClusterState, id: string): () => void {
  const path = lockPath(state, id);
  for (let attempt = 1; ; attempt += 1) {
    try {
      writeFileSync(path, JSON.stringify(identifyProcess(process.pid)), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (!isErrorWithCode(error) || error.code !== "EEXIST") {
        throw new CliError(`Cannot write ${path}: ${String(error)}`, { cause: error });
      }
      const holder = readIdentity(path);
      // A lock outlives its holder only if that was killed in the middle of a start.
      const isHeld = holder === undefined || processStanding(holder) !== "gone";
      if (isHeld || attempt > 1) {
        const who = holder === undefined ? "another process" : `process ${holder.pid}`;
        throw new CliError(`${id} is being started by ${who}; if it is not, remove ${path}`, {
          cause: error,
        });
      }
      rmSync(path, { force: true });
    }
  }
}

/** @returns whether the process was killed by `hothot kill` and not started since, so that nothing but `hothot start` may. */
export function isKeptDown(state: ClusterState, id: string): boolean {
  return existsSync(downPath(state, id));
}

/**
 * Kills a node's (or the witness's) process at once (SIGKILL) and waits until it is gone. It stays down until `startNode`,
 * also if it had ended by itself before and was about to be started again.
 * @throws CliError if there is no such process or it is down already.
 */
export async function killNode(state: ClusterState, id: string): Promise<void> {
  const hasEnded = isPlanned(state, id) && standingOf(state, id) === "gone";
  if (hasEnded && processOf(state, id) !== undefined && !isKeptDown(state, id)) {
    writeFileSync(downPath(state, id), "");
    return;
  }
  const identity = runningProcess(state, id);
  // Before the signal: a supervisor that sees it end must know already that this was meant.
  writeFileSync(downPath(state, id), "");
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
  // Only now: a supervisor that saw no mark and no process would start one of its own.
  rmSync(downPath(state, id), { force: true });
}

/** Forgets that processes were to stay down; for a cluster that is yet to be started. */
export function forgetMarks(state: ClusterState): void {
  for (const id of processNames(state)) {
    for (const path of [downPath(state, id), lockPath(state, id)]) rmSync(path, { force: true });
  }
}

/**
 * @returns the plan of a node or of the witness.
 * @throws CliError if there is none of this name.
 */
export function planOf(state: ClusterState, id: string): LaunchPlan {
  const plan = [...state.nodes, state.witness].find((each) => each.id === id);
  if (plan === undefined) {
    throw new CliError(`There is no node ${id}. The names are: ${processNames(state).join(", ")}`);
  }
  return plan;
}

function isPlanned(state: ClusterState, id: string): boolean {
  return processNames(state).includes(id);
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

function downPath(state: ClusterState, id: string): string {
  return join(state.dir, `${id}.down`);
}

function lockPath(state: ClusterState, id: string): string {
  return join(state.dir, `${id}.lock`);
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
