/** The project's targets: ratios to peers that were measured in the same rounds. */

import { MAIN_CELLS } from "./cells.ts";
import { roundsOf, type SectionResult, type TargetResult } from "./results.ts";
import type { Measurement } from "./runner.ts";
import { spreadOf } from "./statistics.ts";

/** A figure of a measurement. */
type Figure = (measurement: Measurement) => number;

interface Target {
  readonly text: string;
  readonly section: string;
  readonly system: string;
  /** Without a peer, the figure itself is compared with the bound. */
  readonly peer?: string;
  /** The worst of these counts. */
  readonly cells: readonly string[];
  readonly figure: Figure;
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
}

const THROUGHPUT: Figure = (measurement) => measurement.operationsPerSecond;
const P50: Figure = (measurement) => measurement.latency.p50;
const BYTES: Figure = (measurement) => measurement.bytesPerWrite ?? Number.NaN;

/** Key and value of a write, bytes. */
const PAYLOAD_BYTES = 16 + 64;

const TARGETS: readonly Target[] = [
  faster(
    "SET, against Redis 1+2 WAIT 2 per write",
    "replicated",
    "hothot3",
    "redis-wait2",
    ["set"],
    1,
  ),
  faster("SET ×16, against the same", "replicated", "hothot3", "redis-wait2", ["set16"], 3),
  faster(
    "SET ×16, against one WAIT 2 per batch",
    "replicated",
    "hothot3",
    "redis-wait2-batch",
    ["set16"],
    1.6,
  ),
  faster("GET, against the same Redis", "replicated", "hothot3", "redis-wait2", ["get"], 0.9),
  faster("GET ×16, against the same Redis", "replicated", "hothot3", "redis-wait2", ["get16"], 1),
  faster("90/10, against WAIT 2 per write", "replicated", "hothot3", "redis-wait2", ["mixed"], 1),
  faster("90/10 ×16, against the same", "replicated", "hothot3", "redis-wait2", ["mixed16"], 1.15),
  {
    text: "a lone client's SET, p50, against WAIT 2",
    section: "replicated",
    system: "hothot3",
    peer: "redis-wait2",
    cells: ["set-lone"],
    figure: P50,
    bound: { atMost: 1.3 },
  },
  faster(
    "all six cells, against Redis Cluster 3+3 WAIT 1, clients that know the shards",
    "replicated",
    "hothot3-routed",
    "redis-cluster",
    MAIN_CELLS,
    1.1,
  ),
  faster("SET, against etcd", "consensus", "hothot3", "etcd", ["set"], 12),
  faster("SET with fsync, against etcd", "consensus", "hothot3-fsync", "etcd", ["set"], 5),
  faster("SET and GET, against NATS KV R3", "consensus", "hothot3", "nats", ["set", "get"], 3),
  faster(
    "SET and GET ×16, against NATS KV R3",
    "consensus",
    "hothot3",
    "nats",
    ["set16", "get16"],
    5,
  ),
  faster(
    "two nodes, against Redis 1+1 WAIT 1: all six cells",
    "pairs",
    "hothot2",
    "redis-wait1",
    MAIN_CELLS,
    1,
  ),
  faster("two nodes, SET ×16, against the same", "pairs", "hothot2", "redis-wait1", ["set16"], 2),
  faster(
    "INCR on one hot key from all nodes, against Redis alone",
    "counter",
    "hothot3",
    "redis",
    ["incr"],
    0.4,
  ),
  faster(
    "one node, SET, GET and 90/10, against Redis alone",
    "single",
    "hothot1",
    "redis",
    ["set", "get", "mixed"],
    1,
  ),
  faster(
    "one node, SET and GET ×16, against Redis alone",
    "single",
    "hothot1",
    "redis",
    ["set16", "get16"],
    1.4,
  ),
  {
    text: "bytes between nodes for a SET ×16, times key and value",
    section: "replicated",
    system: "hothot3",
    cells: ["set16"],
    figure: (measurement) => BYTES(measurement) / PAYLOAD_BYTES,
    bound: { atMost: 2.5 },
  },
];

/** Judges all targets; those that the sections do not show are left open. */
export function judgeTargets(sections: readonly SectionResult[]): TargetResult[] {
  return TARGETS.map((target) => judge(target, sections));
}

function judge(target: Target, sections: readonly SectionResult[]): TargetResult {
  const { text, bound } = target;
  const section = sections.find((each) => each.name === target.section);
  const values = target.cells.map((cell) => valueOfCell(target, section, cell));
  const isMore = "atLeast" in bound;
  const goal = isMore ? `≥ ${bound.atLeast}` : `≤ ${bound.atMost}`;
  const known = values.flatMap((value) =>
    value === undefined || Number.isNaN(value) ? [] : [value],
  );
  if (known.length < values.length)
    return { text, target: goal, measured: undefined, isMet: undefined };
  const worst = isMore ? Math.min(...known) : Math.max(...known);
  const isMet = isMore ? worst >= bound.atLeast : worst <= bound.atMost;
  const cell = target.cells[values.indexOf(worst)] ?? "";
  const measured = `${worst.toFixed(2)}${target.cells.length > 1 ? ` (${cell})` : ""}`;
  return { text, target: goal, measured, isMet };
}

function valueOfCell(
  target: Target,
  section: SectionResult | undefined,
  cell: string,
): number | undefined {
  const own = roundsOf(section, target.system, cell);
  if (own === undefined) return undefined;
  const value = spreadOf(own.map(target.figure)).median;
  if (target.peer === undefined) return value;
  const peer = roundsOf(section, target.peer, cell);
  if (peer === undefined) return undefined;
  return value / spreadOf(peer.map(target.figure)).median;
}

function faster(
  text: string,
  section: string,
  system: string,
  peer: string,
  cells: readonly string[],
  atLeast: number,
): Target {
  return { text, section, system, peer, cells, figure: THROUGHPUT, bound: { atLeast } };
}
