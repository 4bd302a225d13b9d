/** Starts and stops the processes of a cluster on this machine; `watch-cluster.ts` sees to them while they run. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { CliError } from "./cli-error.ts";
import {
  type ClusterState,
  type LaunchPlan,
  launch,
  logPath,
  processNames,
  processOf,
  standingOf,
} from "./cluster-state.ts";
import { callHttp } from "./http-client.ts";
import { type ProcessEnding, pause, processEnds, signalProcess } from "./processes.ts";

/** Where progress and trouble are told. */
export type Report = (line: string) => void;

/** How long processes may take for what they are asked, ms. */
const START_MS_MAX = 60_000;
const NODE_STOP_MS_MAX = 8_000;
const WITNESS_STOP_MS_MAX = 3_000;
const KILL_MS_MAX = 5_000;
const PROBE_MS_MAX = 2_000;

/** How a cluster is started. */
export interface StartOptions {
  readonly report: Report;
  /** Ends the start when it is set. */
  readonly stopping: AbortSignal;
  /** Gives the register the first configuration; called when the witness was started and no node was. */
  readonly formCluster: () => Promise<void>;
  /** Is given how each of the processes ended, by name, whenever that happens. */
  readonly endings: Map<string, ProcessEnding>;
}

/**
 * Starts all processes and waits until every node is ready.
 * @throws CliError if a process ends, the time is up, or it is asked to stop meanwhile. Then the caller has to stop what runs.
 */
export async function startCluster(state: ClusterState, options: StartOptions): Promise<void> {
  const { report, stopping, endings } = options;
  const start = (plan: LaunchPlan) =>
    launch(state, plan, (ending) => {
      endings.set(plan.id, ending);
    });
  const deadline = performance.now() + START_MS_MAX;
  await start(state.witness);
  await options.formCluster();
  for (const node of state.nodes) await start(node);
  const waiting = new Set(state.nodes);
  while (waiting.size > 0) {
    stopIfAsked(stopping);
    failIfEnded(state);
    await Promise.all(
      [...waiting].map(async (node) => {
        if (!(await isReady(node.host, node.httpPort))) return;
        waiting.delete(node);
        report(
          `${node.id} is ready (${state.nodes.length - waiting.size} of ${state.nodes.length})`,
        );
      }),
    );
    if (waiting.size === 0) break;
    if (performance.now() > deadline) {
      const names = [...waiting].map((node) => node.id);
      const logs = names.map((name) => logPath(state, name)).join(", ");
      throw new CliError(
        `${names.join(", ")} did not become ready within ${START_MS_MAX / 1000} s; see ${logs}`,
      );
    }
    await pause(50);
  }
}

/**
 * Stops all processes of the cluster, the nodes first, so that they can hand over while the register is there. What does
 * not end in time is killed.
 * @param urgent kills at once when set, also while it waits.
 */
export async function stopCluster(
  state: ClusterState,
  report: Report,
  urgent?: AbortSignal,
): Promise<void> {
  await stopProcesses(
    state,
    state.nodes.map((node) => node.id),
    NODE_STOP_MS_MAX,
    report,
    urgent,
  );
  await stopProcesses(state, [state.witness.id], WITNESS_STOP_MS_MAX, report, urgent);
}

/** The last lines of a process's log, for an error message; at most 4 KiB of them. */
export function logTail(state: ClusterState, id: string, lineCount: number): string {
  try {
    const file = openSync(logPath(state, id), "r");
    try {
      const size = fstatSync(file).size;
      const buffer = Buffer.alloc(Math.min(size, 4096));
      readSync(file, buffer, 0, buffer.length, size - buffer.length);
      return buffer.toString("utf8").trimEnd().split("\n").slice(-lineCount).join("\n");
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

async function stopProcesses(
  state: ClusterState,
  ids: readonly string[],
  timeoutMs: number,
  report: Report,
  urgent: AbortSignal | undefined,
): Promise<void> {
  await Promise.all(
    ids.map(async (id) => {
      const identity = processOf(state, id);
      if (identity === undefined) return;
      if (!signalProcess(identity, "SIGTERM")) return;
      // A paused process takes the signal only once it runs again.
      signalProcess(identity, "SIGCONT");
      const deadline = performance.now() + timeoutMs;
      while (performance.now() < deadline && urgent?.aborted !== true) {
        if (await processEnds(identity, 50)) return;
      }
      if (!signalProcess(identity, "SIGKILL")) return;
      report(`${id} did not stop in time and was killed`);
      if (!(await processEnds(identity, KILL_MS_MAX)))
        report(`${id} (pid ${identity.pid}) cannot be killed`);
    }),
  );
}

function stopIfAsked(stopping: AbortSignal): void {
  if (stopping.aborted)
    throw new CliError("Interrupted before the cluster was ready.", { exitCode: 130 });
}

function failIfEnded(state: ClusterState): void {
  for (const id of processNames(state)) {
    if (standingOf(state, id) !== "gone") continue;
    const tail = logTail(state, id, 8);
    throw new CliError(
      `${id} ended while the cluster was starting. The end of ${logPath(state, id)}:\n${tail === "" ? "(empty)" : tail}`,
    );
  }
}

async function isReady(host: string, port: number): Promise<boolean> {
  try {
    const answer = await callHttp({ host, port, path: "/readyz", timeoutMs: PROBE_MS_MAX });
    return answer.status === 200;
  } catch {
    return false;
  }
}
