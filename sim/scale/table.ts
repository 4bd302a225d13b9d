/** The figures of several sizes side by side, as Markdown. */

import { type Change, type Rates, type Result, WRITES_PER_SECOND } from "./measure.ts";

type Row = readonly [string, (result: Result) => string];

const ROWS: readonly Row[] = [
  ["shards", ({ shardCount }) => whole(shardCount)],
  ["nodes that share a shard with a node", ({ neighbours }) => whole(neighbours)],
  ["the register's document", ({ documentBytes }) => bytes(documentBytes)],
  ["memory of a core", ({ coreBytes }) => bytes(coreBytes)],
  ...ratesRows("at rest", ({ idle }) => idle),
  ...ratesRows(`with ${WRITES_PER_SECOND} writes/s a node`, ({ load }) => load),
  ["writes answered, refused", ({ load }) => `${whole(load.written)}, ${whole(load.refused)}`],
  ...changeRows("a node dies", "served again", (result) => result.death),
  ...changeRows("it returns", "whole again", (result) => result.return),
  ...changeRows("every tenth dies", "served again", (result) => result.disaster),
];

/** @param results at least one. */
export function tableOf(results: readonly Result[]): string {
  const cells = [
    ["", ...results.map(({ nodeCount }) => `${whole(nodeCount)} nodes`)],
    ["---", ...results.map(() => "---:")],
    ...ROWS.map(([name, value]) => [name, ...results.map(value)]),
    ["time of the run", ...results.map(({ tookMs }) => `${whole(tookMs / 1_000)} s`)],
  ];
  return cells.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function ratesRows(when: string, of: (result: Result) => Rates): readonly Row[] {
  return [
    [`${when}: heartbeat datagrams/s, a node`, (result) => whole(of(result).beats)],
    [`${when}: bytes/s of them`, (result) => bytes(of(result).beatBytes)],
    [`${when}: other messages/s, a node`, (result) => whole(of(result).messages)],
    [`${when}: bytes/s of them`, (result) => bytes(of(result).bytes)],
    [`${when}: register bytes/s, a node`, (result) => bytes(of(result).registerBytes)],
    [`${when}: core ms/s, a node`, (result) => of(result).coreMs.toFixed(2)],
  ];
}

function changeRows(when: string, over: string, of: (result: Result) => Change): readonly Row[] {
  return [
    [`${when}: ${over} after`, (result) => time(of(result))],
    [`${when}: shards that change`, (result) => whole(of(result).shards)],
    [
      `${when}: swaps, conflicts`,
      (result) => `${whole(of(result).swaps)}, ${whole(of(result).conflicts)}`,
    ],
    [`${when}: register bytes`, (result) => bytes(of(result).registerBytes)],
    [`${when}: documents among nodes`, (result) => bytes(of(result).documentBytes)],
    [`${when}: heartbeat datagrams`, (result) => whole(of(result).beats)],
  ];
}

function time({ tookMs, isOver }: Change): string {
  return `${isOver ? "" : "> "}${whole(tookMs)} ms`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function bytes(value: number): string {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ] as const) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return `${Math.round(value)} B`;
}
