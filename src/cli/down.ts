/** `hothot down`: stops the cluster of a state directory, whoever started it. */

import type { Command } from "commander";
import { removeBed } from "./bed/bed.ts";
import { CliError } from "./cli-error.ts";
import {
  liveProcesses,
  readClusterState,
  removeClusterPlan,
  supervisorOf,
} from "./cluster-state.ts";
import { DEFAULT_DIR } from "./options.ts";
import { printLine, printNote } from "./output.ts";
import { processEnds, signalProcess } from "./processes.ts";
import { stopCluster } from "./supervisor.ts";

/** More than a supervisor needs to stop, and if need be to kill, all it watches. */
const SUPERVISOR_STOP_MS_MAX = 25_000;

/** Adds the command `down`. */
export function addDownCommand(program: Command): void {
  program
    .command("down")
    .description("stop the cluster that runs on this machine")
    .option("--dir <path>", "state directory", DEFAULT_DIR)
    .action(async (options: { readonly dir: string }) => {
      const state = readClusterState(options.dir);
      const wasAlive = liveProcesses(state).length > 0;
      const supervisor = supervisorOf(state);
      if (supervisor !== undefined && signalProcess(supervisor, "SIGTERM")) {
        signalProcess(supervisor, "SIGCONT");
        await processEnds(supervisor, SUPERVISOR_STOP_MS_MAX);
      }
      // Whatever a supervisor left, because it was killed or is stuck.
      await stopCluster(state, printNote);
      if (supervisor !== undefined) signalProcess(supervisor, "SIGKILL");
      const alive = liveProcesses(state).filter((id) => id !== "supervisor");
      if (alive.length > 0)
        throw new CliError(`These processes could not be stopped: ${alive.join(", ")}`);
      if (state.bed !== undefined) removeBed(state.bed);
      removeClusterPlan(state);
      printLine(
        wasAlive
          ? "The cluster is stopped."
          : "The cluster had ended already; its remains are removed.",
      );
    });
}
