/**
 * Kills all processes of a cluster at once under write load, again and again, and compares what is there afterwards with what
 * was acknowledged: `npm run power-loss -- --rounds 20 --durability fsync`. Status 1 if anything is lost that must not be.
 */

import { parseArgs } from "node:util";
import { startTestCluster } from "./integration/harness.ts";
import { dataDirectory } from "./support/data-dir.ts";
import { losePower } from "./support/power-loss.ts";
import { WriteLoad } from "./support/write-load.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    durability: { type: "string", default: "fsync" },
    /** Of `async`, ms. */
    "flush-ms": { type: "string", default: "1000" },
    keys: { type: "string", default: "10000" },
    connections: { type: "string", default: "24" },
    /** Writes that each connection has under way at once. */
    depth: { type: "string", default: "20" },
    /** How long is written before each loss of power, ms. */
    "write-ms": { type: "string", default: "3000" },
  },
});

const endings: (() => unknown)[] = [];
try {
  const cluster = await startTestCluster(
    { after: (ending) => endings.push(ending) },
    {
      args: [
        ...["--data-dir", dataDirectory()],
        ...["--durability", values.durability],
        ...["--flush-ms", values["flush-ms"]],
      ],
    },
  );
  const load = new WriteLoad({
    ports: cluster.state.nodes.map((node) => node.respPort),
    connections: Number(values.connections),
    keys: Number(values.keys),
    depth: Number(values.depth),
    padding: 100,
  });
  endings.push(() => load.stop());
  const losses = await losePower(cluster, load, {
    rounds: Number(values.rounds),
    writeMs: Number(values["write-ms"]),
    report: say,
  });
  const lost = losses.reduce((sum, loss) => sum + loss.lost, 0);
  const oldest = Math.max(0, ...losses.map((loss) => loss.oldestLostMs));
  const wrong = losses.flatMap((loss) => loss.wrong);
  say("");
  say(`${load.answered} writes acknowledged in ${losses.length} rounds with ${values.durability}`);
  say(`acknowledged writes lost: ${lost}`);
  if (lost > 0) say(`the oldest of them was acknowledged ${Math.round(oldest)} ms before the end`);
  say(`keys that are wrong or differ between the nodes: ${wrong.length}`);
  if (wrong.length > 0 || (values.durability === "fsync" && lost > 0)) process.exitCode = 1;
} finally {
  for (const ending of endings.reverse()) await ending();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
