/**
 * For how long writes stand still when a node is killed (SIGKILL): the leader where there is one. Clients write some keys in a
 * closed loop; one whose write fails, or stays without an answer, tries the next node. The gap is the longest time between
 * two acknowledged writes of one key. Redis acknowledges without `WAIT` here, which is in its favour.
 *
 * Figures: `ms SYSTEM`, the median of the kills, and `ms best peer`.
 */

import { findSystem } from "../plan.ts";
import type { Runner } from "../runner.ts";
import { messageOf } from "../sections.ts";
import { spreadOf } from "../statistics.ts";
import { killProcess } from "../systems/server-process.ts";
import { pause } from "../systems/setup.ts";
import type { SystemKind } from "../systems.ts";
import { type Door, doorTo } from "./doors.ts";
import type { Study, StudyOptions, StudyResult } from "./study.ts";

const HOTHOT = "hothot3";
const PEERS = ["redis-cluster", "redis-sentinel", "etcd", "nats"] as const;
const KEYS = 16;
const PAUSE_MS = 10;
/** Of undisturbed writing before the kill. */
const CALM_MS = 2_000;
/** It goes on for at least so long after the kill, and until each key was written again. */
const AFTER_MS_MIN = 3_000;
const AFTER_MS_MAX = 20_000;

export const gapStudy: Study = {
  name: "gap",
  title: "Write gap after kill -9",
  systems: [HOTHOT, ...PEERS],
  async run(options) {
    const result: StudyResult = {
      name: gapStudy.name,
      title: gapStudy.title,
      note: `A node is killed under ${KEYS} clients, the leader where there is one; the longest time between two acknowledged writes of one key, ms, of ${options.rounds} kills, each in a fresh cluster.`,
      head: ["", "median", "least", "most"],
      rows: [],
      figures: {},
      failures: [],
    };
    const gaps = new Map<string, number[]>();
    for (let round = 0; round < options.rounds; round += 1) {
      for (const name of [HOTHOT, ...PEERS]) {
        try {
          const gap = await measure(findSystem(name), options);
          gaps.set(name, [...(gaps.get(name) ?? []), gap]);
          options.report(`${round + 1} gap ${name}: ${gap.toFixed(0)} ms`);
        } catch (error) {
          result.failures.push(`${name}: ${messageOf(error)}`);
        }
      }
    }
    for (const [name, all] of gaps) {
      const { median, min, max } = spreadOf(all);
      result.figures[`ms ${name}`] = median;
      result.rows.push([findSystem(name).title, ...[median, min, max].map((ms) => ms.toFixed(0))]);
    }
    const peers = PEERS.flatMap((name) => result.figures[`ms ${name}`] ?? []);
    if (peers.length > 0) result.figures["ms best peer"] = Math.min(...peers);
    return result;
  },
};

async function measure(system: SystemKind, options: StudyOptions): Promise<number> {
  const runner = options.makeRunner(1);
  try {
    await runner.start(system);
    return await killUnderWrites(runner, system);
  } finally {
    await runner.stop();
  }
}

async function killUnderWrites(runner: Runner, system: SystemKind): Promise<number> {
  const setup = runner.setupOf(system);
  const endpoints = await setup.endpoints("spread");
  const leader = await setup.leader?.();
  const victim = setup.processes.find((each) => leader === undefined || each.name === leader);
  if (victim === undefined) throw new Error(`there is no process ${leader}`);
  const writers = Array.from(
    { length: KEYS },
    (_, index) =>
      new Writer(
        `gap:${index}`,
        endpoints.map((endpoint) => doorTo(setup, endpoint)),
      ),
  );
  const all = Promise.all(writers.map((writer) => writer.run()));
  try {
    await pause(CALM_MS);
    const killedMs = performance.now();
    if (writers.some((writer) => writer.lastMs === 0)) throw new Error("not all keys are written");
    killProcess(victim);
    for (;;) {
      await pause(PAUSE_MS);
      const sinceMs = performance.now() - killedMs;
      if (sinceMs < AFTER_MS_MIN) continue;
      const isBack = writers.every((writer) => writer.lastMs > killedMs + AFTER_MS_MIN / 2);
      if (isBack) break;
      if (sinceMs > AFTER_MS_MAX) throw new Error(`writes stand still for ${AFTER_MS_MAX} ms`);
    }
    return Math.max(...writers.map((writer) => writer.gapMsSince(killedMs)));
  } finally {
    for (const writer of writers) writer.stop();
    await all;
  }
}

/** Writes one key again and again, through whichever door takes it. */
class Writer {
  /** When the last write was acknowledged; 0 before the first. */
  lastMs = 0;
  readonly #key: string;
  readonly #doors: readonly Door[];
  readonly #gaps: { readonly endMs: number; readonly ms: number }[] = [];
  #isStopped = false;

  constructor(key: string, doors: readonly Door[]) {
    this.#key = key;
    this.#doors = doors;
  }

  async run(): Promise<void> {
    let door = 0;
    let refusals = 0;
    while (!this.#isStopped) {
      const isDone = (await this.#doors[door]?.write(this.#key)) === true;
      if (isDone) {
        const nowMs = performance.now();
        if (this.lastMs > 0) this.#gaps.push({ endMs: nowMs, ms: nowMs - this.lastMs });
        this.lastMs = nowMs;
        refusals = 0;
      } else {
        door = (door + 1) % this.#doors.length;
        refusals += 1;
      }
      if (isDone || refusals % this.#doors.length === 0) await pause(PAUSE_MS);
    }
    for (const each of this.#doors) each.close();
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** The longest gap that ended after this moment. */
  gapMsSince(ms: number): number {
    return Math.max(0, ...this.#gaps.filter((gap) => gap.endMs > ms).map((gap) => gap.ms));
  }
}
