/** Which processes of a machine go first. */

import { readdirSync } from "node:fs";
import { constants, platform, setPriority } from "node:os";
import type { Logger } from "pino";

/**
 * Lets this process go before what may wait, where the system allows that: a node that gets no processor for as long as its
 * lease lasts is taken for dead, and a failover waits for the witness. On Linux every thread has its own priority; the
 * loop waits for those that collect its garbage.
 */
export function raisePriority(log: Logger): void {
  try {
    const threads = platform() === "linux" ? readdirSync("/proc/self/task") : ["0"];
    for (const thread of threads) setPriority(Number(thread), constants.priority.PRIORITY_HIGH);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    log.debug({ error: text }, "runs at the usual priority");
  }
}
