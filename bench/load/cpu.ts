/** Processor time of processes and of the machine, from `/proc`. */

import { readFileSync } from "node:fs";
import { statFieldsOf } from "../../src/cli/processes.ts";
import type { CpuSample } from "./job.ts";

/** What `/proc` counts in; Linux fixes it for all programs at 100 a second. */
const US_PER_TICK = 10_000;

/** Reads the processor time of the processes and of the machine. Takes some 20 µs a process. */
export function sampleCpu(pids: readonly number[]): CpuSample {
  const processes: Record<number, number> = {};
  for (const pid of pids) {
    const us = processCpu(pid);
    if (us !== undefined) processes[pid] = us;
  }
  const { busy, stolen } = machineCpu();
  return { processes, machine: busy, stolen };
}

/** User and system time of a process with all its threads, µs; undefined if it is gone. */
function processCpu(pid: number): number | undefined {
  const fields = statFieldsOf(pid);
  return fields && (Number(fields[11]) + Number(fields[12])) * US_PER_TICK;
}

/** Time that all processors have spent on programs, and that the hypervisor gave to others, µs. */
function machineCpu(): { readonly busy: number; readonly stolen: number } {
  const [line = ""] = readFileSync("/proc/stat", "latin1").split("\n");
  const [, user = 0, nice = 0, system = 0, , , , , stolen = 0] = line.split(/\s+/).map(Number);
  return { busy: (user + nice + system) * US_PER_TICK, stolen: stolen * US_PER_TICK };
}
