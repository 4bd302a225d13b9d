/**
 * The load generator: a process of its own, which is told jobs over its channel and answers each with what it measured. One
 * process serves jobs of one protocol, so that its inner loop is compiled for it alone.
 */

import { performance } from "node:perf_hooks";
import { Prng } from "../../src/kit/prng.ts";
import { type Batch, drawOperations } from "./batch.ts";
import { Connection } from "./connection.ts";
import { sampleCpu } from "./cpu.ts";
import type { Dialect } from "./dialect.ts";
import { EtcdDialect } from "./etcd.ts";
import { Histogram } from "./histogram.ts";
import type { Answer, CpuSample, Endpoint, LoadJob, LoadResult } from "./job.ts";
import {
  KEYS_MAX,
  KeySequence,
  type KeySource,
  LatestKeys,
  NewKeys,
  pickers,
  sequences,
} from "./keys.ts";
import { NatsDialect } from "./nats.ts";
import { type Batches, ClosedPace, fill, OpenPace, type Tally } from "./paces.ts";
import { RespDialect } from "./resp.ts";

/** Batches that a connection chooses from where operations are mixed. */
const MIXED_BATCHES = 100;
/** How long what is under way at the end may take, ms. */
const DRAIN_MS_MAX = 5_000;

process.on("message", (job: LoadJob) => {
  run(job).then(
    (result) => tell({ kind: "result", result }),
    (error: unknown) => {
      tell({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
    },
  );
});
process.on("disconnect", () => process.exit(0));

function tell(answer: Answer): void {
  process.send?.(answer);
}

async function run(job: LoadJob): Promise<LoadResult> {
  if (job.keys > KEYS_MAX) throw new Error(`there are at most ${KEYS_MAX} keys`);
  const { endpoints, keys, pace } = job;
  const sources =
    pace.kind === "fill"
      ? sequences(endpoints, keys, pace.firstKey)
      : pickers(endpoints, keys, job.distribution, job.seed);
  const dialect = dialectOf(job);
  const connections = await openAll(job, dialect, sources);
  try {
    return await load(job, dialect, connections, sources);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function dialectOf(job: LoadJob): Dialect {
  switch (job.protocol) {
    case "resp":
      return new RespDialect(job);
    case "etcd":
      return new EtcdDialect(job);
    case "nats":
      return new NatsDialect(job);
  }
}

async function openAll(
  job: LoadJob,
  dialect: Dialect,
  sources: readonly KeySource[],
): Promise<Connection[]> {
  const { endpoints } = job;
  const attempts = Array.from({ length: job.connections }, (_, index) => {
    const endpoint = endpoints[index % endpoints.length] as Endpoint;
    const keys = sources[index % endpoints.length] as KeySource;
    return Connection.open(index, endpoint, dialect, keys);
  });
  const outcomes = await Promise.allSettled(attempts);
  const connections = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failure = outcomes.find((each) => each.status === "rejected");
  if (failure === undefined) return connections;
  for (const connection of connections) connection.close();
  throw failure.reason;
}

async function load(
  job: LoadJob,
  dialect: Dialect,
  connections: readonly Connection[],
  sources: readonly KeySource[],
): Promise<LoadResult> {
  const prng = new Prng(job.seed);
  const latency = new Histogram();
  const tally: Tally = { latency, lateness: new Histogram(), operations: 0, writes: 0 };
  const newKeys = new NewKeys(job.firstInsert);
  const batches = batchesOf(job, dialect, connections.length, { prng, newKeys });
  let overloaded: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    overloaded = reject;
    for (const connection of connections) connection.onFailure = reject;
  });
  const { pace } = job;
  let begin: Mark;
  let end: Mark;
  if (pace.kind === "fill") {
    begin = mark(job.pids);
    const own = sources.filter((each) => each instanceof KeySequence);
    await Promise.race([failed, fill(batches, connections, own, tally)]);
    end = mark(job.pids);
  } else {
    const sending =
      pace.kind === "closed"
        ? new ClosedPace(batches, tally, prng)
        : new OpenPace(batches, tally, prng, pace.ratePerSecond / job.pipeline);
    try {
      sending.start(connections, overloaded);
      await Promise.race([failed, pause(pace.warmMs)]);
      latency.clear();
      tally.lateness.clear();
      tally.operations = 0;
      begin = mark(job.pids);
      await Promise.race([failed, pause(pace.measureMs)]);
      end = mark(job.pids);
    } finally {
      sending.stop();
    }
  }
  const measured = {
    operations: tally.operations,
    seconds: (end.ms - begin.ms) / 1_000,
    latency: latency.summary(),
    ...(pace.kind === "open" ? { lateness: tally.lateness.summary() } : {}),
  };
  await Promise.race([failed, drained(connections)]);
  const firstError = connections.map((each) => each.reader.firstError).find(Boolean);
  return {
    ...measured,
    misses: sum(connections, (each) => each.reader.misses),
    errors: sum(connections, (each) => each.reader.errors),
    shortWaits: sum(connections, (each) => each.reader.shortWaits),
    ...(firstError === undefined ? {} : { firstError }),
    writesInAll: tally.writes,
    inserts: newKeys.count,
    cpuBefore: begin.cpu,
    cpuAfter: end.cpu,
    generatorCpu: end.ownCpu - begin.ownCpu,
  };
}

/** The batches of each connection; one list for all where the protocol lets them share. */
function batchesOf(
  job: LoadJob,
  dialect: Dialect,
  connections: number,
  { prng, newKeys }: { readonly prng: Prng; readonly newKeys: NewKeys },
): Batches {
  const count = job.parts.length > 1 ? MIXED_BATCHES : 1;
  const latest = job.parts.some((part) => part.operation === "latest")
    ? new LatestKeys(newKeys, job.keys, connections, job.seed)
    : undefined;
  const make = (connection: number): Batch[] =>
    drawOperations(job.parts, job.pipeline, count, prng).map((operations) => {
      const [only] = operations;
      switch (operations.length === 1 ? only : undefined) {
        case "insert":
          return { ...dialect.batch(["set"], connection), source: newKeys };
        case "latest":
          return {
            ...dialect.batch(["get"], connection),
            ...(latest === undefined ? {} : { source: latest }),
          };
        case "read-modify-write":
          return {
            ...dialect.batch(["get"], connection),
            follow: dialect.batch(["set"], connection),
          };
        default:
          return dialect.batch(operations, connection);
      }
    });
  if (!dialect.sharesBatches) return Array.from({ length: connections }, (_, index) => make(index));
  const shared = make(0);
  return new Array<Batch[]>(connections).fill(shared);
}

/** One end of the measured time. */
interface Mark {
  readonly ms: number;
  readonly cpu: CpuSample;
  readonly ownCpu: number;
}

function mark(pids: readonly number[]): Mark {
  const own = process.cpuUsage();
  return { ms: performance.now(), cpu: sampleCpu(pids), ownCpu: own.user + own.system };
}

async function drained(connections: readonly Connection[]): Promise<void> {
  const deadline = performance.now() + DRAIN_MS_MAX;
  while (connections.some((each) => each.outstanding > 0)) {
    if (performance.now() > deadline) throw new Error("not all replies came at the end");
    await pause(5);
  }
}

function sum(connections: readonly Connection[], count: (each: Connection) => number): number {
  return connections.reduce((total, each) => total + count(each), 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
