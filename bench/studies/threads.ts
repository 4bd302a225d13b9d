/**
 * What a second and a third thread of a node are good for: operations a second, and the processor time of each thread for an
 * operation. Where the machine has no processor left for another thread, only the latter shows it: no thread can take more than
 * a second's work in a second, so the busiest one bounds the node.
 *
 * Figures: `busiest SYSTEM CELL`, µs of the busiest thread for an operation.
 */

import { readdirSync, readFileSync } from "node:fs";
import { findCell, findSystem } from "../plan.ts";
import type { Runner } from "../runner.ts";
import { messageOf } from "../sections.ts";
import { spreadOf } from "../statistics.ts";
import type { Study, StudyOptions, StudyResult } from "./study.ts";

const SYSTEMS = ["hothot1-threads1", "hothot1-threads2", "hothot1-threads3"] as const;
const CELLS = ["get16", "set16", "get", "set"] as const;
const KEYS = 100_000;
/** Until what runs often is compiled. */
const WARM_MS = 1_500;
/** How often a run is tried when others use the processors. */
const ATTEMPTS = 3;
/** Threads of Node.js itself, which have next to nothing to do, are left out of the tables below so much, µs. */
const SHOWN_US_MIN = 0.05;

/** What one run gave. */
interface Round {
  readonly operationsPerSecond: number;
  /** Processor time for an operation, µs: of the main thread, and of the others in descending order. */
  readonly threadsUs: readonly number[];
  readonly foreignShare: number;
  readonly isDisturbed: boolean;
}

export const threadsStudy: Study = {
  name: "threads",
  title: "Threads of a node",
  systems: SYSTEMS,
  async run(options) {
    const result: StudyResult = {
      name: threadsStudy.name,
      title: threadsStudy.title,
      note: "One node without copies, 50 connections, medians of the rounds: thousands of operations a second, and µs of processor for an operation.",
      head: ["", "operations/s", "main thread and others, µs", "all, µs"],
      rows: [],
      figures: {},
      failures: [],
    };
    try {
      await measureAll(options, result);
    } catch (error) {
      result.failures.push(messageOf(error));
    }
    return result;
  },
};

async function measureAll(options: StudyOptions, result: StudyResult): Promise<void> {
  const runner = options.makeRunner(KEYS);
  const rounds = new Map<string, Round[]>();
  try {
    for (const name of SYSTEMS) {
      await runner.start(findSystem(name));
      await runner.fill(findSystem(name), 64);
    }
    // The first round warms up and is not counted.
    for (let round = 0; round <= options.rounds; round += 1) {
      const measureMs = round === 0 ? WARM_MS : options.measureMs;
      for (const cell of CELLS) {
        for (const name of SYSTEMS) {
          const found = await measure(runner, name, cell, measureMs);
          if (round === 0) continue;
          const key = `${name} ${cell}`;
          rounds.set(key, [...(rounds.get(key) ?? []), found]);
          const disturbed = found.isDisturbed ? " (disturbed)" : "";
          options.report(`${round} ${key}: ${shownTimes(found.threadsUs)} µs${disturbed}`);
        }
      }
    }
  } finally {
    await runner.stop();
  }
  for (const cell of CELLS) for (const name of SYSTEMS) addRow(result, name, cell, rounds);
}

/** The least disturbed of a few runs. */
async function measure(
  runner: Runner,
  name: string,
  cell: string,
  measureMs: number,
): Promise<Round> {
  const system = findSystem(name);
  const [node] = runner.setupOf(system).processes;
  if (node === undefined) throw new Error("there is no process");
  let best: Round | undefined;
  for (let attempt = 0; attempt < ATTEMPTS && best?.isDisturbed !== false; attempt += 1) {
    const before = threadTimes(node.pid);
    const pace = { kind: "closed", warmMs: 0, measureMs } as const;
    const { operationsPerSecond, foreignShare, isDisturbed } = await runner.measureOnce(
      system,
      findCell(cell),
      pace,
    );
    const operations = (operationsPerSecond * measureMs) / 1_000;
    const threadsUs = spentSince(before, threadTimes(node.pid), operations);
    if (best !== undefined && best.foreignShare <= foreignShare) continue;
    best = { operationsPerSecond, threadsUs, foreignShare, isDisturbed };
  }
  if (best === undefined) throw new Error("nothing was measured");
  return best;
}

function addRow(
  result: StudyResult,
  name: string,
  cell: string,
  rounds: ReadonlyMap<string, readonly Round[]>,
): void {
  const found = rounds.get(`${name} ${cell}`) ?? [];
  if (found.length === 0) return;
  const medianOf = (figure: (round: Round) => number): number => spreadOf(found.map(figure)).median;
  const most = Math.max(...found.map(({ threadsUs }) => threadsUs.length));
  const threadsUs = Array.from({ length: most }, (_none, at) =>
    medianOf((round) => round.threadsUs[at] ?? 0),
  );
  result.figures[`busiest ${name} ${cell}`] = Math.max(...threadsUs);
  result.rows.push([
    `${findSystem(name).title}, ${findCell(cell).title}`,
    (medianOf((round) => round.operationsPerSecond) / 1_000).toFixed(0),
    shownTimes(threadsUs),
    medianOf((round) => round.threadsUs.reduce((sum, us) => sum + us, 0)).toFixed(1),
  ]);
}

function shownTimes(threadsUs: readonly number[]): string {
  return threadsUs
    .filter((us) => us >= SHOWN_US_MIN)
    .map((us) => us.toFixed(2))
    .join(" + ");
}

/** Processor time of each thread of a process, ns; the main one first. */
function threadTimes(pid: number): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ns = "0"] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ");
    times.set(thread, Number(ns));
  }
  return times;
}

/** For an operation, µs: the main thread, and then the others in descending order. */
function spentSince(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  operations: number,
): number[] {
  const [main = 0, ...others] = Array.from(
    after,
    ([thread, ns]) => (ns - (before.get(thread) ?? 0)) / 1_000 / operations,
  );
  return [main, ...others.sort((one, other) => other - one)];
}
