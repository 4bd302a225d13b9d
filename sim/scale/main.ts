/** `npm run scale-out`: clusters of 10, 100 and 1,000 nodes in virtual time, and how what a node does grows with their number. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { measure, type Result } from "./measure.ts";
import { tableOf } from "./table.ts";

const HELP = `Runs clusters of several sizes in virtual time and shows how what a node does grows with their number.

  npm run scale-out                         10, 100 and 1000 nodes, with as many shards as nodes: some minutes
  npm run scale-out -- --nodes 10,100       these sizes only: less than a minute
  npm run scale-out -- --shards 64          so many shards, whatever the number of nodes
  npm run scale-out -- --json               the figures as JSON instead of a table

  --seed S    what chance decides (default 1)
`;

/** The JavaScript heap of one size's process: the largest takes about 2 GiB. */
const HEAP_MIB = 8_192;
const PROGRESS_MS = 2_000;

interface Size {
  readonly nodeCount: number;
  readonly shardCount: number;
  readonly seed: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: "string", default: "10,100,1000" },
      shards: { type: "string" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
      worker: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.worker !== undefined) {
    work(JSON.parse(values.worker) as Size);
    return;
  }
  const seed = number(values.seed, "--seed");
  const counts = values.nodes.split(",").map((text) => number(text, "--nodes"));
  const shards = values.shards === undefined ? undefined : number(values.shards, "--shards");
  const results: Result[] = [];
  for (const nodeCount of counts) {
    results.push(await runApart({ nodeCount, shardCount: shards ?? nodeCount, seed }));
  }
  process.stdout.write(`${values.json ? JSON.stringify(results) : tableOf(results)}\n`);
}

function number(text: string, option: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  process.stderr.write(`${option} takes whole numbers above 0, not ${text}\n`);
  process.exit(2);
}

/** Each size has a process of its own, so that no other's memory or compiled code is in its figures. */
async function runApart(size: Size): Promise<Result> {
  const args = [`--max-old-space-size=${HEAP_MIB}`, fileURLToPath(import.meta.url)];
  const child = spawn(process.execPath, [...args, "--worker", JSON.stringify(size)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) process.exit(1);
  return JSON.parse(text) as Result;
}

function work(size: Size): void {
  const { nodeCount, shardCount } = size;
  const begunMs = performance.now();
  let shownMs = begunMs;
  const result = measure(size, (text) => {
    const nowMs = performance.now();
    if (nowMs - shownMs < PROGRESS_MS) return;
    shownMs = nowMs;
    const seconds = ((nowMs - begunMs) / 1_000).toFixed(0);
    process.stderr.write(`${nodeCount} nodes, ${shardCount} shards, ${seconds} s: ${text}\n`);
  });
  process.stdout.write(JSON.stringify(result));
}

await main();
