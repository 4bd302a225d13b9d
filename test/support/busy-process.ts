/** A process that uses a whole processor, for tests of what must run in time all the same. */

import { spawn } from "node:child_process";
import { once } from "node:events";

/** Runs `body` beside a busy process, which ends with it. */
export async function withBusyProcess<T>(body: () => Promise<T>): Promise<T> {
  // Ends by itself should this process be killed.
  const script = "const end = Date.now() + 60_000; while (Date.now() < end);";
  const child = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
  await once(child, "spawn");
  try {
    return await body();
  } finally {
    child.kill("SIGKILL");
  }
}
