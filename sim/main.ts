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

/** One process's share: every `step`th seed. Tells its parent in JSON lines. */
function work(range: Range & { readonly step: number }): void {
  let operations = 0;
  let answered = 0;
  let virtualMs = 0;
  let done = 0;
  let failed: number | undefined;
  const tell = (line: Told): void => {
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  for (let seed = range.from; seed < range.from + range.seeds; seed += range.step) {
    const result = run({ seed, plan: planOf(range), mutant: range.mutant });
    operations += result.operations;
    answered += result.answered;
    virtualMs += result.virtualMs;
    done += 1;
    if (result.faults.length > 0) {
      failed = seed;
      break;
    }
    if (done % 50 === 0) {
      tell({ done, operations, answered, virtualMs });
      done = 0;
      operations = 0;
      answered = 0;
      virtualMs = 0;
    }
  }
  const rest = { done, operations, answered, virtualMs };
  tell(failed === undefined ? rest : { ...rest, failed });
}

interface Told {
  readonly failed?: number;
  readonly done?: number;
  readonly operations?: number;
  readonly answered?: number;
  readonly virtualMs?: number;
}

function runAll(options: Range & { readonly jobs: number; readonly isQuiet: boolean }): void {
  const { from, seeds, jobs, isQuiet } = options;
  const startedMs = Date.now();
  const failed: number[] = [];
  let done = 0;
  let operations = 0;
  let answered = 0;
  let virtualMs = 0;
  let running = 0;
  let shownMs = Date.now();
  const children = Array.from({ length: Math.max(1, jobs) }, (_, index) => {
    const share = ["--from", String(from + index), "--seeds", String(Math.max(0, seeds - index))];
    const args = [...share, "--jobs", String(jobs), "--worker", "1", ...argumentsOf(options)];
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    running += 1;
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const told = JSON.parse(line) as Told;
        if (told.failed !== undefined) failed.push(told.failed);
        done += told.done ?? 0;
        operations += told.operations ?? 0;
        answered += told.answered ?? 0;
        virtualMs += told.virtualMs ?? 0;
      }
      if (failed.length > 0) for (const other of children) other.kill();
      if (!isQuiet && Date.now() - shownMs > 5_000) {
        shownMs = Date.now();
        const perSecond = (done / (shownMs - startedMs)) * 1_000;
        process.stderr.write(`${done} of ${seeds} seeds, ${perSecond.toFixed(0)} a second\n`);
      }
    });
    child.on("exit", (code, signal) => {
      running -= 1;
      const isBroken = code !== 0 && signal === null;
      if (isBroken) process.exitCode = 1;
      if (running === 0) finish();
    });
    return child;
  });
  const finish = (): void => {
    const seconds = ((Date.now() - startedMs) / 1_000).toFixed(1);
    const first = failed.sort((a, b) => a - b)[0];
    if (first !== undefined) {
      traceOne(first, options);
      process.exitCode = 1;
    }
    const isBroken = process.exitCode === 1 && first === undefined;
    process.stdout.write(
      `seeds ${from} to ${from + seeds - 1}: ${done} run in ${seconds} s, ${operations} operations (${answered} answered), ${(virtualMs / 3_600_000).toFixed(1)} virtual hours\n`,
    );
    if (isBroken) process.stdout.write("a worker process failed; its error is above\n");
    process.stdout.write(
      `${first === undefined && !isBroken ? done : done - 1} passed, ${first === undefined && !isBroken ? 0 : 1} failed\n`,
    );
  };
}

main();
