/**
 * Processes by identity. A pid alone names nobody for long: the system gives it to a stranger once its process has
 * ended. So a process is remembered with the moment of its start, and is never signalled unless both still agree.
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process that may have ended meanwhile. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it was started, in the system's own words; only ever compared for equality. */
  readonly startedAt: string;
}

/** How a process stands. A paused one is alive but is not scheduled. */
export type ProcessStanding = "running" | "paused" | "gone";

/** How a process has ended: with a status, or by a signal. */
export interface ProcessEnding {
  readonly pid: number;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** @returns the identity of the live process `pid`, or undefined if there is none. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const facts = readFacts(pid);
  return facts === undefined ? undefined : { pid, startedAt: facts.startedAt };
}

/** @returns how this very process stands; a stranger under the same pid counts as gone. */
export function processStanding(identity: ProcessIdentity): ProcessStanding {
  const facts = readFacts(identity.pid);
  if (facts === undefined || facts.startedAt !== identity.startedAt) return "gone";
  return facts.isPaused ? "paused" : "running";
}

/**
 * Sends a signal to this very process.
 * @returns false if it is gone, and nothing was sent.
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (processStanding(identity) === "gone") return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (isErrorWithCode(error) && error.code === "ESRCH") return false;
    throw error;
  }
}

/**
 * Waits until this very process is gone.
 * @returns false if it was still there after `timeoutMs`.
 */
export async function processEnds(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (processStanding(identity) !== "gone") {
    if (performance.now() >= deadline) return false;
    await pause(20);
  }
  return true;
}

/** @returns after `ms` milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Tells an error of the operating system, which has a stable code such as `ENOENT`. */
export function isErrorWithCode(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

interface ProcessFacts {
  readonly startedAt: string;
  readonly isPaused: boolean;
}

function readFacts(pid: number): ProcessFacts | undefined {
  return process.platform === "linux" ? readProcFacts(pid) : readPsFacts(pid);
}

/** The fields of `/proc/<pid>/stat` from the third on, the state; undefined if there is no such process. */
export function statFieldsOf(pid: number): readonly string[] | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** From `/proc`: the start, in clock ticks since boot, is the twenty-second field. */
function readProcFacts(pid: number): ProcessFacts | undefined {
  const fields = statFieldsOf(pid);
  const state = fields?.[0];
  const startTicks = fields?.[19];
  // A zombie holds no ports and runs no code: for everybody but its parent it has ended.
  if (state === undefined || startTicks === undefined || state === "Z" || state === "X")
    return undefined;
  return { startedAt: `${bootId()}:${startTicks}`, isPaused: state === "T" || state === "t" };
}

let knownBootId: string | undefined;

/** Ticks since boot repeat after a reboot, so the boot's own name is part of the identity. */
function bootId(): string {
  if (knownBootId === undefined) {
    try {
      knownBootId = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    } catch {
      knownBootId = "";
    }
  }
  return knownBootId;
}

function readPsFacts(pid: number): ProcessFacts | undefined {
  let text: string;
  try {
    text = execFileSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return undefined;
  }
  const [state = "", ...start] = text.split(/\s+/);
  if (state === "" || state.startsWith("Z")) return undefined;
  return { startedAt: start.join(" "), isPaused: state.startsWith("T") };
}
