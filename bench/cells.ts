/** The loads that systems are compared under. A cell of the tables is one of them on one system. */

import type { Distribution, Part } from "./load/job.ts";

export interface CellKind {
  readonly name: string;
  /** For tables. */
  readonly title: string;
  readonly parts: readonly Part[];
  readonly connections: number;
  readonly pipeline: number;
  readonly distribution: Distribution;
  readonly valueBytes: number;
  /** Bound of the key space where a full one would not fit into memory. */
  readonly keysMax?: number;
}

const SET: readonly Part[] = [{ operation: "set", share: 1 }];
const GET: readonly Part[] = [{ operation: "get", share: 1 }];
const MIXED: readonly Part[] = mix(0.9);
const INCR: readonly Part[] = [{ operation: "incr", share: 1 }];

const CONNECTIONS = 50;
const VALUE_BYTES = 64;
/** Keys with values of 64 KB: three copies of theirs take 400 MB. */
const BIG_KEYS = 2_000;

/** The six cells that most targets are about. */
export const MAIN_CELLS = ["set", "get", "mixed", "set16", "get16", "mixed16"] as const;

/** All cells, in the order of the tables. */
export const CELLS: readonly CellKind[] = [
  cell("set", "SET", SET),
  cell("get", "GET", GET),
  cell("mixed", "90/10", MIXED),
  cell("set16", "SET ×16", SET, { pipeline: 16 }),
  cell("get16", "GET ×16", GET, { pipeline: 16 }),
  cell("mixed16", "90/10 ×16", MIXED, { pipeline: 16 }),
  cell("set64", "SET ×64", SET, { pipeline: 64 }),
  cell("get64", "GET ×64", GET, { pipeline: 64 }),
  cell("mixed64", "90/10 ×64", MIXED, { pipeline: 64 }),
  cell("set-lone", "SET, 1 connection", SET, { connections: 1 }),
  cell("get-lone", "GET, 1 connection", GET, { connections: 1 }),
  cell("set-1000", "SET, 1,000 connections", SET, { connections: 1_000 }),
  cell("get-1000", "GET, 1,000 connections", GET, { connections: 1_000 }),
  cell("mixed-1000", "90/10, 1,000 connections", MIXED, { connections: 1_000 }),
  cell("set-1k", "SET, 1 KB", SET, { valueBytes: 1_024 }),
  cell("get-1k", "GET, 1 KB", GET, { valueBytes: 1_024 }),
  cell("set16-1k", "SET ×16, 1 KB", SET, { valueBytes: 1_024, pipeline: 16 }),
  cell("get16-1k", "GET ×16, 1 KB", GET, { valueBytes: 1_024, pipeline: 16 }),
  cell("set-64k", "SET, 64 KB", SET, { valueBytes: 65_536, keysMax: BIG_KEYS }),
  cell("get-64k", "GET, 64 KB", GET, { valueBytes: 65_536, keysMax: BIG_KEYS }),
  cell("mixed-zipf", "90/10, Zipf", MIXED, { distribution: "zipf" }),
  cell("mixed16-zipf", "90/10 ×16, Zipf", MIXED, { distribution: "zipf", pipeline: 16 }),
  cell("incr", "INCR, one hot key", INCR),
  cell("incr16", "INCR ×16, one hot key", INCR, { pipeline: 16 }),
  cell("ycsb-a", "YCSB A: 50 % read, 50 % update", mix(0.5), { distribution: "zipf" }),
  cell("ycsb-b", "YCSB B: 95 % read, 5 % update", mix(0.95), { distribution: "zipf" }),
  cell("ycsb-c", "YCSB C: read", GET, { distribution: "zipf" }),
  cell("ycsb-d", "YCSB D: 95 % read of the latest, 5 % insert", [
    { operation: "latest", share: 0.95 },
    { operation: "insert", share: 0.05 },
  ]),
  cell(
    "ycsb-f",
    "YCSB F: 50 % read, 50 % read-modify-write",
    [
      { operation: "get", share: 0.5 },
      { operation: "read-modify-write", share: 0.5 },
    ],
    { distribution: "zipf" },
  ),
];

/** Reads of so great a share, and the rest writes. */
function mix(readShare: number): Part[] {
  return [
    { operation: "get", share: readShare },
    { operation: "set", share: 1 - readShare },
  ];
}

function cell(
  name: string,
  title: string,
  parts: readonly Part[],
  options: Partial<CellKind> = {},
): CellKind {
  const usual = {
    connections: CONNECTIONS,
    pipeline: 1,
    distribution: "uniform",
    valueBytes: VALUE_BYTES,
  } as const;
  return { name, title, parts, ...usual, ...options };
}
