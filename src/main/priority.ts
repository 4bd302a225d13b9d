/** Which processes of a machine go first, where the system lets a process say so. On Linux each of its threads has its own priority. */

import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { constants, platform, setPriority } from "node:os";

const { PRIORITY_HIGH } = constants.priority;
/** Each step of five is a factor of three, on Linux. */
const PRIORITY_BEHIND = 5;

/**
 * Lets this process go before what may wait: a node that gets no processor for as long as its lease lasts is taken for dead, and
 * a failover waits for the witness. The loop waits for the threads that collect its garbage, so they go first, too.
 */
export function goFirst(): void {
  setAll(PRIORITY_HIGH);
}

/** Lets this process have a third of what others get; not where that could not be taken back. */
export function goBehind(): void {
  if (setAll(PRIORITY_HIGH)) setAll(PRIORITY_BEHIND);
}

/**
 * Has this process take no processor from who runs when it wakes (`SCHED_BATCH` of Linux, which Node.js cannot ask for by
 * itself): it wakes for each packet, and what has gathered when its turn comes costs hardly more than the first.
 */
export function wakeInTurn(): void {
  if (platform() !== "linux") return;
  const args = ["--all-tasks", "--batch", "--pid", "0", String(process.pid)];
  // Without it everything runs, and costs more where processors are short.
  execFile("chrt", args, () => undefined).unref();
}

/** @returns whether the system allowed it. */
function setAll(priority: number): boolean {
  try {
    const threads = platform() === "linux" ? readdirSync("/proc/self/task") : ["0"];
    for (const thread of threads) setPriority(Number(thread), priority);
    return true;
  } catch {
    return false;
  }
}
