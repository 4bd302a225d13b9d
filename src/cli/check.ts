/**
 * `hothot check`: the proof as a product. Stock clients work on every node while faults happen; what they asked and what they
 * were told is judged afterwards. Exit status 0 only if everything holds, 1 if something does not, 2 if the check could not be
 * carried out.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  HistoryFormatError,
  type OperationRecord,
  readHistory,
  type Value,
  writeHistory,
} from "../history/history.ts";
import { describeJudgement, type Judgement, judge } from "../history/judge.ts";
import type { FinalState } from "../history/lost-writes.ts";
import { Prng } from "../kit/prng.ts";
import { runClient, type Target } from "./check/client.ts";
import { Connection } from "./check/connection.ts";
import { FAILOVER_KINDS, type FaultChoice, type FaultKind } from "./check/fault-kinds.ts";
import { longestGap, successesOf } from "./check/gaps.ts";
import { diskFaultTrouble, isOfDisk } from "./check/machine-faults.ts";
import { type Fault, Nemesis, WHOLE_MS_MAX } from "./check/nemesis.ts";
import { Recorder } from "./check/recorder.ts";
import {
  type CheckReport,
  type ClientError,
  countOperations,
  describeError,
  describeOffline,
  describeReport,
  type FaultReport,
  reportFaults,
  reportKinds,
  unexplained,
} from "./check/report.ts";
import { type KeyGroup, layOutKeys, Workload } from "./check/workload.ts";
import { CliError } from "./cli-error.ts";
import { type ClusterState, readClusterState } from "./cluster-state.ts";
import { type Address, DEFAULT_DIR } from "./options.ts";
import { printLine, printNote } from "./output.ts";
import { isErrorWithCode, pause } from "./processes.ts";

/** Exit status. */
const VIOLATED = 1;

const PROGRESS_MS = 5_000;
/** How long each final read is tried, ms. */
const FINAL_READ_MS_MAX = 20_000;
/** Clients work on for so long after the last fault, so that what it broke shows, ms. */
const AFTERMATH_MS = 1_000;
const ERRORS_SHOWN = 10;
/** Options of the command, as commander gives them. */
export interface CheckOptions {
  readonly duration: number;
  readonly clients: number;
  readonly keys: number;
  readonly thinkMs: number;
  readonly timeoutMs: number;
  readonly maxGapMs: number;
  readonly nemesis?: FaultChoice;
  readonly target?: readonly Address[];
  readonly seed?: number;
  readonly json?: boolean;
  readonly history?: string;
  readonly judge?: string;
  readonly dir: string;
}

/**
 * Judges a saved history.
 * @returns the exit status.
 * @throws CliError if the file cannot be read, or holds no history.
 */
export function judgeFile(path: string, options: CheckOptions): number {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const why = isErrorWithCode(error) ? error.code : String(error);
    throw new CliError(`Cannot read ${path}: ${why}`, { cause: error });
  }
  let history: OperationRecord[];
  let finals: FinalState[];
  try {
    const read = readHistory(text);
    history = read.history;
    finals = parseFinals(read.note["finals"]);
  } catch (error) {
    if (!(error instanceof HistoryFormatError)) throw error;
    throw new CliError(`${path}: ${error.message}`, { cause: error });
  }
  const judgement = judge(history, { finals });
  if (options.json === true) {
    printLine(
      JSON.stringify({
        verdict: judgement.verdict,
        operations: countOperations(history),
        components: judgement.components,
        steps: judgement.steps,
        acknowledgedWritesMissing: judgement.lostWrites.length,
        explanation: describeJudgement(judgement),
      }),
    );
  } else {
    for (const line of describeOffline(history, judgement)) printLine(line);
  }
  return judgement.verdict === "ok" ? 0 : VIOLATED;
}

/** Everything that a run needs to know before it begins. */
interface Plan {
  readonly seed: number;
  /** Gives each client its own. */
  readonly prng: Prng;
  readonly options: CheckOptions;
  readonly targets: readonly Target[];
  readonly groups: readonly KeyGroup[];
  readonly recorder: Recorder;
  /** Wall clock when the run began, ms since 1970. */
  readonly startedWallMs: number;
  readonly nemesis: Nemesis | undefined;
  /** The faults that it makes. */
  readonly kinds: readonly FaultKind[];
  /** Name of the shard, or where shards are unknown the slot, of a key. */
  readonly groupOf: (key: string) => string | undefined;
  readonly say: (line: string) => void;
}

/** What happened while the clients worked. */
interface Run {
  readonly errors: readonly ClientError[];
  readonly faults: readonly Fault[];
  readonly finals: readonly FinalState[];
  /** Reads that no attempt completed. */
  readonly unread: readonly string[];
  readonly endMs: number;
}

/**
 * Carries out a check.
 * @param script path of this program.
 * @returns the exit status.
 * @throws CliError if it cannot be carried out.
 */
export async function check(options: CheckOptions, script: string): Promise<number> {
  const plan = await makePlan(options, script);
  const stopping = new AbortController();
  const onSignal = (): void => stopping.abort();
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    const run = await carryOut(plan, stopping.signal);
    return await conclude(plan, run);
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

async function makePlan(options: CheckOptions, script: string): Promise<Plan> {
  const seed = options.seed ?? Date.now() % 2 ** 31;
  const say = options.json === true ? printNote : printLine;
  const prng = new Prng(seed);
  const nemesisPrng = prng.fork();
  const recorder = new Recorder();
  let state: ClusterState | undefined;
  if (options.target === undefined) state = readClusterState(options.dir);
  else if (options.nemesis !== undefined) {
    throw new CliError("Faults need a cluster that hothot up runs here: leave --target out.");
  }
  const kinds = state === undefined ? [] : await possibleFaults(options.nemesis, state, say);
  const targets =
    state === undefined
      ? (options.target ?? []).map((each) => ({ ...each, id: `${each.host}:${each.port}` }))
      : state.nodes.map((node) => ({ id: node.id, host: node.host, port: node.respPort }));
  const report = (line: string): void => say(`${seconds(recorder.now())}  ${line}`);
  const nemesis =
    state === undefined
      ? undefined
      : new Nemesis({ state, script, kinds, prng: nemesisPrng, now: () => recorder.now(), report });
  await nemesis?.healNetwork();
  for (const target of targets) await probe(target);
  if (nemesis !== undefined && !(await nemesis.untilWhole())) {
    throw new CliError("The cluster is not ready; see: hothot status");
  }
  const shards = nemesis === undefined ? [] : await nemesis.shards();
  // The time makes the keys those of this run alone: all are missing when it begins.
  const prefix = `check.${seed.toString(36)}.${Date.now().toString(36)}`;
  const groups = layOutKeys(options.keys, prefix, shards);
  const names = new Map<string, string>();
  for (const group of groups) {
    const shard = shards.find(
      (each) => each.firstSlot <= group.slot && group.slot <= each.lastSlot,
    );
    const name = shard === undefined ? `slot ${group.slot}` : shardName(shard.shard);
    for (const key of group.keys) names.set(key.name, name);
  }
  say(
    `seed ${seed}: ${options.clients} clients, ${options.keys} keys, ${options.duration} s, ` +
      `${targets.map((target) => target.id).join(" ")}, ` +
      (kinds.length === 0 ? "no faults" : `faults: ${kinds.join(", ")}`),
  );
  return {
    seed,
    prng,
    options,
    targets,
    groups,
    recorder,
    startedWallMs: Date.now(),
    nemesis,
    kinds,
    groupOf: (key) => names.get(key),
    say,
  };
}

/**
 * @returns the faults that were chosen and can be made; says which others were left out.
 * @throws CliError if one cannot be made that was asked for by its own name.
 */
async function possibleFaults(
  choice: FaultChoice | undefined,
  state: ClusterState,
  say: (line: string) => void,
): Promise<readonly FaultKind[]> {
  const possible: FaultKind[] = [];
  const chosen = choice?.kinds ?? [];
  const diskTrouble = chosen.some(isOfDisk) ? await diskFaultTrouble(state) : undefined;
  for (const kind of chosen) {
    const trouble = isOfDisk(kind) ? diskTrouble : undefined;
    if (trouble === undefined) possible.push(kind);
    else if (choice?.optional.includes(kind) === true) say(`without ${kind}: ${trouble}`);
    else throw new CliError(`${kind} cannot be made here: ${trouble}`);
  }
  return possible;
}

async function carryOut(plan: Plan, interrupted: AbortSignal): Promise<Run> {
  const { options, recorder, nemesis, say } = plan;
  const errors: ClientError[] = [];
  const done = new AbortController();
  const clients = Array.from({ length: options.clients }, (_, index) => {
    const own = plan.prng.fork();
    return runClient({
      targets: plan.targets,
      first: index,
      thinkMs: options.thinkMs,
      timeoutMs: options.timeoutMs,
      prng: own,
      workload: new Workload(own.fork(), plan.groups, index),
      recorder,
      signal: done.signal,
      onError: (node, from, why) => errors.push({ node, from, to: recorder.now(), why }),
    });
  });
  const progress = setInterval(() => {
    const unclear = errors.length === 0 ? "" : `, ${errors.length} not answered with success`;
    say(`${seconds(recorder.now())}  ${recorder.history.length} operations${unclear}`);
  }, PROGRESS_MS);
  try {
    const untilMs = recorder.now() + options.duration * 1000;
    if (nemesis !== undefined && plan.kinds.length > 0) {
      await nemesis.run(untilMs, interrupted);
    }
    while (recorder.now() < untilMs && !interrupted.aborted) await pause(50);
    if (nemesis !== undefined && nemesis.faults.length > 0) {
      await pause(AFTERMATH_MS);
      await nemesis.collectFailovers();
    }
  } finally {
    clearInterval(progress);
    done.abort();
    await Promise.all(clients);
  }
  const endMs = recorder.now();
  say(`${seconds(endMs)}  clients have stopped; reading every key at every node`);
  const { finals, unread } = await readFinals(plan);
  return { errors, faults: nemesis?.faults ?? [], finals, unread, endMs };
}

/** Reads every key at every node, as operations of the history like any other. */
async function readFinals(
  plan: Plan,
): Promise<{ readonly finals: FinalState[]; readonly unread: string[] }> {
  const keys = plan.groups.flatMap((group) => group.keys.map((key) => key.name));
  const finals: FinalState[] = [];
  const unread: string[] = [];
  for (const target of plan.targets) {
    const values = new Map<string, Value>();
    const deadline = performance.now() + FINAL_READ_MS_MAX;
    let connection: Connection | undefined;
    let session = plan.recorder.newSession();
    for (const key of keys) {
      while (!values.has(key) && performance.now() < deadline) {
        if (connection === undefined || !connection.isOpen) {
          connection = await Connection.open(target, 2).catch(() => undefined);
          session = plan.recorder.newSession();
        }
        if (connection !== undefined) {
          const invokedAt = plan.recorder.now();
          const action = { kind: "get", key } as const;
          const attempt = await connection.attempt(action, plan.options.timeoutMs, false);
          plan.recorder.record({ session, node: target.id, invokedAt, action }, attempt);
          if (attempt.outcome === "ok") {
            if (attempt.result === null || typeof attempt.result === "string") {
              values.set(key, attempt.result);
            }
            break;
          }
        }
        await pause(100);
      }
      if (!values.has(key)) unread.push(`${key} at ${target.id}`);
    }
    connection?.close();
    finals.push({ node: target.id, values });
  }
  return { finals, unread };
}

async function conclude(plan: Plan, run: Run): Promise<number> {
  const { options, recorder, say } = plan;
  const history = recorder.history;
  const counted = countOperations(history);
  if ((counted.byOutcome["ok"] ?? 0) === 0) {
    throw new CliError(
      `No operation succeeded${run.errors[0] === undefined ? "" : `: ${describeError(run.errors[0])}`}`,
    );
  }
  if (plan.kinds.length > 0 && run.faults.length === 0) {
    throw new CliError("The time was too short for a fault; give a longer --duration.");
  }
  say(`${seconds(recorder.now())}  judging ${history.length} operations`);
  const begun = performance.now();
  const judgement = judge(history, { finals: run.finals });
  const judgedMs = performance.now() - begun;

  const successes = successesOf(history, plan.groupOf);
  const faults = reportFaults(run.faults, successes, run.errors, shardName, run.endMs);
  const violations = findViolations(plan, run, judgement, faults);
  const file = saveHistory(plan, run, violations.length > 0);
  // Connecting is no gap, so the count begins with the first success.
  const firstMs = Math.min(...[...successes.byNode.values()].map((times) => times[0] ?? 0));
  const longest: Record<string, number> = {};
  for (const group of new Set(plan.groups.map((each) => plan.groupOf(each.keys[0]?.name ?? "")))) {
    if (group === undefined) continue;
    longest[group] = longestGap(successes.byGroup.get(group) ?? [], firstMs, run.endMs);
  }
  const report: CheckReport = {
    seed: plan.seed,
    verdict: violations.length === 0 ? "ok" : "violated",
    violations,
    durationMs: run.endMs,
    operations: {
      total: history.length,
      perSecond: Math.round(history.length / (run.endMs / 1000)),
      ...counted,
    },
    judgement: {
      verdict: judgement.verdict,
      components: judgement.components,
      steps: judgement.steps,
      ms: judgedMs,
      explanation: describeJudgement(judgement),
    },
    acknowledgedWritesMissing: judgement.lostWrites.length,
    longestGapMs: longest,
    faults,
    kinds: reportKinds(faults),
    failovers: plan.nemesis?.failoversSince(plan.startedWallMs) ?? [],
    errors: tally(run.errors),
    history: file,
    reproduce: reproduction(plan),
  };
  if (options.json === true) printLine(JSON.stringify(report, undefined, 2));
  else for (const line of ["", ...describeReport(report)]) printLine(line);
  return violations.length === 0 ? 0 : VIOLATED;
}

function findViolations(
  plan: Plan,
  run: Run,
  judgement: Judgement,
  faults: readonly FaultReport[],
): string[] {
  const violations: string[] = [];
  for (const { keys } of judgement.violations) {
    violations.push(
      keys.length > 1
        ? `${keys.join(" ")}: not strictly serializable`
        : `${keys.join(" ")}: not linearizable`,
    );
  }
  if (judgement.lostWrites.length > 0) {
    violations.push(`${judgement.lostWrites.length} acknowledged writes are missing`);
  }
  if (judgement.undecided.length > 0) {
    violations.push(`${judgement.undecided.length} keys could not be judged within the bound`);
  }
  if (run.unread.length > 0) {
    violations.push(`${run.unread.length} final reads failed, such as of ${run.unread[0]}`);
  }
  for (const fault of faults) {
    if (fault.readyAt === undefined) {
      violations.push(
        `after ${fault.what} the cluster was not whole within ${WHOLE_MS_MAX / 1000} s`,
      );
    }
    const first = fault.unexplained[0];
    if (first !== undefined) {
      violations.push(
        `${fault.unexplained.length} errors that ${fault.what} does not explain, the first: ${describeError(first)}`,
      );
    }
  }
  if (plan.kinds.length > 0) {
    const strays = unexplained(run.errors, run.faults);
    const first = strays[0];
    if (first !== undefined) {
      violations.push(
        `${strays.length} errors while there was no fault, the first: ${describeError(first)}`,
      );
    }
  }
  const bound = plan.options.maxGapMs;
  for (const { kind, medianGapMs } of reportKinds(faults)) {
    if (bound > 0 && FAILOVER_KINDS.includes(kind) && medianGapMs >= bound) {
      violations.push(
        `the median gap of a ${kind} is ${Math.round(medianGapMs)} ms, not under ${bound} ms`,
      );
    }
  }
  return violations;
}

/** Saves the history where the user wants it, and after a violation in any case. @returns the file. */
function saveHistory(plan: Plan, run: Run, isViolated: boolean): string | undefined {
  const { options } = plan;
  const wanted = options.history ?? (isViolated ? `hothot-check-${plan.seed}.history` : undefined);
  if (wanted === undefined) return undefined;
  const path =
    options.history === undefined && options.target === undefined
      ? join(options.dir, wanted)
      : wanted;
  const note = {
    seed: plan.seed,
    reproduce: reproduction(plan),
    faults: run.faults,
    finals: run.finals.map((final) => ({
      node: final.node,
      values: Object.fromEntries(final.values),
    })),
  };
  try {
    writeFileSync(path, writeHistory(plan.recorder.history, note));
  } catch (error) {
    throw new CliError(`Cannot save the history to ${path}: ${String(error)}`, { cause: error });
  }
  return path;
}

function reproduction(plan: Plan): string {
  const { options } = plan;
  const parts = [
    "hothot check",
    `--seed ${plan.seed}`,
    `--duration ${options.duration}`,
    `--clients ${options.clients}`,
    `--keys ${options.keys}`,
    `--think-ms ${options.thinkMs}`,
  ];
  if (plan.kinds.length > 0) parts.push(`--nemesis ${plan.kinds.join(",")}`);
  if (options.target !== undefined) {
    parts.push(`--target ${options.target.map((each) => `${each.host}:${each.port}`).join(",")}`);
  } else if (options.dir !== DEFAULT_DIR) parts.push(`--dir ${options.dir}`);
  return parts.join(" ");
}

/** Checks that a server is there and speaks. */
async function probe(target: Target): Promise<void> {
  try {
    (await Connection.open(target, 2)).close();
  } catch (error) {
    const why = error instanceof Error ? error.message || error.name : String(error);
    throw new CliError(`No Redis server answers at ${target.host}:${target.port} (${why}).`, {
      cause: error,
    });
  }
}

function parseFinals(value: unknown): FinalState[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new HistoryFormatError(`line 1: "finals" is not an array`);
  return value.map((item: unknown) => {
    if (
      typeof item !== "object" ||
      item === null ||
      !("node" in item) ||
      typeof item.node !== "string" ||
      !("values" in item) ||
      typeof item.values !== "object" ||
      item.values === null
    ) {
      throw new HistoryFormatError(`line 1: "finals" does not hold nodes with values`);
    }
    const values = new Map<string, Value>();
    for (const [key, held] of Object.entries(item.values)) {
      if (held === null || typeof held === "string") values.set(key, held);
    }
    return { node: item.node, values };
  });
}

function tally(errors: readonly ClientError[]): { why: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const { node, why } of errors) {
    const line = `${node}: ${why}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts]
    .map(([why, count]) => ({ why, count }))
    .sort((left, right) => right.count - left.count)
    .slice(0, ERRORS_SHOWN);
}

function shardName(shard: number): string {
  return `shard ${shard}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(6)} s`;
}
