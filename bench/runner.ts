/** Starts set-ups, fills them and runs cells on them. */

import { mkdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { CellKind } from "./cells.ts";
import type { Generators } from "./generator-process.ts";
import type { CpuSample, LatencySummary, LoadJob, LoadResult, Pace } from "./load/job.ts";
import { bytesBetween, bytesSince } from "./sockets.ts";
import type { ServerProcess } from "./systems/server-process.ts";
import type { Setup, SetupKind } from "./systems/setup.ts";
import type { SystemKind } from "./systems.ts";

/** What one run of a cell gave. */
export interface Measurement {
  readonly operationsPerSecond: number;
  readonly latency: LatencySummary;
  readonly lateness?: LatencySummary;
  /** Processor time for an operation, µs, of each process of the set-up. */
  readonly cpuUs: Readonly<Record<string, number>>;
  /** The same of all of them together, and of the load generator. */
  readonly cpuUsInAll: number;
  readonly generatorCpuUs: number;
  /** Bytes that the servers sent to each other for a write; undefined without writes. */
  readonly bytesPerWrite?: number;
  /** Part of all processors that others used or the hypervisor took. */
  readonly foreignShare: number;
  readonly isDisturbed: boolean;
  readonly misses: number;
  readonly errors: number;
  readonly shortWaits: number;
  readonly firstError?: string;
}

/** A foreign share above this makes a measurement worthless. */
const FOREIGN_SHARE_MAX = 0.05;
const FILL_CONNECTIONS = 6;
const FILL_PIPELINE = 16;

/** What all cells of a run have in common. */
export interface RunOptions {
  readonly keys: number;
  readonly seed: number;
  readonly dataRoot: string;
  /** The built `hothot.js`. */
  readonly hothot: string;
  /** Keeps HotHot's nodes from raising their priority above that of their peers. */
  readonly isPlain: boolean;
  /** How often a disturbed measurement is tried. */
  readonly attempts: number;
  readonly report: (line: string) => void;
  /** Variables of the environment of HotHot's processes beside the usual ones. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The set-ups that run, and the generators that load them. */
export class Runner {
  readonly #options: RunOptions;
  readonly #generators: Generators;
  readonly #setups = new Map<SetupKind, Setup>();
  /** Keys that each was given beyond its key space. */
  readonly #inserts = new Map<Setup, number>();
  /** What each holds: keys, and bytes of a value. */
  readonly #filled = new Map<Setup, string>();

  constructor(generators: Generators, options: RunOptions) {
    this.#generators = generators;
    this.#options = options;
  }

  /** Starts the set-up of a system unless it runs. @throws Error if it does not start. */
  async start(system: SystemKind): Promise<void> {
    const kind = system.setup;
    if (this.#setups.has(kind)) return;
    const dir = join(this.#options.dataRoot, kind.name);
    mkdirSync(dir, { recursive: true });
    const { hothot, isPlain, environment = {} } = this.#options;
    const setup = await kind.start({ dir, hothot, isPlain, environment });
    this.#setups.set(kind, setup);
    this.#options.report(`started ${kind.name}: ${kind.description}`);
  }

  async stop(): Promise<void> {
    await Promise.allSettled([...this.#setups.values()].map((setup) => setup.stop()));
    this.#setups.clear();
    rmSync(this.#options.dataRoot, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The processes of a system that runs. */
  setupOf(system: SystemKind): Setup {
    const setup = this.#setups.get(system.setup);
    if (setup === undefined) throw new Error(`${system.name} was not started`);
    return setup;
  }

  /** Writes every key once, so that each read finds something of the right size. */
  async fill(
    system: SystemKind,
    valueBytes: number,
    keys: number = this.#options.keys,
  ): Promise<void> {
    const setup = this.setupOf(system);
    const content = `${keys} ${valueBytes}`;
    if (this.#filled.get(setup) === content) return;
    const result = await this.#generators.run({
      ...(await this.#base(system, keys)),
      connections: FILL_CONNECTIONS,
      pipeline: FILL_PIPELINE,
      parts: [{ operation: "set", share: 1 }],
      distribution: "uniform",
      valueBytes,
      pace: { kind: "fill", firstKey: 0 },
      pids: [],
    });
    if (result.errors > 0) throw new Error(`${system.name} was not filled: ${result.firstError}`);
    this.#filled.set(setup, content);
  }

  /** Runs a cell, again if it was disturbed. */
  async measure(system: SystemKind, cell: CellKind, pace: Pace): Promise<Measurement> {
    await this.fill(system, cell.valueBytes, this.#keysOf(cell));
    let best: Measurement | undefined;
    for (let attempt = 1; attempt <= this.#options.attempts; attempt += 1) {
      const measurement = await this.measureOnce(system, cell, pace);
      if (best === undefined || measurement.foreignShare < best.foreignShare) best = measurement;
      if (!best.isDisturbed) break;
      const percent = Math.round(100 * measurement.foreignShare);
      this.#options.report(`disturbed: others used ${percent} % of the processors`);
    }
    return best as Measurement;
  }

  /** Runs a cell once, disturbed or not, on a system that is filled. */
  async measureOnce(system: SystemKind, cell: CellKind, pace: Pace): Promise<Measurement> {
    const setup = this.setupOf(system);
    const all = [...this.#setups.values()].flatMap((each) => each.processes);
    const job: LoadJob = {
      ...(await this.#base(system, this.#keysOf(cell))),
      connections: cell.connections,
      pipeline: cell.pipeline,
      parts: cell.parts,
      distribution: cell.distribution,
      valueBytes: cell.valueBytes,
      pace,
      pids: [...all.map((each) => each.pid), process.pid],
    };
    const before = bytesBetween(setup.processes);
    const result = await this.#generators.run(job);
    this.#inserts.set(setup, (this.#inserts.get(setup) ?? 0) + result.inserts);
    const after = bytesBetween(setup.processes);
    const bytes =
      before === undefined || after === undefined ? undefined : bytesSince(before, after);
    return toMeasurement(result, setup.processes, bytes);
  }

  #keysOf(cell: CellKind): number {
    return Math.min(this.#options.keys, cell.keysMax ?? this.#options.keys);
  }

  async #base(
    system: SystemKind,
    keys: number,
  ): Promise<Pick<LoadJob, "protocol" | "endpoints" | "keys" | "firstInsert" | "seed" | "wait">> {
    const setup = this.setupOf(system);
    const { seed } = this.#options;
    return {
      protocol: setup.protocol,
      endpoints: await setup.endpoints(system.clients),
      keys,
      firstInsert: keys + (this.#inserts.get(setup) ?? 0),
      seed,
      ...(system.wait === undefined ? {} : { wait: system.wait }),
    };
  }
}

function toMeasurement(
  result: LoadResult,
  processes: readonly ServerProcess[],
  bytes: number | undefined,
): Measurement {
  const { operations, seconds, cpuBefore, cpuAfter } = result;
  const cpuUs = Object.fromEntries(
    processes.map(({ name, pid }) => [name, spent(cpuBefore, cpuAfter, pid) / operations]),
  );
  const known = Object.keys(cpuAfter.processes).map(Number);
  const ours = known.reduce((sum, pid) => sum + spent(cpuBefore, cpuAfter, pid), 0);
  const others = cpuAfter.machine - cpuBefore.machine - ours - result.generatorCpu;
  const stolen = cpuAfter.stolen - cpuBefore.stolen;
  const foreignShare =
    (Math.max(0, others) + stolen) / (seconds * 1_000_000 * availableParallelism());
  return {
    operationsPerSecond: operations / seconds,
    latency: result.latency,
    ...(result.lateness === undefined ? {} : { lateness: result.lateness }),
    cpuUs,
    cpuUsInAll: Object.values(cpuUs).reduce((sum, us) => sum + us, 0),
    generatorCpuUs: result.generatorCpu / operations,
    ...(bytes === undefined || result.writesInAll === 0
      ? {}
      : { bytesPerWrite: bytes / result.writesInAll }),
    foreignShare,
    isDisturbed: foreignShare > FOREIGN_SHARE_MAX,
    misses: result.misses,
    errors: result.errors,
    shortWaits: result.shortWaits,
    ...(result.firstError === undefined ? {} : { firstError: result.firstError }),
  };
}

function spent(before: CpuSample, after: CpuSample, pid: number): number {
  return (after.processes[pid] ?? 0) - (before.processes[pid] ?? 0);
}
