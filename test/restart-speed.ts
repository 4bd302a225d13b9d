/**
 * How fast a cluster that was stopped is back: `npm run restart-speed -- --keys 1000000`. Prints what each node read from its
 * disk, and how long it took until all were ready again.
 */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { logPath, processNames, startNode } from "../src/cli/cluster-state.ts";
import { sleep, startTestCluster } from "./integration/harness.ts";
import { dataDirectory } from "./support/data-dir.ts";
import { cutPower } from "./support/power-loss.ts";
import { RegisterLoad } from "./support/register-load.ts";
import { untilWhole } from "./support/turns.ts";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    /** Bytes of each value. */
    padding: { type: "string", default: "100" },
    durability: { type: "string", default: "async" },
  },
});

const endings: (() => unknown)[] = [];
try {
  const cluster = await startTestCluster(
    { after: (ending) => endings.push(ending) },
    { args: ["--data-dir", dataDirectory(), "--durability", values.durability] },
  );
  const load = new RegisterLoad({
    ports: cluster.state.nodes.map((node) => node.respPort),
    connections: 3,
    keys: Number(values.keys),
    padding: Number(values.padding),
    readShare: 0,
    rate: 1,
  });
  const filledFrom = performance.now();
  await load.fill();
  say(`${values.keys} keys of ${values.padding} bytes filled in ${seconds(filledFrom)}`);
  // For two checkpoints, so that the keys are read as such and not as log.
  await sleep(25_000);
  await cutPower(cluster);
  const startedMs = performance.now();
  for (const id of processNames(cluster.state)) await startNode(cluster.state, id);
  await untilWhole(cluster);
  say(`all nodes, started at once, ready after ${seconds(startedMs)}`);
  for (const { id } of cluster.state.nodes) {
    const lines = readFileSync(logPath(cluster.state, id), "utf8").split("\n");
    const line = lines.findLast((each) => /read \d+ shards from the disk/.test(each)) ?? "{}";
    const { keys, entries, ms, keysPerSecond } = JSON.parse(line) as Record<string, number>;
    say(`${id}: ${keys} keys and ${entries} log entries in ${ms} ms, ${keysPerSecond} a second`);
  }
  const wrong = await load.verify([0, 1, 2]);
  for (const each of wrong) say(`  ${each}`);
  if (wrong.length > 0) process.exitCode = 1;
} finally {
  for (const ending of endings.reverse()) await ending();
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1_000).toFixed(1)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
