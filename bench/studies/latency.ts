/**
 * Latency at a rate. Clients send when they are due, not when they were answered, and latency counts from when they were due.
 *
 * Figures: `p99 SYSTEM own50` and `own80` at those parts of a system's own peak, `p99 PEER same50` at half of HotHot's peak.
 */

import { findCell, findSystem } from "../plan.ts";
import type { Measurement, Runner } from "../runner.ts";
import { describe, messageOf } from "../sections.ts";
import { spreadOf } from "../statistics.ts";
import type { SystemKind } from "../systems.ts";
import type { Study, StudyOptions, StudyResult } from "./study.ts";

const KEYS = 100_000;
const FIRST_WARM_MS = 1_500;
const WARM_MS = 500;
const HOTHOT = "hothot3";
const PEERS = ["redis-wait2"] as const;

/** A rate that a system is measured at. */
interface Load {
  readonly system: SystemKind;
  readonly name: string;
  readonly title: string;
  readonly ratePerSecond: number;
  readonly rounds: Measurement[];
}

export const latencyStudy: Study = {
  name: "latency",
  title: "Latency at a rate, 90/10",
  systems: [HOTHOT, ...PEERS],
  async run(options) {
    const result: StudyResult = {
      name: latencyStudy.name,
      title: latencyStudy.title,
      note: "50 connections, open loop: µs from when an operation was due to its answer, medians of the rounds. The last column is by how much the load generator itself was late.",
      head: ["", "operations a second", "p50", "p99", "p99.9", "generator late, p99"],
      rows: [],
      figures: {},
      failures: [],
    };
    const runner = options.makeRunner(KEYS);
    try {
      await measureAll(runner, options, result);
    } finally {
      await runner.stop();
    }
    return result;
  },
};

async function measureAll(
  runner: Runner,
  options: StudyOptions,
  result: StudyResult,
): Promise<void> {
  const cell = findCell("mixed");
  const systems = [HOTHOT, ...PEERS].map(findSystem);
  const peaks = new Map<string, number>();
  for (const system of systems) await runner.start(system);
  for (const system of systems) {
    const pace = {
      kind: "closed",
      warmMs: FIRST_WARM_MS,
      measureMs: options.measureMs,
    } as const;
    const rounds = [];
    for (let round = 0; round < options.rounds; round += 1)
      rounds.push(await runner.measure(system, cell, pace));
    peaks.set(system.name, spreadOf(rounds.map((each) => each.operationsPerSecond)).median);
  }
  const loads = loadsOf(systems, peaks);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const load of loads) {
      const { system, ratePerSecond } = load;
      const pace = {
        kind: "open",
        warmMs: WARM_MS,
        measureMs: options.measureMs,
        ratePerSecond,
      } as const;
      try {
        const measurement = await runner.measure(system, cell, pace);
        load.rounds.push(measurement);
        options.report(describe(`${round + 1} ${system.name} ${load.name}`, measurement));
      } catch (error) {
        result.failures.push(`${system.name} at ${load.title}: ${messageOf(error)}`);
      }
    }
  }
  for (const load of loads) addRow(result, load);
}

function loadsOf(systems: readonly SystemKind[], peaks: ReadonlyMap<string, number>): Load[] {
  const loads: Load[] = [];
  for (const system of systems) {
    const peak = peaks.get(system.name) ?? 0;
    const add = (name: string, title: string, ratePerSecond: number): void => {
      loads.push({ system, name, title, ratePerSecond, rounds: [] });
    };
    add("own50", "50 % of its own peak", 0.5 * peak);
    add("own80", "80 % of its own peak", 0.8 * peak);
    if (system.name !== HOTHOT)
      add("same50", "50 % of HotHot's peak", 0.5 * (peaks.get(HOTHOT) ?? 0));
  }
  return loads;
}

function addRow(result: StudyResult, load: Load): void {
  const { rounds } = load;
  if (rounds.length === 0) return;
  const of = (figure: (each: Measurement) => number): number => spreadOf(rounds.map(figure)).median;
  const p99 = of((each) => each.latency.p99);
  result.figures[`p99 ${load.system.name} ${load.name}`] = p99;
  result.rows.push([
    `${load.system.title}, ${load.title}`,
    of((each) => each.operationsPerSecond).toFixed(0),
    of((each) => each.latency.p50).toFixed(0),
    p99.toFixed(0),
    of((each) => each.latency.p999).toFixed(0),
    of((each) => each.lateness?.p99 ?? 0).toFixed(0),
  ]);
}
