/** What the load generator is told to do and what it tells in return; both cross a process boundary as JSON. */

/** The protocols that the generator speaks. */
export type Protocol = "resp" | "etcd" | "nats";

/** One kind of operation. Those of the second line are for batches of one. */
export type OperationKind =
  | "get"
  | "set"
  | "incr"
  /** A write of a key that was not there; a read of one that was written lately; a read, then a write of the same key. */
  | "insert"
  | "latest"
  | "read-modify-write";

/** An operation and its part of the load; the shares of a job add up to 1. */
export interface Part {
  readonly operation: OperationKind;
  readonly share: number;
}

/** A node that takes connections. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /**
   * Slots (0–16383) of the keys that are asked for here, as pairs of the first and the last; without it, all keys. This is
   * how the load of a client that knows who has which slot arrives at a node.
   */
  readonly slots?: readonly (readonly [number, number])[];
}

/** The promise that a Redis client asks for: `WAIT`, after each write or once after each batch that holds a write. */
export interface Wait {
  readonly replicas: number;
  readonly per: "write" | "batch";
}

/** How keys are chosen: all alike, or by Zipf's law with YCSB's exponent, the popular ones scattered over the key space. */
export type Distribution = "uniform" | "zipf";

/** When the next batch is sent. */
export type Pace =
  /** When the last one was answered. */
  | { readonly kind: "closed"; readonly warmMs: number; readonly measureMs: number }
  /** At a rate, whatever becomes of those before it; latency counts from the moment at which it was due. */
  | {
      readonly kind: "open";
      readonly warmMs: number;
      readonly measureMs: number;
      readonly ratePerSecond: number;
    }
  /** As `closed`; each key of the key space is written once, in order, and then it ends. */
  | { readonly kind: "fill"; readonly firstKey: number };

/** One load. */
export interface LoadJob {
  readonly protocol: Protocol;
  readonly endpoints: readonly Endpoint[];
  /** Spread over the endpoints in turn. */
  readonly connections: number;
  /** Operations of a batch. */
  readonly pipeline: number;
  readonly parts: readonly Part[];
  /** Number of keys, from 0. */
  readonly keys: number;
  /** The first key that `insert` writes; `keys` or more. */
  readonly firstInsert: number;
  readonly distribution: Distribution;
  readonly valueBytes: number;
  readonly wait?: Wait;
  readonly pace: Pace;
  /** Processes whose processor time is read at both ends of the measured time. */
  readonly pids: readonly number[];
  readonly seed: number;
}

/** Latencies in µs. */
export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Processor time in µs, of one or all processes. */
export interface CpuSample {
  /** By pid: user and system time since the process began. A process that is gone is left out. */
  readonly processes: Readonly<Record<number, number>>;
  /** Of the whole machine, without what is idle and without interrupts. */
  readonly machine: number;
  /** What the hypervisor gave to others. */
  readonly stolen: number;
}

/** What came of a load, within the measured time unless said otherwise. */
export interface LoadResult {
  readonly operations: number;
  readonly seconds: number;
  /** A batch from being sent, or due, to its last reply. */
  readonly latency: LatencySummary;
  /** By how much the generator itself sent late; open loop only. */
  readonly lateness?: LatencySummary;
  /** Reads that found nothing, replies that were errors, `WAIT`s that counted fewer replicas than asked for. All the time. */
  readonly misses: number;
  readonly errors: number;
  readonly shortWaits: number;
  readonly firstError?: string;
  /** Writes answered since the connections were made, the warm-up included. */
  readonly writesInAll: number;
  /** Keys that were inserted, the warm-up included. */
  readonly inserts: number;
  readonly cpuBefore: CpuSample;
  readonly cpuAfter: CpuSample;
  /** Processor time of the generator, µs. */
  readonly generatorCpu: number;
}

/** What the generator sends for each job. */
export type Answer =
  | { readonly kind: "result"; readonly result: LoadResult }
  | { readonly kind: "failed"; readonly reason: string };
