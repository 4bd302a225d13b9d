/**
 * `npm run soak`: kills and restarts each node of a real cluster in turn under steady load, with a million keys. It needs
 * minutes, so it is no part of `npm test`, which runs a small one. On a machine that does other work, a longer `--lease-ms`
 * keeps nodes that wait for a processor from being taken for dead.
 */

import { parseArgs } from "node:util";
import { goFirst } from "../src/main/priority.ts";
import { type Owner, startTestCluster } from "./integration/harness.ts";
import { describeTurn, takeTurns } from "./support/turns.ts";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    connections: { type: "string", default: "50" },
    "read-share": { type: "string", default: "0.8" },
    rate: { type: "string", default: "1000" },
    rounds: { type: "string", default: "3" },
    shards: { type: "string", default: "16" },
    padding: { type: "string", default: "32" },
    "lease-ms": { type: "string", default: "300" },
  },
});

const endings: (() => unknown)[] = [];
const owner: Owner = { after: (ending) => void endings.push(ending) };
const cluster = await startTestCluster(owner, {
  shards: Number(values.shards),
  args: ["--lease-ms", values["lease-ms"]],
});
// The clients stand for machines of their own: behind the nodes, they would measure how long they wait for a processor themselves.
goFirst();
try {
  const began = performance.now();
  const result = await takeTurns(cluster, {
    keys: Number(values.keys),
    connections: Number(values.connections),
    readShare: Number(values["read-share"]),
    rate: Number(values.rate),
    rounds: Number(values.rounds),
    padding: Number(values.padding),
    downMs: 2_000,
    calmMs: 5_000,
    report: say,
  });
  const { turns, troubles, wrong, answered, unknown } = result;
  const worst = [...turns].sort((a, b) => b.p99During / b.p99Before - a.p99During / a.p99Before)[0];
  say("");
  say(`${answered} commands answered in ${((performance.now() - began) / 1_000).toFixed(0)} s`);
  say(`commands refused or lost at nodes that were killed: ${unknown}`);
  say(`client errors on survivors, and answers that are not linearizable: ${troubles.length}`);
  for (const trouble of troubles) say(`  ${trouble}`);
  say(`keys lost or different at any node: ${wrong.length}`);
  for (const each of wrong) say(`  ${each}`);
  if (worst !== undefined) say(`worst ratio: ${describeTurn(worst)}`);
  const isSlow = turns.some((turn) => turn.p99During > 3 * turn.p99Before);
  if (isSlow) say("The p99 during some catch-up was more than 3 times the p99 before it.");
  process.exitCode = troubles.length > 0 || wrong.length > 0 || isSlow ? 1 : 0;
} finally {
  for (const ending of endings.reverse()) await ending();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
