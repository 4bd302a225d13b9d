/** Runs a section: starts its set-ups, then rounds, in each every cell, in each cell every system. */

import type { Section } from "./plan.ts";
import type { SectionResult } from "./results.ts";
import type { Measurement, Runner } from "./runner.ts";
import type { SystemKind } from "./systems.ts";

/** The load before the measured part of a cell: longer at first, until what compiles at run time has compiled. */
const FIRST_WARM_MS = 1_500;
const WARM_MS = 500;

export interface SectionOptions {
  readonly rounds: number;
  readonly measureMs: number;
  readonly report: (line: string) => void;
}

/** What fails is noted and left out; the rest is measured. */
export async function runSection(
  runner: Runner,
  section: Section,
  options: SectionOptions,
): Promise<SectionResult> {
  const result: SectionResult = {
    name: section.name,
    title: section.title,
    systems: section.systems.map(({ name, title }) => ({ name, title })),
    cells: section.cells.map(({ name, title }) => ({ name, title })),
    setups: Object.fromEntries(section.systems.map(({ setup }) => [setup.name, setup.description])),
    results: section.cells.flatMap((cell) =>
      section.systems.map((system) => ({ cell: cell.name, system: system.name, rounds: [] })),
    ),
    failures: [],
  };
  const note = (failure: string): void => {
    result.failures.push(failure);
    options.report(`FAILED: ${failure}`);
  };
  const broken = new Set<SystemKind>();
  for (const system of section.systems) {
    try {
      await runner.start(system);
    } catch (error) {
      broken.add(system);
      note(`${system.name}: ${messageOf(error)}`);
    }
  }
  for (let round = 0; round < options.rounds; round += 1) {
    for (const cell of section.cells) {
      for (const system of turned(section.systems, round)) {
        if (broken.has(system)) continue;
        const warmMs = round === 0 ? FIRST_WARM_MS : WARM_MS;
        const pace = { kind: "closed", warmMs, measureMs: options.measureMs } as const;
        try {
          const measurement = await runner.measure(system, cell, pace);
          const place = result.results.find(
            (each) => each.cell === cell.name && each.system === system.name,
          );
          place?.rounds.push(measurement);
          options.report(describe(`${round + 1} ${system.name} ${cell.name}`, measurement));
        } catch (error) {
          note(`${system.name} ${cell.name}: ${messageOf(error)}`);
        }
      }
    }
  }
  return result;
}

/** One line about a measurement. */
export function describe(name: string, each: Measurement): string {
  const { latency } = each;
  return [
    name.padEnd(32),
    `${each.operationsPerSecond.toFixed(0)} ops/s`,
    `p50 ${latency.p50.toFixed(0)} p99 ${latency.p99.toFixed(0)} µs`,
    `cpu ${each.cpuUsInAll.toFixed(1)} + ${each.generatorCpuUs.toFixed(1)} µs`,
    each.bytesPerWrite === undefined ? "" : `${each.bytesPerWrite.toFixed(0)} B/write`,
    each.isDisturbed ? `DISTURBED ${(100 * each.foreignShare).toFixed(0)} %` : "",
    each.errors > 0 ? `${each.errors} errors: ${each.firstError}` : "",
    each.misses > 0 ? `${each.misses} misses` : "",
    each.shortWaits > 0 ? `${each.shortWaits} short WAITs` : "",
  ]
    .filter((part) => part !== "")
    .join("  ");
}

/** Each round begins with another system, so that none always comes after the same. */
function turned(systems: readonly SystemKind[], round: number): SystemKind[] {
  const first = round % systems.length;
  return [...systems.slice(first), ...systems.slice(0, first)];
}

/** What went wrong, in words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
