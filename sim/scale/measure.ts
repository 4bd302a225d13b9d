/** One size of cluster: what its nodes do at rest, under load, and when one or many of them die and return. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type ClusterOptions, type RegisterCounts, ScaleCluster } from "./cluster.ts";
import type { Count } from "./traffic.ts";

/** Until every node has heard every other, virtual ms. */
const SETTLE_MS = 600;
const IDLE_MS = 1_000;
const LOAD_MS = 500;
/** Between a node's death and its return, virtual ms. */
const AWAY_MS = 500;
/** Writes that the clients of each node ask for in a second. */
export const WRITES_PER_SECOND = 100;
/** Time between two looks whether the cluster serves again, virtual ms. */
const LOOK_MS = 5;
const SERVED_MS_MAX = 20_000;
const WHOLE_MS_MAX = 60_000;
/** Real time after which a change is looked at no longer, ms. */
const CHANGE_MS_MAX = 180_000;

/** What one node does in a second, on average. */
export interface Rates {
  readonly messages: number;
  readonly bytes: number;
  readonly beats: number;
  readonly beatBytes: number;
  /** Processor time in the core. */
  readonly coreMs: number;
  readonly registerBytes: number;
}

/** What a failure, or a return, cost the whole cluster. */
export interface Change {
  readonly killed: number;
  /** Virtual time until it was over, or until nobody looked any longer. */
  readonly tookMs: number;
  readonly isOver: boolean;
  readonly swaps: number;
  readonly conflicts: number;
  /** Shards whose epoch changed. */
  readonly shards: number;
  /** From and to the register, of all nodes. */
  readonly registerBytes: number;
  /** Documents among nodes. */
  readonly documentBytes: number;
  readonly beats: number;
}

export interface Result {
  readonly nodeCount: number;
  readonly shardCount: number;
  /** Nodes with which a node shares a shard, on average. */
  readonly neighbours: number;
  readonly documentBytes: number;
  /** Memory of one node's core at rest, without the document. */
  readonly coreBytes: number;
  readonly idle: Rates;
  readonly load: Rates & { readonly written: number; readonly refused: number };
  readonly death: Change;
  readonly return: Change;
  readonly disaster: Change;
  readonly tookMs: number;
}

/** @param progress told what is being done. */
export function measure(options: ClusterOptions, progress: (text: string) => void): Result {
  const begunMs = performance.now();
  const before = memoryBytes();
  const cluster = new ScaleCluster(options);
  const { nodeCount } = options;
  progress("starts");
  cluster.start((linked) => {
    if (linked % 100 === 0) progress(`${linked} of ${nodeCount} linked`);
  });
  const run = (forMs: number, what: string): void => {
    const untilMs = cluster.queue.nowMs + forMs;
    while (cluster.queue.nowMs < untilMs) {
      cluster.queue.runUntil(Math.min(untilMs, cluster.queue.nowMs + 100));
      progress(what);
    }
  };
  run(SETTLE_MS, "settles");
  const coreBytes = (memoryBytes() - before) / nodeCount;
  const rates = (forMs: number, what: string): Rates => {
    take(cluster);
    run(forMs, what);
    return ratesOf(take(cluster), nodeCount * (forMs / 1_000));
  };
  const idle = rates(IDLE_MS, "rests");
  cluster.load(WRITES_PER_SECOND, cluster.queue.nowMs + LOAD_MS);
  const loaded = rates(LOAD_MS, "is written to");
  run(500, "finishes the writes");
  const load = { ...loaded, written: cluster.written, refused: cluster.refused };
  const [first] = cluster.current.shards;
  const victim = first?.primary ?? "";
  const change = (killed: number, limitMs: number, what: string, isOver: () => boolean): Change => {
    const epochs = cluster.current.shards.map(({ epoch }) => epoch);
    const startMs = cluster.queue.nowMs;
    const endMs = performance.now() + CHANGE_MS_MAX;
    const isLate = (): boolean =>
      cluster.queue.nowMs - startMs >= limitMs || performance.now() >= endMs;
    while (!isOver() && !isLate()) {
      cluster.queue.runUntil(cluster.queue.nowMs + LOOK_MS);
      const forMs = (cluster.queue.nowMs - startMs).toFixed(0);
      const { swapsDone, conflicts } = cluster.register;
      progress(`${what}: ${forMs} ms, ${swapsDone} swaps, ${conflicts} conflicts`);
    }
    const changed = cluster.current.shards.filter(({ epoch }, id) => epoch !== epochs[id]);
    const { traffic, register } = take(cluster);
    return {
      killed,
      tookMs: cluster.queue.nowMs - startMs,
      isOver: isOver(),
      swaps: register.swapsDone,
      conflicts: register.conflicts,
      shards: changed.length,
      registerBytes: bytesOf(register),
      documentBytes: (traffic.get("configuration") ?? NOTHING).bytes,
      beats: (traffic.get("heartbeat") ?? NOTHING).messages,
    };
  };
  take(cluster);
  cluster.kill(victim);
  const death = change(1, SERVED_MS_MAX, "loses a node", () => cluster.isServed);
  run(AWAY_MS, "goes on without the node");
  take(cluster);
  cluster.restart(victim);
  const back = change(1, WHOLE_MS_MAX, "takes the node back", () => cluster.isWhole);
  // Every tenth: a rack, or a zone.
  const tenth = [...cluster.nodes.keys()].filter((_, index) => index % 10 === 3);
  for (const id of tenth) cluster.kill(id);
  const disaster = change(tenth.length, SERVED_MS_MAX, "loses every tenth node", () =>
    cluster.isServedButFor(tenth),
  );
  return {
    nodeCount,
    shardCount: options.shardCount,
    neighbours: cluster.neighbours,
    documentBytes: cluster.traffic.documentBytes(cluster.current),
    coreBytes,
    idle,
    load,
    death,
    return: back,
    disaster,
    tookMs: performance.now() - begunMs,
  };
}

const NOTHING: Count = { messages: 0, bytes: 0 };

interface Taken {
  readonly traffic: ReadonlyMap<string, Count>;
  readonly register: RegisterCounts;
  readonly coreMs: number;
}

let takenMs = performance.now();
let takenCpu = process.cpuUsage();

/** What happened since the last call. */
function take(cluster: ScaleCluster): Taken {
  let passedMs = 0;
  for (const node of cluster.nodes.values()) {
    passedMs += node.coreMs;
    node.coreMs = 0;
  }
  const cpu = process.cpuUsage(takenCpu);
  const wallMs = performance.now() - takenMs;
  takenCpu = process.cpuUsage();
  takenMs = performance.now();
  // Time that the system gave to other processes is no time of the cores.
  const coreMs = passedMs * Math.min(1, (cpu.user + cpu.system) / 1_000 / wallMs);
  return { traffic: cluster.traffic.take(), register: cluster.takeRegister(), coreMs };
}

function ratesOf({ traffic, register, coreMs }: Taken, nodeSeconds: number): Rates {
  const beats = traffic.get("heartbeat") ?? NOTHING;
  let messages = 0;
  let bytes = 0;
  for (const [kind, count] of traffic) {
    if (kind === "heartbeat") continue;
    messages += count.messages;
    bytes += count.bytes;
  }
  return {
    messages: messages / nodeSeconds,
    bytes: bytes / nodeSeconds,
    beats: beats.messages / nodeSeconds,
    beatBytes: beats.bytes / nodeSeconds,
    coreMs: coreMs / nodeSeconds,
    registerBytes: bytesOf(register) / nodeSeconds,
  };
}

function bytesOf({ readBytes, watchBytes, swapBytes }: RegisterCounts): number {
  return readBytes + watchBytes + swapBytes;
}

let collect: (() => void) | undefined;

/** After a collection of what is not used. */
function memoryBytes(): number {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
