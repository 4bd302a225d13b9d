/** `npm run profile`: where the time of HotHot's nodes goes under a load of the benchmark, as tables and flame graphs. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Generators } from "./generator-process.ts";
import { countOf } from "./options.ts";
import { findCell, findSystem } from "./plan.ts";
import { flameGraphOf } from "./profile/flame-graph.ts";
import { type CpuProfile, type Frame, selfTimes, stacksOf } from "./profile/stacks.ts";
import { Runner } from "./runner.ts";
import { type ServerProcess, stopEverything } from "./systems/server-process.ts";
import { until } from "./systems/setup.ts";

const USAGE = `usage: npm run profile -- [options]

  --system NAME      which of HotHot's set-ups: hothot3, hothot2, hothot1, … (default: hothot3)
  --cell NAME        which load: set, get, mixed, set16, get16, … (default: set16)
  --seconds SECONDS  how long (default: 5)
  --keys COUNT       size of the key space (default: 100000)
  --rows COUNT       functions and files that the tables tell of (default: 25)
  --hothot FILE      another build's dist/src/main/hothot.js
  --out DIR          where flame graphs go (default: dist/profiles)`;

const HOOK = pathToFileURL(resolve(import.meta.dirname, "profile/hook.js")).href;
const HOTHOT = resolve(import.meta.dirname, "../src/main/hothot.js");
const WARM_MS = 2_000;
/** Until every node samples. */
const BEGIN_MS = 300;

const { values } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    system: { type: "string", default: "hothot3" },
    cell: { type: "string", default: "set16" },
    seconds: { type: "string", default: "5" },
    keys: { type: "string", default: "100000" },
    rows: { type: "string", default: "25" },
    hothot: { type: "string", default: HOTHOT },
    out: { type: "string", default: resolve(import.meta.dirname, "../profiles") },
  },
});

if (values.help) say(USAGE);
else await main();

async function main(): Promise<void> {
  const system = findSystem(values.system);
  const cell = findCell(values.cell);
  if (!system.name.startsWith("hothot")) throw new Error(`${system.name} is not HotHot`);
  const seconds = countOf("seconds", values.seconds);
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const generators = new Generators();
  const dir = mkdtempSync(join(tmpdir(), "hothot-profile-"));
  const runner = new Runner(generators, {
    keys: countOf("keys", values.keys),
    seed: 1,
    dataRoot: dir,
    hothot: resolve(values.hothot),
    isPlain: false,
    attempts: 1,
    environment: { NODE_OPTIONS: `--import=${HOOK}`, HOTHOT_PROFILES: out },
    report: say,
  });
  process.once("SIGINT", () => void stopEverything().finally(() => process.exit(130)));
  try {
    await runner.start(system);
    const setup = runner.setupOf(system);
    const nodes = setup.processes.slice(0, setup.nodes);
    await runner.measure(system, cell, { kind: "closed", warmMs: 0, measureMs: WARM_MS });
    for (const { pid } of nodes) process.kill(pid, "SIGUSR2");
    await sleep(BEGIN_MS);
    const { operationsPerSecond, cpuUs } = await runner.measure(system, cell, {
      kind: "closed",
      warmMs: 0,
      measureMs: seconds * 1_000,
    });
    for (const { pid } of nodes) process.kill(pid, "SIGUSR2");
    say(`${cell.title} on ${system.title}: ${Math.round(operationsPerSecond)} a second, profiled`);
    for (const node of nodes) {
      const root = await rootOf(node, out);
      const file = join(out, `${system.name}-${cell.name}-${node.name}.svg`);
      writeFileSync(file, flameGraphOf(root, `${cell.title} on ${system.title}: ${node.name}`));
      say(
        `\n${node.name}: ${(cpuUs[node.name] ?? 0).toFixed(1)} µs of processor an operation; ${file}`,
      );
      sayTimes(root);
    }
  } finally {
    generators.stop();
    await runner.stop();
  }
}

async function rootOf({ name, pid }: ServerProcess, out: string): Promise<Frame> {
  const file = join(out, `${pid}.cpuprofile`);
  await until(`the profile of ${name} is written`, () => existsSync(file));
  return stacksOf(JSON.parse(readFileSync(file, "utf8")) as CpuProfile);
}

function sayTimes(root: Frame): void {
  const rows = countOf("rows", values.rows);
  const files = selfTimes(root, ({ file, name }) => file || name).slice(0, rows);
  const functions = selfTimes(root, ({ name, file }) => `${name} ${file}`).slice(0, rows);
  const share = (us: number): string => ((100 * us) / root.totalUs).toFixed(1).padStart(5);
  for (let row = 0; row < Math.max(files.length, functions.length); row += 1) {
    const [file = "", fileUs = 0] = files[row] ?? [];
    const [name = "", functionUs = 0] = functions[row] ?? [];
    say(`${share(fileUs)} % ${file.padEnd(36)}${share(functionUs)} % ${name}`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
