/**
 * `hothot afflict`: makes a process slow, or its disk slow or broken, until standard input ends. However it is told to end, the
 * process runs on afterwards.
 */

import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import { parseCount } from "../options.ts";
import { printLine } from "../output.ts";
import { type ProcessIdentity, processStanding, signalProcess } from "../processes.ts";
import { type CallFault, holdCalls, SYNCS } from "./hold-calls.ts";

/** What is wrong with a machine: its process has the processor in turns only, or its disk is slow or broken. */
export type Affliction =
  | { readonly kind: "in-turns"; readonly stoppedMs: number; readonly runningMs: number }
  | { readonly kind: "syncs"; readonly fault: CallFault };

interface AfflictOptions {
  readonly pid: number;
  readonly startedAt: string;
  readonly stoppedMs?: number;
  readonly runningMs?: number;
  readonly syncDelayMs?: number;
  readonly syncError?: boolean;
}

const MS_MAX = 3_600_000;

/** Adds the command `afflict`, which `hothot check` runs; nobody else needs it. */
export function addAfflictCommand(program: Command): void {
  program
    .command("afflict", { hidden: true })
    .description("make a process slow, or its disk slow or broken, until standard input ends")
    .requiredOption("--pid <pid>", "the process", parseCount(1, 2 ** 31))
    .requiredOption("--started-at <moment>", "when that was started, in the system's words")
    .option("--stopped-ms <ms>", "it is stopped for so long", parseCount(1, MS_MAX))
    .option("--running-ms <ms>", "and then runs for so long", parseCount(1, MS_MAX))
    .option("--sync-delay-ms <ms>", "each of its syncs takes so much longer", parseCount(1, MS_MAX))
    .option("--sync-error", "each of its syncs fails with EIO")
    .action((options: AfflictOptions) => afflict(options));
}

/** @returns the command's arguments. */
export function afflictArguments(identity: ProcessIdentity, affliction: Affliction): string[] {
  const args = ["afflict", "--pid", String(identity.pid), "--started-at", identity.startedAt];
  if (affliction.kind === "in-turns") {
    const { stoppedMs, runningMs } = affliction;
    return [...args, "--stopped-ms", String(stoppedMs), "--running-ms", String(runningMs)];
  }
  const { fault } = affliction;
  if ("error" in fault) return [...args, "--sync-error"];
  return [...args, "--sync-delay-ms", String(fault.delayMs)];
}

async function afflict(options: AfflictOptions): Promise<void> {
  const { pid, startedAt, stoppedMs, runningMs, syncDelayMs, syncError } = options;
  const identity = { pid, startedAt };
  if (processStanding(identity) === "gone") throw new CliError(`There is no such process ${pid}.`);
  const ended = endOfInput();
  if (stoppedMs !== undefined && runningMs !== undefined) {
    printLine("begun");
    await stopInTurns(identity, { stoppedMs, runningMs }, ended);
    return;
  }
  if (syncError !== true && syncDelayMs === undefined)
    throw new CliError("Nothing is to be wrong.");
  const release = await holdCalls(
    pid,
    SYNCS,
    syncError === true ? { error: "EIO" } : { delayMs: syncDelayMs ?? 0 },
  );
  printLine("begun");
  await untilAborted(ended);
  await release();
}

async function stopInTurns(
  identity: ProcessIdentity,
  turns: { readonly stoppedMs: number; readonly runningMs: number },
  ended: AbortSignal,
): Promise<void> {
  try {
    while (!ended.aborted && signalProcess(identity, "SIGSTOP")) {
      await pauseUnless(ended, turns.stoppedMs);
      signalProcess(identity, "SIGCONT");
      await pauseUnless(ended, turns.runningMs);
    }
  } finally {
    signalProcess(identity, "SIGCONT");
  }
}

function endOfInput(): AbortSignal {
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
    // Whoever told it by a signal may never close it, and an open input would keep this process.
    process.stdin.destroy();
  };
  process.stdin.on("end", end).on("error", end).resume();
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, end);
  return ending.signal;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** @returns after `ms` milliseconds, or as soon as the signal comes. */
function pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}
