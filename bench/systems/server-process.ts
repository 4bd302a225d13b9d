/** Processes that the benchmark starts. Whatever becomes of it, none of them is left running. */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { identifyProcess, processEnds, signalProcess } from "../../src/cli/processes.ts";

const STOP_MS_MAX = 15_000;
const LOG_TAIL_CHARS = 2_000;

/** A process that serves. */
export interface ServerProcess {
  /** Such as `n1` or `primary`. */
  readonly name: string;
  readonly pid: number;
}

/** How to start one. */
export interface Launch {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Where its output goes, as `NAME.log`. */
  readonly dir: string;
  /** Variables of its environment beside the usual ones. */
  readonly environment?: Readonly<Record<string, string>>;
}

const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Starts a process. @throws Error if the program cannot be run. */
export async function startProcess(launch: Launch): Promise<ServerProcess> {
  const { name, command, args, dir } = launch;
  const log = openSync(join(dir, `${name}.log`), "a");
  const child = spawn(command, [...args], {
    cwd: dir,
    stdio: ["ignore", log, log],
    // What the environment says of a server is meant for another one.
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      LC_ALL: "C",
      ...launch.environment,
    },
  });
  closeSync(log);
  children.add(child);
  child.once("exit", () => children.delete(child));
  const pid = await new Promise<number>((resolve, reject) => {
    child.once("error", (error) => {
      children.delete(child);
      reject(new Error(`${command} cannot be run: ${error.message}`, { cause: error }));
    });
    child.once("spawn", () => {
      if (child.pid !== undefined) resolve(child.pid);
    });
  });
  return { name, pid };
}

/** Ends a process of this program's own, at once if it takes too long. */
export async function stopProcess({ pid }: ServerProcess): Promise<void> {
  const identity = identifyProcess(pid);
  if (identity === undefined) return;
  signalProcess(identity, "SIGTERM");
  if (await processEnds(identity, STOP_MS_MAX)) return;
  signalProcess(identity, "SIGKILL");
  await processEnds(identity, STOP_MS_MAX);
}

/** Ends whatever still runs, also what was only being started. */
export async function stopEverything(): Promise<void> {
  const pids = [...children].flatMap((child) => child.pid ?? []);
  await Promise.all(pids.map((pid) => stopProcess({ name: String(pid), pid })));
}

/** Kills a process as a crash would. */
export function killProcess({ pid }: ServerProcess): void {
  const identity = identifyProcess(pid);
  if (identity !== undefined) signalProcess(identity, "SIGKILL");
}

/** The end of what a process has printed. */
export function logTail(dir: string, name: string): string {
  try {
    return readFileSync(join(dir, `${name}.log`), "utf8").slice(-LOG_TAIL_CHARS);
  } catch {
    return "";
  }
}
