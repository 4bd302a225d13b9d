/** `hothot up`: a cluster of several node processes and a witness on this machine. */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { totalmem } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { ensureSecretFile } from "../main/secret-file.ts";
import { loadDocument } from "../register/document-file.ts";
import { initialConfiguration } from "../register/placement.ts";
import { WitnessRegister } from "../register/witness-client.ts";
import type { Configuration } from "../replica/configuration.ts";
import { buildBed, memberOf, planBed, removeBed } from "./bed/bed.ts";
import { CliError } from "./cli-error.ts";
import { addClusterOptions, type ClusterFlags, settingsOf } from "./cluster-options.ts";
import {
  type ClusterPlan,
  type ClusterState,
  clusterExists,
  forgetMarks,
  latestState,
  liveProcesses,
  logPath,
  type NodePlan,
  readClusterState,
  recordSupervisor,
  removeClusterPlan,
  standingOf,
  writeClusterPlan,
} from "./cluster-state.ts";
import { DEFAULT_DIR, parseCount, parsePort, threadsOf, threadsOption } from "./options.ts";
import { formatTable, printLine, printNote } from "./output.ts";
import { portTrouble } from "./ports.ts";
import { type ProcessEnding, pause } from "./processes.ts";
import { type Report, startCluster, stopCluster } from "./supervisor.ts";
import { watchCluster } from "./watch-cluster.ts";

/** What `hothot up` was asked for; every value checked by itself, not yet together. */
interface UpOptions extends ClusterFlags {
  readonly nodes: number;
  readonly host: string;
  readonly port: number;
  readonly httpPort: number;
  readonly peerPort?: number;
  readonly witnessPort?: number;
  readonly zones: readonly string[];
  readonly dir: string;
  readonly dataDir?: string;
  readonly threads?: number;
  readonly logLevel: string;
  readonly bed?: true;
  readonly detach?: true;
  /** False only with `--no-restart`. */
  readonly restart: boolean;
  readonly enableFaults?: true;
  readonly enableDebug?: true;
}

const NODES_MAX = 16;
/** Peer ports lie this far above the RESP ports, as those of Redis Cluster's bus do. */
const PEER_PORT_OFFSET = 10_000;
const PORT_MAX = 65_535;
/** Part of the machine's memory that all nodes' heaps together may take. */
const HEAP_SHARE = 0.7;
const HEAP_MIB_MIN = 256;
/** How long the witness may take to answer once, and to come up, ms. */
const REGISTER_MS_MAX = 1_000;
const WITNESS_START_MS_MAX = 20_000;
const REGISTER_FILE = "register.json";
const SECRET_FILE = "secret";
const SUPERVISOR_LOG = "supervisor.log";

/**
 * Adds the command `up`.
 * @param script path of this program, by which it starts its nodes.
 */
export function addUpCommand(program: Command, script: string): void {
  const command = program
    .command("up")
    .description("start a cluster on this machine and keep it running until Ctrl-C")
    .option("--nodes <count>", `number of nodes, at most ${NODES_MAX}`, parseCount(1, NODES_MAX), 3)
    .option("--host <address>", "loopback address to listen on", "127.0.0.1")
    .option("--port <port>", "RESP port of the first node; the others follow", parsePort, 7001)
    .option("--http-port <port>", "HTTP port of the first node; the others follow", parsePort, 8001)
    .option(
      "--peer-port <port>",
      "port of the first node for its peers (default: RESP port + 10000)",
      parsePort,
    )
    .option(
      "--zones <names>",
      "zones of the nodes in turn, such as a,b,c; copies of a shard go to different ones",
      parseZones,
      [""],
    )
    .option(
      "--witness-port <port>",
      "port of the witness (default: first peer port - 1)",
      parsePort,
    );
  addClusterOptions(command, NODES_MAX)
    .option("--dir <path>", "state directory", DEFAULT_DIR)
    .option(
      "--data-dir <path>",
      "keep the data here, one directory a node, and go on with it at the next start",
    )
    .addOption(threadsOption("the cores of this machine but one, divided by the nodes"))
    .addOption(
      new Option("--log-level <level>", "of the nodes' logs")
        .choices(["trace", "debug", "info", "warn", "error"])
        .default("info"),
    )
    .option("--no-restart", "leave a node or the witness that ends by itself as it is")
    .option(
      "--bed",
      "give each process a network namespace and an address of its own, for: hothot check --nemesis net (Linux, root)",
    )
    .option("--detach", "return when the cluster is ready and leave it running")
    .option("--enable-faults", "for tests: let HTTP requests cut the links between nodes")
    .option("--enable-debug", "for tests: allow DEBUG SLEEP")
    .action(async (options: UpOptions) => {
      if (process.env[SUPERVISOR_MARK] !== undefined)
        process.exitCode = await upAsSupervisor(options, script);
      else if (options.detach === true) process.exitCode = await upDetached(options, script);
      else process.exitCode = await up(options, script, terminalSink());
    });
}

/** Where `up` tells how it goes: a terminal, or the process that waits for a detached supervisor. */
interface Sink {
  readonly progress: Report;
  readonly ready: (lines: readonly string[]) => void;
}

/**
 * Runs a cluster until it is told to stop.
 * @returns the exit status.
 * @throws CliError if it cannot be started; then nothing of it is left running.
 */
async function up(options: UpOptions, script: string, sink: Sink): Promise<number> {
  const design = await designCluster(options, script);
  removeRemains(options.dir, sink.progress);
  if (design.plan.bed === undefined) await checkPorts(options.host, design);
  const stopping = new AbortController();
  const urgent = new AbortController();
  const onSignal = (): void => {
    if (stopping.signal.aborted) urgent.abort();
    else sink.progress("Stopping; once more to kill at once.");
    stopping.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.on("SIGHUP", onSignal);
  const state = prepareState(options.dir, design);
  const endings = new Map<string, ProcessEnding>();
  try {
    if (state.bed !== undefined) await buildBed(state.bed);
    const count = state.nodes.length;
    if (design.isKept) {
      const { durability } = design.configuration.settings;
      sink.progress(
        `Going on with the cluster ${state.clusterId} in ${design.dataDir}: ` +
          `its nodes, addresses and settings (durability ${durability}) stay as they are`,
      );
    }
    sink.progress(
      `Starting ${count} ${count === 1 ? "node" : "nodes"} and a witness; logs are in ${state.dir}`,
    );
    await startCluster(state, {
      report: sink.progress,
      stopping: stopping.signal,
      formCluster: () => fillRegister(state, design.configuration, stopping.signal),
      endings,
    });
    sink.ready(welcome(state));
    await watchCluster(state, {
      report: sink.progress,
      stopping: stopping.signal,
      endings,
      restarts: options.restart,
    });
    return 0;
  } finally {
    const latest = latestState(state);
    await stopCluster(latest, sink.progress, urgent.signal);
    if (liveProcesses(latest).every((id) => id === "supervisor")) {
      if (state.bed !== undefined) removeBed(state.bed);
      removeClusterPlan(latest);
    }
    sink.progress("Stopped.");
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    process.off("SIGHUP", onSignal);
  }
}

/** What a detached supervisor tells the process that started it. */
type SupervisorNews =
  | { readonly kind: "progress"; readonly line: string }
  | { readonly kind: "ready"; readonly lines: readonly string[] }
  | { readonly kind: "failed"; readonly message: string; readonly exitCode: number };

/** The environment variable that tells a process that it is the detached supervisor. */
const SUPERVISOR_MARK = "HOTHOT_SUPERVISOR";

/**
 * Runs this very command again in the background, and returns when its cluster is ready.
 * @throws CliError if it cannot be started; then nothing of it is left running.
 */
async function upDetached(options: UpOptions, script: string): Promise<number> {
  const dir = resolve(options.dir);
  mkdirSync(dir, { recursive: true });
  const log = openSync(join(dir, SUPERVISOR_LOG), "a");
  const args = process.argv.slice(2).filter((arg) => arg !== "--detach");
  const child = spawn(process.execPath, [script, ...args], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
    env: { ...process.env, [SUPERVISOR_MARK]: "1" },
  });
  closeSync(log);
  const interrupt = (): void => {
    child.kill("SIGTERM");
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  try {
    return await new Promise<number>((resolveCode, reject) => {
      child.on("message", (news: SupervisorNews) => {
        switch (news.kind) {
          case "progress":
            printNote(news.line);
            break;
          case "ready":
            for (const line of news.lines) printLine(line);
            printLine("It runs in the background; stop it with: hothot down");
            child.disconnect();
            child.unref();
            resolveCode(0);
            break;
          case "failed":
            reject(new CliError(news.message, { exitCode: news.exitCode }));
            break;
        }
      });
      child.once("error", (error) => {
        reject(new CliError(`Cannot start the supervisor: ${error.message}`, { cause: error }));
      });
      child.once("exit", () => {
        const logFile = join(dir, SUPERVISOR_LOG);
        reject(new CliError(`The supervisor ended before the cluster was ready; see ${logFile}`));
      });
    });
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

/** Runs `up` as the background process, telling its parent while that listens. */
async function upAsSupervisor(options: UpOptions, script: string): Promise<number> {
  const tell = (news: SupervisorNews): void => {
    if (process.connected) process.send?.(news, undefined, undefined, () => undefined);
  };
  const sink: Sink = {
    progress: (line) => {
      printNote(line);
      tell({ kind: "progress", line });
    },
    ready: (lines) => tell({ kind: "ready", lines }),
  };
  try {
    return await up(options, script, sink);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    tell({ kind: "failed", message: error.message, exitCode: error.exitCode });
    return error.exitCode;
  } finally {
    if (process.connected) process.disconnect();
  }
}

function terminalSink(): Sink {
  return {
    progress: printNote,
    ready: (lines) => {
      for (const line of lines) printLine(line);
      printLine("Stop it with Ctrl-C.");
    },
  };
}

/** Everything about a cluster that can be known before anything of it is started. */
interface ClusterDesign {
  readonly plan: ClusterPlan;
  readonly configuration: Configuration;
  readonly witnessPort: number;
  /** Where the cluster's data is kept; it goes on with what is there. */
  readonly dataDir: string | undefined;
  /** Its configuration was there already. */
  readonly isKept: boolean;
}

/** Where the configuration is kept: beside the data, if there is any, for the one is nothing without the other. */
function registerFile({ dataDir, dir }: UpOptions): string {
  return join(resolve(dataDir ?? dir), REGISTER_FILE);
}

/**
 * The cluster whose data is in the data directory, if there is one; it keeps its name, nodes, ports and settings.
 * @throws CliError if its configuration cannot be read.
 */
async function keptCluster(options: UpOptions): Promise<Configuration | undefined> {
  if (options.dataDir === undefined) return undefined;
  try {
    return await loadDocument(registerFile(options));
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** @throws CliError if the options do not go together. */
function newCluster(options: UpOptions, hostOf: (id: string) => string): Configuration {
  if (options.dataDir === undefined && (options.durability ?? "none") !== "none") {
    throw new CliError(
      `--durability ${options.durability} needs a place for the data: give one with --data-dir.`,
    );
  }
  const durability = options.durability ?? (options.dataDir === undefined ? "none" : "async");
  const peerPort = options.peerPort ?? distantPort(options.port, options.nodes);
  return initialConfiguration({
    clusterId: randomBytes(8).toString("hex"),
    settings: settingsOf({ ...options, durability }, options.nodes),
    nodes: nodeIds(options.nodes).map((id, index) => ({
      id,
      host: hostOf(id),
      zone: options.zones[index % options.zones.length] ?? "",
      respPort: options.port + index,
      httpPort: options.httpPort + index,
      peerPort: peerPort + index,
    })),
  });
}

function parseZones(text: string): string[] {
  const zones = text.split(",");
  if (zones.every((zone) => /^[A-Za-z0-9_.-]{1,64}$/.test(zone))) return zones;
  throw new InvalidArgumentError("It has to be names of letters, digits, _ . and -, with commas.");
}

function nodeIds(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `n${index + 1}`);
}

/** @throws CliError if the options do not go together. */
async function designCluster(options: UpOptions, script: string): Promise<ClusterDesign> {
  const kept = await keptCluster(options);
  const peerPort =
    kept?.nodes[0]?.peerPort ?? options.peerPort ?? distantPort(options.port, options.nodes);
  const witnessPort = options.witnessPort ?? peerPort - 1;
  if (kept === undefined) checkPortRanges(options, peerPort, witnessPort);
  const ids = kept?.nodes.map((node) => node.id) ?? nodeIds(options.nodes);
  const bed = options.bed === true ? planBed([...ids, "witness"]) : undefined;
  const hostOf = (id: string): string =>
    bed === undefined ? options.host : memberOf(bed, id).address;
  const placeOf = (id: string): { readonly namespace?: string } =>
    bed === undefined ? {} : { namespace: memberOf(bed, id).namespace };
  const configuration = kept ?? newCluster(options, hostOf);
  const { clusterId, nodes: ports } = configuration;
  const dir = resolve(options.dir);
  const witnessUrl = `http://${hostOf("witness")}:${witnessPort}`;
  const plan: ClusterPlan = {
    format: 1,
    clusterId,
    ...(bed === undefined ? {} : { bed }),
    witness: {
      id: "witness",
      url: witnessUrl,
      ...placeOf("witness"),
      args: [
        script,
        "witness",
        ...["--cluster", clusterId],
        ...["--host", hostOf("witness")],
        ...["--port", String(witnessPort)],
        ...["--file", registerFile(options)],
        ...["--log-level", options.logLevel],
      ],
    },
    nodes: ports.map(({ incarnation: _, ...node }) => ({
      ...node,
      ...placeOf(node.id),
      args: [
        `--max-old-space-size=${heapMib(ports.length)}`,
        script,
        "node",
        ...["--id", node.id],
        ...["--register", witnessUrl],
        ...["--cluster", clusterId],
        ...["--secret-file", join(dir, SECRET_FILE)],
        ...(options.dataDir === undefined
          ? []
          : ["--data-dir", join(resolve(options.dataDir), node.id)]),
        ...["--threads", String(options.threads ?? threadsOf(ports.length))],
        ...["--log-level", options.logLevel],
        ...(options.enableFaults === true ? ["--enable-faults"] : []),
        ...(options.enableDebug === true ? ["--enable-debug"] : []),
      ],
    })),
  };
  const dataDir = options.dataDir === undefined ? undefined : resolve(options.dataDir);
  return { plan, configuration, witnessPort, dataDir, isKept: kept !== undefined };
}

/**
 * Writes the first configuration into the witness, as soon as that answers.
 * @throws CliError if it does not answer in time, or holds another cluster's configuration.
 */
async function fillRegister(
  state: ClusterState,
  configuration: Configuration,
  stopping: AbortSignal,
): Promise<void> {
  const register = new WitnessRegister({ url: state.witness.url, timeoutMs: REGISTER_MS_MAX });
  const deadline = performance.now() + WITNESS_START_MS_MAX;
  try {
    while (!stopping.aborted && standingOf(state, state.witness.id) !== "gone") {
      const result = await register.swap(configuration);
      if (result.outcome === "done") return;
      // A swap whose answer was lost meets its own document at the next attempt.
      if (result.outcome === "conflict") {
        if (result.current?.clusterId === configuration.clusterId) return;
        throw new CliError(`The witness at ${state.witness.url} belongs to another cluster.`);
      }
      if (performance.now() > deadline) {
        throw new CliError(`The witness does not answer; see ${logPath(state, state.witness.id)}`, {
          cause: result.cause,
        });
      }
      await pause(20);
    }
  } finally {
    await register.close();
  }
}

function distantPort(port: number, count: number): number {
  const above = port + PEER_PORT_OFFSET;
  return above + count <= PORT_MAX ? above : port - PEER_PORT_OFFSET;
}

function checkPortRanges(options: UpOptions, peerPort: number, witnessPort: number): void {
  const owners = new Map<number, string>();
  const claim = (first: number, count: number, option: string): void => {
    for (let port = first; port < first + count; port += 1) {
      if (port < 1 || port > PORT_MAX) {
        throw new CliError(
          `${option} ${first} with ${count} nodes needs port ${port}, which does not exist.`,
        );
      }
      const owner = owners.get(port);
      if (owner !== undefined) {
        throw new CliError(
          `Port ${port} is wanted by both ${owner} and ${option}; set one of them otherwise.`,
        );
      }
      owners.set(port, option);
    }
  };
  claim(options.port, options.nodes, "--port");
  claim(options.httpPort, options.nodes, "--http-port");
  claim(peerPort, options.nodes, "--peer-port");
  claim(witnessPort, 1, "--witness-port");
}

/** @throws CliError that names every port that cannot be opened. */
async function checkPorts(witnessHost: string, design: ClusterDesign): Promise<void> {
  const wanted = [
    ...design.plan.nodes.flatMap(({ id, host, respPort, httpPort, peerPort }) => [
      { host, port: respPort, what: `RESP of ${id}` },
      { host, port: httpPort, what: `HTTP of ${id}` },
      { host, port: peerPort, what: `peers of ${id}` },
    ]),
    { host: witnessHost, port: design.witnessPort, what: "witness" },
  ];
  const troubles: string[] = [];
  for (const { host, port, what } of wanted) {
    const trouble = await portTrouble(host, port);
    if (trouble !== undefined) troubles.push(`  ${host}:${port} (${what}) ${trouble}`);
  }
  if (troubles.length === 0) return;
  throw new CliError(
    `Not all ports are free:\n${troubles.join("\n")}\n` +
      "Stop what uses them (a cluster: hothot down), or choose others with --port, --http-port, --peer-port, --witness-port.",
  );
}

/**
 * Makes sure that no other cluster runs in the state directory. What a crash or a reboot left there is forgotten.
 * @throws CliError if anything of a cluster still runs.
 */
function removeRemains(dir: string, report: Report): void {
  if (!clusterExists(dir)) return;
  const state = readClusterState(dir);
  const alive = liveProcesses(state);
  if (alive.length > 0) {
    throw new CliError(
      `A cluster runs in ${state.dir} (${alive.join(", ")}). Stop it first: hothot down --dir ${dir}`,
    );
  }
  report(`Forgetting a cluster that ended without being stopped (${state.dir})`);
  if (state.bed !== undefined) removeBed(state.bed);
  removeClusterPlan(state);
}

/** Writes what the processes start from. Whatever a former cluster's register held must not come back. */
function prepareState(dir: string, design: ClusterDesign): ClusterState {
  mkdirSync(dir, { recursive: true });
  if (design.dataDir !== undefined) mkdirSync(design.dataDir, { recursive: true });
  if (design.dataDir === undefined)
    rmSync(join(dir, REGISTER_FILE), { force: true, recursive: true });
  ensureSecretFile(join(dir, SECRET_FILE));
  for (const id of [...design.plan.nodes.map((node) => node.id), design.plan.witness.id]) {
    rmSync(join(dir, `${id}.log`), { force: true });
  }
  const state = writeClusterPlan(dir, design.plan);
  forgetMarks(state);
  recordSupervisor(state);
  return state;
}

/** Heap limit of one node, MiB: an even share of the memory that this process may use. */
function heapMib(nodeCount: number): number {
  const constrained = process.constrainedMemory();
  const total = totalmem();
  const bytes = constrained > 0 && constrained < total ? constrained : total;
  return Math.max(HEAP_MIB_MIN, Math.floor((bytes * HEAP_SHARE) / nodeCount / 2 ** 20));
}

function welcome(state: ClusterState): string[] {
  const rows = state.nodes.map((node) => [
    node.id,
    `${node.host}:${node.respPort}`,
    `http://${node.host}:${node.httpPort}`,
    `${node.host}:${node.peerPort}`,
  ]);
  const first = state.nodes[0];
  const last = state.nodes.at(-1);
  return [
    "",
    ...formatTable(["node", "RESP", "HTTP", "peers"], rows),
    `witness at ${state.witness.url}`,
    "",
    `Try: redis-cli ${hostOption(first)}-p ${first?.respPort} set a 1; redis-cli ${hostOption(last)}-p ${last?.respPort} get a`,
    "",
  ];
}

/** `redis-cli` asks this machine's loopback address unless it is told otherwise. */
function hostOption(node: NodePlan | undefined): string {
  return node === undefined || node.host === "127.0.0.1" ? "" : `-h ${node.host} `;
}
