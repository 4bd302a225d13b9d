/** `npm run bench`: HotHot and its peers under the same loads, on this machine, in interleaved rounds. */

import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MAIN_CELLS } from "./cells.ts";
import { Generators } from "./generator-process.ts";
import { countOf } from "./options.ts";
import { chosen, FULL, findSystem, QUICK, type Section, sectionsNamed, withBase } from "./plan.ts";
import { providePrograms } from "./programs.ts";
import { markdownOf, summaryOf } from "./report/markdown.ts";
import { originOf } from "./report/origin.ts";
import { chartOf } from "./report/svg.ts";
import type { Results, SectionResult } from "./results.ts";
import { Runner } from "./runner.ts";
import { runSection } from "./sections.ts";
import { gapStudy } from "./studies/gap.ts";
import { latencyStudy } from "./studies/latency.ts";
import { memoryStudy } from "./studies/memory.ts";
import { stallStudy } from "./studies/stall.ts";
import type { Study, StudyResult } from "./studies/study.ts";
import { threadsStudy } from "./studies/threads.ts";
import { stopEverything } from "./systems/server-process.ts";
import type { SystemKind } from "./systems.ts";
import { belowFloors, judgeTargets } from "./targets.ts";

const STUDIES: readonly Study[] = [gapStudy, latencyStudy, memoryStudy, stallStudy, threadsStudy];

const USAGE = `usage: npm run bench -- [options]

Without options, everything: about an hour; the results go to bench/results.

  --quick             two sections in 2 rounds: under three minutes
  --sections NAMES    only these: ${[...FULL, ...STUDIES].map((each) => each.name).join(", ")}
  --systems NAMES     one section of just these systems, and of the cells of --only
  --only CELLS        one section of just these cells (default: ${MAIN_CELLS.join(",")})
  --rounds COUNT      (default: 5)
  --seconds SECONDS   measured part of each cell (default: 2)
  --attempts COUNT    how often a cell is tried when others use the processors (default: 3, with --quick 1)
  --keys COUNT        size of the key space (default: 100000)
  --many-keys COUNT   keys of the studies about many keys (default: 5000000)
  --data-root DIR     where the systems keep what they write (default: /dev/shm if there is one)
  --hothot FILE       another build's dist/src/main/hothot.js
  --base FILE         another build, measured beside this one in the same rounds
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
    attempts: { type: "string" },
    keys: { type: "string", default: "100000" },
    "many-keys": { type: "string", default: "5000000" },
    "data-root": { type: "string", default: existsSync(MEMORY_DISK) ? MEMORY_DISK : tmpdir() },
    hothot: { type: "string", default: HOTHOT },
    base: { type: "string" },
    plain: { type: "boolean", default: false },
    out: { type: "string" },
    assert: { type: "boolean", default: false },
  },
});

if (values.help) say(USAGE);
else await main();

async function main(): Promise<void> {
  const { sections: usual, studies } = planned();
  const base = values.base === undefined ? undefined : resolve(values.base);
  const sections = base === undefined ? usual : usual.map((section) => withBase(section, base));
  const rounds = countOf("rounds", values.rounds ?? (values.quick ? "2" : "5"));
  const seconds = countOf("seconds", values.seconds ?? (values.quick ? "1" : "2"));
  const keys = countOf("keys", values.keys);
  const manyKeys = countOf("many-keys", values["many-keys"]);
  const attempts = countOf("attempts", values.attempts ?? (values.quick ? "1" : "3"));
  const needed = [
    ...sections.flatMap((section) => section.systems),
    ...studies.flatMap((study) => study.systems.map(findSystem)),
  ];
  const lacking = providePrograms(
    needed.map((system) => system.setup),
    say,
  );
  const isPossible = (system: SystemKind): boolean =>
    !system.setup.needs.some((need) => lacking.has(need.program));
  const origin = originOf({
    rounds: String(rounds),
    "measured part of a cell": `${seconds} s`,
    keys: String(keys),
    "data on": values["data-root"],
    ...(values.hothot === HOTHOT ? {} : { "HotHot's build": values.hothot }),
    "HotHot's priority": values.plain ? "the usual one" : "raised by itself, if it may",
  });
  const generators = new Generators();
  let running: Runner | undefined;
  const makeRunner = (ownKeys: number): Runner => {
    running = new Runner(generators, {
      keys: ownKeys,
      seed: 1,
      dataRoot: mkdtempSync(join(values["data-root"], "hothot-bench-")),
      hothot: resolve(values.hothot),
      isPlain: values.plain,
      attempts,
      report: say,
    });
    return running;
  };
  const stopAtOnce = (): void => {
    say("stopping");
    void stopEverything()
      .then(() => running?.stop())
      .finally(() => process.exit(130));
  };
  process.once("SIGINT", stopAtOnce);
  process.once("SIGTERM", stopAtOnce);
  const measureMs = seconds * 1_000;
  const done: SectionResult[] = [];
  const found: StudyResult[] = [];
  const resultsSoFar = (): Results => ({
    format: 1,
    origin,
    sections: done,
    studies: found,
    targets: judgeTargets(done, found),
  });
  const out = outputRoot();
  // After each part, so that a run which is broken off leaves what it had.
  const save = (): void => {
    if (out !== undefined) write(resultsSoFar(), out);
  };
  for (const section of sections) {
    say(`== ${section.title}`);
    const possible = { ...section, systems: section.systems.filter(isPossible) };
    const runner = makeRunner(keys);
    try {
      done.push(await runSection(runner, possible, { rounds, measureMs, report: say }));
    } finally {
      await runner.stop();
    }
    save();
  }
  for (const study of studies) {
    say(`== ${study.title}`);
    if (!study.systems.map(findSystem).every(isPossible)) continue;
    const options = { rounds, measureMs, manyKeys, generators, makeRunner, report: say };
    found.push(await study.run(options));
    save();
  }
  generators.stop();
  say(`\n${summaryOf(resultsSoFar())}`);
  if (out !== undefined) say(`\nresults are in ${out}`);
  if (values.assert) {
    const troubles = belowFloors(done);
    for (const trouble of troubles) say(`FAILED: ${trouble}`);
    if (troubles.length > 0) process.exitCode = 1;
  }
}

/** Where results are written; undefined if they are only shown. */
function outputRoot(): string | undefined {
  if (values.out !== undefined) return resolve(values.out);
  const isWhole = !values.quick && values.systems === undefined && values.only === undefined;
  return isWhole ? RESULTS : undefined;
}

/** @throws Error if an option is no number above 0. */
function planned(): { readonly sections: readonly Section[]; readonly studies: readonly Study[] } {
  if (values.systems !== undefined || values.only !== undefined) {
    const systems = values.systems?.split(",") ?? ["hothot3", "redis-wait2"];
    const cells = values.only?.split(",") ?? MAIN_CELLS;
    return { sections: [chosen(systems, cells)], studies: [] };
  }
  if (values.quick) return { sections: QUICK, studies: [] };
  if (values.sections === undefined) return { sections: FULL, studies: STUDIES };
  const names = values.sections.split(",");
  const studies = STUDIES.filter((study) => names.includes(study.name));
  const others = names.filter((name) => !studies.some((study) => study.name === name));
  return { sections: sectionsNamed(others), studies };
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
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
