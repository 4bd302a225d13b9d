/**
 * Memory of many keys: by how much the resident memory of a fresh server grows when it is filled.
 *
 * Figures: `bytes SYSTEM`, of a key with its value.
 */

import { readFileSync } from "node:fs";
import { findSystem } from "../plan.ts";
import { messageOf } from "../sections.ts";
import { pause } from "../systems/setup.ts";
import type { Study, StudyOptions, StudyResult } from "./study.ts";

const SYSTEMS = ["hothot1", "redis"] as const;
const VALUE_BYTES = 64;
/** What was freed is given back to the system only after a while; the least reading of this time counts. */
const SETTLE_LOOKS = 10;
const LOOK_MS = 500;

export const memoryStudy: Study = {
  name: "memory",
  title: "Memory",
  systems: SYSTEMS,
  async run(options) {
    const result: StudyResult = {
      name: memoryStudy.name,
      title: memoryStudy.title,
      note: `Growth of resident memory by ${options.manyKeys} keys of 16 bytes with values of ${VALUE_BYTES}, in a fresh server without copies.`,
      head: ["", "bytes a key", "MiB empty", "MiB full", "keys a second while filling"],
      rows: [],
      figures: {},
      failures: [],
    };
    for (const name of SYSTEMS) {
      try {
        await measure(name, options, result);
      } catch (error) {
        result.failures.push(`${name}: ${messageOf(error)}`);
      }
    }
    return result;
  },
};

async function measure(name: string, options: StudyOptions, result: StudyResult): Promise<void> {
  const system = findSystem(name);
  const runner = options.makeRunner(options.manyKeys);
  try {
    await runner.start(system);
    const [server] = runner.setupOf(system).processes;
    if (server === undefined) throw new Error("there is no process");
    await pause(SETTLE_LOOKS * LOOK_MS);
    const before = residentBytes(server.pid);
    const began = performance.now();
    await runner.fill(system, VALUE_BYTES);
    const seconds = (performance.now() - began) / 1_000;
    let after = residentBytes(server.pid);
    for (let look = 0; look < SETTLE_LOOKS; look += 1) {
      await pause(LOOK_MS);
      after = Math.min(after, residentBytes(server.pid));
    }
    const bytes = (after - before) / options.manyKeys;
    result.figures[`bytes ${name}`] = bytes;
    result.rows.push([
      system.title,
      bytes.toFixed(0),
      mib(before),
      mib(after),
      (options.manyKeys / seconds).toFixed(0),
    ]);
    options.report(`memory ${name}: ${bytes.toFixed(0)} bytes a key`);
  } finally {
    await runner.stop();
  }
}

function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} tells nothing of its memory`);
  return Number(kib) * 1_024;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
