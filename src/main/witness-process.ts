/** The witness as a process. */

import { resolve } from "node:path";
import { RegisterError } from "../register/register.ts";
import { WitnessServer } from "../register/witness.ts";
import { createLogger, type LogLevel } from "./log.ts";
import { goFirst } from "./priority.ts";

export interface WitnessProcessOptions {
  readonly host: string;
  readonly port: number;
  /** Path of the durable document; without it the cluster is forgotten when the process ends. */
  readonly file?: string;
  /** If given, no other cluster is served. */
  readonly clusterId?: string;
  readonly logLevel?: LogLevel;
}

/** Exit statuses: starting it again may help, or cannot until somebody changes what is wrong. */
const FAILED = 1;
const MISFIT = 78;

/**
 * Runs a witness until SIGTERM or SIGINT.
 * @returns the exit status: 0 after a clean end, 1 if it could not start, 78 if its file is damaged or another cluster's.
 */
export async function runWitness(options: WitnessProcessOptions): Promise<number> {
  const { host, port, file, clusterId, logLevel = "info" } = options;
  const log = createLogger("witness", logLevel);
  goFirst();
  const witness = new WitnessServer({
    host,
    port,
    ...(file === undefined ? {} : { file: resolve(file) }),
    ...(clusterId === undefined ? {} : { clusterId }),
  });
  const stopped = new Promise<NodeJS.Signals>((resolveSignal) => {
    process.once("SIGTERM", resolveSignal);
    process.once("SIGINT", resolveSignal);
  });
  try {
    const bound = await witness.listen();
    log.info({ host, port: bound, file, version: witness.current?.version ?? 0 }, "started");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof RegisterError) {
      log.error(error.message);
      return MISFIT;
    }
    if (code === "EADDRINUSE") {
      log.error(
        `cannot listen on ${host}:${port}: it is in use; stop what uses it (ss -ltnp 'sport = :${port}' names it)`,
      );
    } else log.error({ err: error }, "cannot start");
    return FAILED;
  }
  if (file === undefined) log.warn("no file given: the cluster is forgotten when this ends");
  const signal = await stopped;
  log.info({ signal }, "stopping");
  await witness.close();
  log.info("stopped");
  return 0;
}
