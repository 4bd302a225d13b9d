/** `npm run bench`: HotHot and its peers under the same loads, on this machine, in interleaved rounds. */

import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MAIN_CELLS } from "./cells.ts";
import { Generators } from "./generator-process.ts";
import { chosen, FULL, QUICK, type Section, sectionsNamed } from "./plan.ts";
import { providePrograms } from "./programs.ts";
import { markdownOf, summaryOf } from "./report/markdown.ts";
import { originOf } from "./report/origin.ts";
import { chartOf } from "./report/svg.ts";
import type { Results, SectionResult } from "./results.ts";
import { Runner } from "./runner.ts";
import { runSection } from "./sections.ts";
import { judgeTargets } from "./targets.ts";

const USAGE = `usage: npm run bench -- [options]

Without options, everything: some 40 minutes; the results go to bench/results.

  --quick             two sections in 2 rounds: under three minutes
  --sections NAMES    only these: ${FULL.map((each) => each.name).join(", ")}
  --systems NAMES     one section of just these systems, and of the cells of --only
  --only CELLS        one section of just these cells (default: ${MAIN_CELLS.join(",")})
  --rounds COUNT      (default: 5)
  --seconds SECONDS   measured part of each cell (default: 2)
  --keys COUNT        size of the key space (default: 100000)
  --data-root DIR     where the systems keep what they write (default: /dev/shm if there is one)
  --hothot FILE       another build's dist/src/main/hothot.js
  --plain             keep HotHot's nodes from raising their priority
  --out DIR           where the results go (default: bench/results; with --quick, --systems or --only nowhere)
  --assert            fail if a ratio is far below what it should be, as continuous integration does`;

const HOTHOT = resolve(import.meta.dirname, "../src/main/hothot.js");
const RESULTS = resolve(import.meta.dirname, "../../bench/results");
const MEMORY_DISK = "/dev/shm";

const { values } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    sections: { type: "string" },
    systems: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    keys: { type: "string", default: "100000" },
    "data-root": { type: "string", default: existsSync(MEMORY_DISK) ? MEMORY_DISK : tmpdir() },
    hothot: { type: "string", default: HOTHOT },
    plain: { type: "boolean", default: false },
    out: { type: "string" },
    assert: { type: "boolean", default: false },
  },
});

if (values.help) say(USAGE);
else await main();

async function main(): Promise<void> {
  const sections = plannedSections();
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  const seconds = Number(values.seconds ?? (values.quick ? 1 : 2));
  const keys = Number(values.keys);
  for (const [name, value] of Object.entries({ rounds, seconds, keys }))
    if (!(value > 0)) throw new Error(`--${name} has to be a number above 0`);
  const lacking = providePrograms(
    sections.flatMap((section) => section.systems.map((system) => system.setup)),
    say,
  );
  const origin = originOf({
    rounds: String(rounds),
    "measured part of a cell": `${seconds} s`,
    keys: String(keys),
    "data on": values["data-root"],
    "HotHot's priority": values.plain ? "the usual one" : "raised by itself, if it may",
  });
  const generators = new Generators();
  const done: SectionResult[] = [];
  for (const section of sections) {
    const possible = {
      ...section,
      systems: section.systems.filter(
        (system) => !system.setup.needs.some((need) => lacking.has(need.program)),
      ),
    };
    const runner = new Runner(generators, {
      keys,
      seed: 1,
      dataRoot: mkdtempSync(join(values["data-root"], "hothot-bench-")),
      hothot: resolve(values.hothot),
      isPlain: values.plain,
      report: say,
    });
    const stopAtOnce = (): void => {
      say("stopping");
      generators.stop();
      void runner.stop().finally(() => process.exit(130));
    };
    process.once("SIGINT", stopAtOnce);
    process.once("SIGTERM", stopAtOnce);
    try {
      say(`== ${section.title}`);
      const options = { rounds, measureMs: seconds * 1_000, report: say };
      done.push(await runSection(runner, possible, options));
    } finally {
      await runner.stop();
      process.off("SIGINT", stopAtOnce);
      process.off("SIGTERM", stopAtOnce);
    }
  }
  generators.stop();
  const results: Results = { format: 1, origin, sections: done, targets: judgeTargets(done) };
  say(`\n${summaryOf(results)}`);
  const isWhole = !values.quick && values.systems === undefined && values.only === undefined;
  const out = values.out ?? (isWhole ? RESULTS : undefined);
  if (out !== undefined) write(results, resolve(out));
}

function plannedSections(): readonly Section[] {
  if (values.systems !== undefined || values.only !== undefined) {
    const systems = values.systems?.split(",") ?? ["hothot3", "redis-wait2"];
    return [chosen(systems, values.only?.split(",") ?? MAIN_CELLS)];
  }
  if (values.sections !== undefined) return sectionsNamed(values.sections.split(","));
  return values.quick ? QUICK : FULL;
}

function write(results: Results, root: string): void {
  const { startedAt, commit } = results.origin;
  const dir = join(root, `${startedAt.slice(0, 16).replace(":", "")}-${commit.slice(0, 8)}`);
  mkdirSync(dir, { recursive: true });
  for (const section of results.sections)
    writeFileSync(join(dir, `${section.name}.svg`), chartOf(section));
  writeFileSync(join(dir, "results.json"), `${JSON.stringify(results, undefined, 1)}\n`);
  writeFileSync(
    join(dir, "results.md"),
    markdownOf(results, (section) => `${section.name}.svg`),
  );
  say(`\nresults are in ${dir}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
