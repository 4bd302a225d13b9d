/**
 * Makes what a process asks of its disk slow, or fail, while it runs: strace stops it at each such call and lets it go on later, or with
 * an error. No disk is touched, and nothing else that the process does is changed.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { CliError } from "../cli-error.ts";

/** What becomes of a call: it takes so much longer, or ends with this error of the system and does nothing. */
export type CallFault = { readonly delayMs: number } | { readonly error: "EIO" };

/** Calls to the system. */
export interface Calls {
  readonly names: readonly string[];
  /** Those on this file alone. */
  readonly path?: string;
}

/** By these a database has on disk what it wrote before. */
export const SYNCS: Calls = { names: ["fdatasync", "fsync"] };
const ATTACH_MS_MAX = 10_000;

/**
 * Begins to hold the calls of a process, of all its threads.
 * @returns what ends it; the process runs on from wherever it was held.
 * @throws CliError if strace is not there, or may not trace the process.
 */
export async function holdCalls(
  pid: number,
  { names, path }: Calls,
  fault: CallFault,
): Promise<() => Promise<void>> {
  const calls = names.join(",");
  const what = "error" in fault ? `error=${fault.error}` : `delay_enter=${fault.delayMs * 1_000}`;
  const args = [
    ...["-f", "-o", "/dev/null", "-e", `trace=${calls}`, "-e", `inject=${calls}:${what}`],
    ...(path === undefined ? [] : ["-P", path]),
    ...["-p", String(pid)],
  ];
  // Apart from the terminal, whose Ctrl-C is for whoever has to end this in order.
  const strace = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  await attached(strace);
  return () => ended(strace);
}

/**
 * Tries whether calls can be held on this machine.
 * @returns why not, undefined if they can.
 */
export async function holdTrouble(): Promise<string | undefined> {
  // Not a child of the one that traces, as nodes are none.
  const idle = spawn(process.execPath, ["-e", "setTimeout(() => undefined, 60_000)"], {
    stdio: "ignore",
  });
  try {
    if (idle.pid === undefined) return "no process can be started";
    const release = await holdCalls(idle.pid, SYNCS, { delayMs: 1 });
    await release();
    return undefined;
  } catch (error) {
    if (error instanceof CliError) return error.message;
    throw error;
  } finally {
    idle.kill("SIGKILL");
  }
}

async function attached(strace: ChildProcess): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      clearTimeout(timer);
      strace.kill("SIGTERM");
      reject(new CliError(`The disk cannot be held up: ${why}`, { cause }));
    };
    const timer = setTimeout(() => fail(`strace does not begin. ${said}`), ATTACH_MS_MAX);
    strace.once("error", (error) => {
      const isMissing = "code" in error && error.code === "ENOENT";
      fail(
        isMissing ? "strace is not installed. On Debian: apt-get install strace" : error.message,
        error,
      );
    });
    strace.once("exit", (status) => fail(said.trim() || `strace ended with status ${status}`));
    strace.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (!/ attached\b/.test(said)) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function ended(strace: ChildProcess): Promise<void> {
  if (strace.exitCode !== null || strace.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    strace.once("exit", () => resolve());
    strace.kill("SIGTERM");
  });
}
