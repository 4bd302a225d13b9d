/**
 * Helpers: processes that do something for as long as their standard input is open, and say a word when they have begun. So
 * they end with whoever started them, however that ends.
 */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";

export type Helper = ChildProcessByStdio<Writable, Readable, null>;

const START_MS_MAX = 10_000;
const END_MS_MAX = 10_000;

/**
 * Starts a helper and waits for its first word. What it says on its standard error goes to this process's.
 * @throws Error if it ends first, or says nothing for 10 s.
 */
export async function startHelper(program: string, args: readonly string[]): Promise<Helper> {
  const helper: Helper = spawn(program, [...args], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  helper.stdin.on("error", () => undefined);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("it does not start")), START_MS_MAX);
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        if (error === undefined) resolve();
        else reject(error);
      };
      helper.once("error", settle);
      helper.once("exit", (status) => settle(new Error(`it ended with status ${status}`)));
      helper.stdout.once("data", () => settle());
    });
  } catch (error) {
    helper.kill("SIGTERM");
    throw error;
  }
  return helper;
}

/** Tells a helper to end, and waits until it has taken back what it did; it is killed if that takes longer than 10 s. */
export async function endHelper(helper: Helper): Promise<void> {
  if (helper.exitCode !== null || helper.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => helper.kill("SIGKILL"), END_MS_MAX);
    helper.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
    helper.stdin.end();
  });
}
