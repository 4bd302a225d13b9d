/** `npm run bench`: HotHot and its peers under the same loads, on this machine, in interleaved rounds. */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CELLS, MAIN_CELLS } from "./cells.ts";
import { Generators } from "./generator-process.ts";
import { type Measurement, Runner } from "./runner.ts";
import { spreadOf } from "./statistics.ts";
import { SYSTEMS } from "./systems.ts";

const HOTHOT = resolve(import.meta.dirname, "../src/main/hothot.js");

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    systems: { type: "string" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    keys: { type: "string", default: "100000" },
    hothot: { type: "string", default: HOTHOT },
    plain: { type: "boolean", default: false },
  },
});

const wanted = pick(CELLS, values.only?.split(",") ?? [...MAIN_CELLS], "cell");
const systems = pick(
  SYSTEMS,
  values.systems?.split(",") ?? SYSTEMS.map(({ name }) => name),
  "system",
);
const generators = new Generators();
const runner = new Runner(generators, {
  keys: Number(values.keys),
  seed: 1,
  dataRoot: mkdtempSync(join(tmpdir(), "hothot-bench-")),
  hothot: resolve(values.hothot),
  isPlain: values.plain,
  report: say,
});
const results = new Map<string, Measurement[]>();
try {
  for (const system of systems) {
    await runner.start(system);
    await runner.fill(system, 64);
  }
  const measureMs = Number(values.seconds) * 1_000;
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const cell of wanted) {
      for (const system of systems) {
        const warmMs = round === 0 ? 1_500 : 500;
        const measurement = await runner.measure(system, cell, {
          kind: "closed",
          warmMs,
          measureMs,
        });
        const key = `${system.name} ${cell.name}`;
        results.set(key, [...(results.get(key) ?? []), measurement]);
        say(describe(`${round + 1} ${key}`, measurement));
      }
    }
  }
  for (const cell of wanted) {
    for (const system of systems) {
      const all = results.get(`${system.name} ${cell.name}`) ?? [];
      const spread = spreadOf(all.map((each) => each.operationsPerSecond));
      const cpu = spreadOf(all.map((each) => each.cpuUsInAll)).median;
      say(
        `${cell.name.padEnd(10)} ${system.name.padEnd(20)} ${spread.median.toFixed(0)} (${spread.min.toFixed(0)}-${spread.max.toFixed(0)}) cpu ${cpu.toFixed(1)} us/op`,
      );
    }
  }
} finally {
  await runner.stop();
  generators.stop();
}

function describe(name: string, each: Measurement): string {
  const { latency } = each;
  return [
    name.padEnd(32),
    `${each.operationsPerSecond.toFixed(0)} ops/s`,
    `p50 ${latency.p50.toFixed(0)} p99 ${latency.p99.toFixed(0)} us`,
    `cpu ${each.cpuUsInAll.toFixed(1)} + ${each.generatorCpuUs.toFixed(1)} us`,
    each.bytesPerWrite === undefined ? "" : `${each.bytesPerWrite.toFixed(0)} B/write`,
    each.isDisturbed ? `DISTURBED ${(100 * each.foreignShare).toFixed(0)} %` : "",
    each.errors > 0 ? `${each.errors} errors: ${each.firstError}` : "",
    each.misses > 0 ? `${each.misses} misses` : "",
    each.shortWaits > 0 ? `${each.shortWaits} short WAITs` : "",
  ]
    .filter((part) => part !== "")
    .join("  ");
}

function pick<Kind extends { readonly name: string }>(
  all: readonly Kind[],
  names: readonly string[],
  what: string,
): Kind[] {
  return names.map((name) => {
    const found = all.find((each) => each.name === name);
    if (found === undefined) {
      const known = all.map((each) => each.name).join(", ");
      throw new Error(`there is no ${what} ${name}; there are: ${known}`);
    }
    return found;
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
