/** `npm run sim -- --seeds N --from S`: runs a range of seeds and tells of the first that fails. */

import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Mutant } from "../src/replica/mutants.ts";
import { MUTANTS } from "../src/replica/mutants.ts";
import type { Plan } from "./run.ts";
import { run } from "./run.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import type { Scenario } from "./scenarios/scenario.ts";

const HELP = `Runs whole clusters under seeds, in virtual time, and judges what their clients saw.

  npm run sim -- --seeds N --from S     seeds S to S+N-1; stops at the first that fails, with its trace
  npm run sim -- --seed S               one seed, with its trace
  npm run sim -- --scenario NAME        a scenario instead of the general mix: its own seeds, or those given

  --seeds N      how many (default 1000)
  --from S       the first (default 1)
  --seed S       one seed only, traced
  --jobs J       processes (default: one a core)
  --mutant NAME  break one rule, to see it found: ${Object.keys(MUTANTS).join(", ")}
  --scenario NAME  ${SCENARIOS.map(({ name }) => name).join(", ")}
  --quiet        no progress
`;

const TRACE_LINES = 400;
/** More undecided histories than that are a fault of the run. */
const UNDECIDED_SHARE_MAX = 0.002;

function main(): void {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      from: { type: "string", default: "1" },
      seed: { type: "string" },
      jobs: { type: "string", default: String(availableParallelism()) },
      mutant: { type: "string" },
      scenario: { type: "string" },
      quiet: { type: "boolean", default: false },
      worker: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const subject: Subject = {
    mutant: parseMutant(values.mutant),
    scenario: parseScenario(values.scenario),
  };
  if (values.seed !== undefined) {
    process.exitCode = traceOne(number(values.seed, "--seed"), subject) ? 0 : 1;
    return;
  }
  const from = number(values.from, "--from");
  const seeds = number(values.seeds ?? String(subject.scenario?.seeds ?? 1_000), "--seeds");
  if (values.worker !== undefined) {
    work({ from, seeds, step: number(values.jobs, "--jobs"), ...subject });
    return;
  }
  runAll({ from, seeds, jobs: number(values.jobs, "--jobs"), ...subject, isQuiet: values.quiet });
}

function number(text: string, option: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`${option} takes a whole number, not ${text}\n`);
  process.exit(2);
}

function parseMutant(name: string | undefined): Mutant | undefined {
  if (name === undefined) return undefined;
  if (name in MUTANTS) return name as Mutant;
  process.stderr.write(`there is no mutant ${name}; see --help\n`);
  process.exit(2);
}

function parseScenario(name: string | undefined): Scenario | undefined {
  if (name === undefined) return undefined;
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (scenario !== undefined) return scenario;
  process.stderr.write(`there is no scenario ${name}; see --help\n`);
  process.exit(2);
}

/** What is run under every seed. */
interface Subject {
  readonly mutant: Mutant | undefined;
  /** Undefined for the general mix. */
  readonly scenario: Scenario | undefined;
}

function planOf({ scenario }: Subject): Plan {
  return scenario?.plan ?? {};
}

/** The options that select the subject. */
function argumentsOf({ mutant, scenario }: Subject): string[] {
  return [
    ...(scenario === undefined ? [] : ["--scenario", scenario.name]),
    ...(mutant === undefined ? [] : ["--mutant", mutant]),
  ];
}

/** @returns whether the seed passes. */
function traceOne(seed: number, subject: Subject): boolean {
  const lines: string[] = [];
  const { mutant } = subject;
  const result = run({ seed, plan: planOf(subject), mutant, trace: (line) => lines.push(line) });
  const cut = Math.max(0, lines.length - (result.faults.length === 0 ? 40 : TRACE_LINES * 10));
  process.stdout.write(`${lines.slice(cut).join("\n")}\n`);
  report(result.faults, seed, subject);
  return result.faults.length === 0;
}

function report(faults: readonly string[], seed: number, subject: Subject): void {
  const again = ["npm run sim -- --seed", seed, ...argumentsOf(subject)].join(" ");
  if (faults.length === 0) process.stdout.write(`seed ${seed} passes\n`);
  else {
    process.stdout.write(
      `seed ${seed} FAILS:\n${faults.join("\n")}\n\nto see it again: ${again}\n`,
    );
  }
}

interface Range extends Subject {
  readonly from: number;
  readonly seeds: number;
}

/** What some seeds came to. */
interface Tally {
  done: number;
  operations: number;
  answered: number;
  virtualMs: number;
  /** Seeds whose history the checker could not decide within its bound. */
  undecided: number[];
  failed: number[];
}

function emptyTally(): Tally {
  return { done: 0, operations: 0, answered: 0, virtualMs: 0, undecided: [], failed: [] };
}

function add(to: Tally, more: Tally): void {
  to.done += more.done;
  to.operations += more.operations;
  to.answered += more.answered;
  to.virtualMs += more.virtualMs;
  to.undecided.push(...more.undecided);
  to.failed.push(...more.failed);
}

/** One process's share: every `step`th seed. Tells its parent in JSON lines. */
function work(range: Range & { readonly step: number }): void {
  let tally = emptyTally();
  const tell = (): void => {
    process.stdout.write(`${JSON.stringify(tally)}\n`);
    tally = emptyTally();
  };
  for (let seed = range.from; seed < range.from + range.seeds; seed += range.step) {
    const result = run({ seed, plan: planOf(range), mutant: range.mutant });
    tally.done += 1;
    tally.operations += result.operations;
    tally.answered += result.answered;
    tally.virtualMs += result.virtualMs;
    if (result.isUndecided) tally.undecided.push(seed);
    else if (result.faults.length > 0) {
      tally.failed.push(seed);
      break;
    }
    if (tally.done % 50 === 0) tell();
  }
  tell();
}

function runAll(options: Range & { readonly jobs: number; readonly isQuiet: boolean }): void {
  const { seeds, jobs, isQuiet } = options;
  const startedMs = Date.now();
  const tally = emptyTally();
  let shownMs = startedMs;
  let running = 0;
  let isBroken = false;
  const children = Array.from({ length: Math.max(1, jobs) }, (_, index) => {
    const from = options.from + index;
    const share = ["--from", String(from), "--seeds", String(Math.max(0, seeds - index))];
    const args = [...share, "--jobs", String(jobs), "--worker", "1", ...argumentsOf(options)];
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    running += 1;
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) add(tally, JSON.parse(line) as Tally);
      if (tally.failed.length > 0) for (const other of children) other.kill();
      if (!isQuiet && Date.now() - shownMs > 5_000) {
        shownMs = Date.now();
        const perSecond = (tally.done / (shownMs - startedMs)) * 1_000;
        process.stderr.write(`${tally.done} of ${seeds} seeds, ${perSecond.toFixed(0)} a second\n`);
      }
    });
    child.on("close", (code, signal) => {
      running -= 1;
      if (code !== 0 && signal === null) isBroken = true;
      if (running === 0) finish(options, { tally, isBroken, tookMs: Date.now() - startedMs });
    });
    return child;
  });
}

function finish(
  options: Range,
  end: { readonly tally: Tally; readonly isBroken: boolean; readonly tookMs: number },
): void {
  const { from, seeds } = options;
  const { tally, isBroken, tookMs } = end;
  const [first] = tally.failed.sort((left, right) => left - right);
  if (first !== undefined) traceOne(first, options);
  const { done, operations, answered, virtualMs, undecided } = tally;
  const isWrong = isBroken || first !== undefined || undecided.length > done * UNDECIDED_SHARE_MAX;
  if (isWrong) process.exitCode = 1;
  const seconds = (tookMs / 1_000).toFixed(1);
  const hours = (virtualMs / 3_600_000).toFixed(1);
  process.stdout.write(
    `seeds ${from} to ${from + seeds - 1}: ${done} run in ${seconds} s, ${operations} operations (${answered} answered), ${hours} virtual hours\n`,
  );
  if (undecided.length > 0) {
    process.stdout.write(
      `${undecided.length} undecided within the checker's bound, neither passed nor failed: ${undecided.join(" ")}\n`,
    );
  }
  if (isBroken) process.stdout.write("a worker process failed; its error is above\n");
  const failed = tally.failed.length;
  process.stdout.write(`${done - undecided.length - failed} passed, ${failed} failed\n`);
}

main();
