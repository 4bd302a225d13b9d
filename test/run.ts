/**
 * Runs the tests: `node dist/test/run.js all` everything, `quick` what a commit needs. `CI=true` forbids skipping.
 *
 * Every suite is a child process with an explicit list of files, because that is the one form of `node --test` that all
 * supported versions of Node.js read alike. The last line sums up all suites.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";

/** What a suite counted. */
interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Suite {
  readonly name: string;
  /** Arguments of Node.js. */
  readonly args: readonly string[];
  /** A suite of `node --test`, or a program that passes or fails as one. */
  readonly kind: "tests" | "program";
}

const dist = resolve(import.meta.dirname, "..");
const root = resolve(dist, "..");
const isCi = process.env["CI"] === "true";
const SUITE_MS_MAX = 35 * 60_000;
/** A file that does not end by then is named and given up, so that the others still run. */
const FILE_MS_MAX = 15 * 60_000;

/** Seeds of the simulator: on a developer's machine, and in CI, where each commit gets seeds of its own. */
const LOCAL_SEEDS = 1_000;
const CI_SEEDS = 5_000;

/** Debian programs that tests need, by the package that has them. */
const PROGRAMS: readonly { readonly program: string; readonly debian: string }[] = [
  { program: "redis-server", debian: "redis-server" },
  { program: "redis-cli", debian: "redis-tools" },
  { program: "redis-benchmark", debian: "redis-tools" },
  { program: "ip", debian: "iproute2" },
  { program: "tc", debian: "iproute2" },
  { program: "etcd", debian: "etcd-server" },
  { program: "strace", debian: "strace" },
];

/** Of the files of integration tests, those that measure times or keep all processors busy: nothing else runs beside them. */
const ALONE = ["catching-up", "consistency", "etcd", "gaps"];

const scope = process.argv[2];
if (scope !== "all" && scope !== "quick") {
  say("usage: node dist/test/run.js all | quick");
  process.exit(64);
}

let current: ChildProcess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    current?.kill(signal);
    process.exitCode = 130;
  });
}

const advice: string[] = [];
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
if (scope === "all") providePrograms();
for (const suite of scope === "all" ? allSuites() : quickSuites()) {
  if (process.exitCode === 130) break;
  const counts = await runSuite(suite);
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}
if (isCi && total.skipped > 0) {
  say(`CI: ${total.skipped} skipped tests count as failed`);
  total.failed += total.skipped;
  total.skipped = 0;
}
say("");
for (const line of advice) say(line);
say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
if (total.failed > 0) process.exitCode = 1;

function quickSuites(): Suite[] {
  return [
    tests("unit", [...filesUnder("src"), ...filesUnder("bench")], 2),
    tests(
      "tidy and contracts",
      [...filesUnder("test/contracts"), join(dist, "test/tidy.test.js")],
      2,
    ),
  ].filter((suite) => suite !== undefined);
}

function allSuites(): Suite[] {
  const simulator = join(dist, "sim/main.js");
  const seeds = isCi ? CI_SEEDS : LOCAL_SEEDS;
  const suites = [
    ...quickSuites(),
    tests("simulator: scenarios and mutants", filesUnder("sim"), 2),
    existsSync(simulator)
      ? {
          name: `simulator: ${seeds} seeds`,
          args: [simulator, "--seeds", String(seeds), "--from", String(firstSeed())],
          kind: "program" as const,
        }
      : undefined,
    ...integrationSuites(),
  ];
  return suites.filter((suite) => suite !== undefined);
}

/** Each file runs clusters of its own. Most of the time they wait for one, so two at a time take hardly more than half as long. */
function integrationSuites(): (Suite | undefined)[] {
  const files = filesUnder("test/integration");
  const isAlone = (file: string): boolean =>
    ALONE.some((name) => file.endsWith(`/${name}.test.js`));
  return [
    tests(
      "integration, two files at a time",
      files.filter((file) => !isAlone(file)),
      2,
    ),
    tests("integration, one file at a time", files.filter(isAlone), 1),
  ];
}

/** A suite of the files; none if there are no files. */
function tests(name: string, files: readonly string[], concurrency: number): Suite | undefined {
  if (files.length === 0) return undefined;
  const args = [
    ...["--test", `--test-concurrency=${concurrency}`, `--test-timeout=${FILE_MS_MAX}`],
    ...["--test-reporter=tap", ...files],
  ];
  return { name, args, kind: "tests" };
}

/** Built test files under a folder of the project, in a stable order, without those whose source is gone. */
function filesUnder(folder: string): string[] {
  const base = join(dist, folder);
  if (!existsSync(base)) return [];
  return readdirSync(base, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.js"))
    .map((file) => join(base, file))
    .filter((file) => existsSync(join(root, relative(dist, file).replace(/\.js$/, ".ts"))))
    .sort();
}

/** In CI the commit names the seeds, so that every commit tries new ones and a failure can be repeated. */
function firstSeed(): number {
  if (!isCi) return 1;
  const hash = execFileSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
  return Number.parseInt(hash.slice(0, 7), 16);
}

/** Runs a suite, tells what fails as it fails, and counts. */
async function runSuite(suite: Suite): Promise<Counts> {
  say(`== ${suite.name}`);
  const begun = performance.now();
  const child = spawn(process.execPath, [...suite.args], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    timeout: SUITE_MS_MAX,
  });
  current = child;
  const ended = new Promise<number | null>((done, fail) => {
    child.once("error", fail);
    child.once("close", done);
  });
  const counts = suite.kind === "tests" ? await readTap(child) : await readProgram(child);
  const status = await ended;
  if (suite.kind === "program") {
    if (status === 0) counts.passed += 1;
    else counts.failed += 1;
  } else if (status !== 0 && counts.failed === 0) {
    // The runner itself broke, so what it counted cannot be trusted.
    say(`the test runner ended with status ${status}`);
    counts.failed += 1;
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  say(
    `-- ${suite.name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped, ${seconds} s`,
  );
  return counts;
}

async function readProgram(child: ChildProcess): Promise<Counts> {
  for await (const line of linesOf(child)) say(line);
  return { passed: 0, failed: 0, skipped: 0 };
}

/**
 * Reads the TAP of `node --test`. Its closing `# pass`, `# fail`, … lines are the counts; before them a line a file shows
 * that it goes on, and whatever belongs to a failure is shown whole.
 */
async function readTap(child: ChildProcess): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  let failureIndent: number | undefined;
  for await (const line of linesOf(child)) {
    const indent = line.length - line.trimStart().length;
    const text = line.trimStart();
    if (text.startsWith("not ok ")) {
      failureIndent = indent;
      say(line);
      continue;
    }
    if (failureIndent !== undefined) {
      if (indent > failureIndent) {
        say(line);
        continue;
      }
      failureIndent = undefined;
    }
    const closing = /^# (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line);
    if (closing !== null) addCount(counts, closing[1] ?? "", Number(closing[2]));
    else if (text.startsWith("ok ")) sayPassed(text, indent);
    else if (
      indent === 0 &&
      text.startsWith("# ") &&
      !/^# (Subtest|tests|suites|duration_ms)/.test(text)
    )
      say(line);
  }
  return counts;
}

function addCount(counts: Counts, kind: string, count: number): void {
  if (kind === "pass") counts.passed += count;
  else if (kind === "skipped" || kind === "todo") counts.skipped += count;
  else counts.failed += count;
}

function sayPassed(text: string, indent: number): void {
  if (indent > 0) return;
  const skip = /# SKIP ?(.*)$/i.exec(text);
  if (skip === null) {
    say(text.replace(/^ok \d+ - /, "ok "));
    return;
  }
  say(text);
  advice.push(
    `Skipped: ${text.replace(/^ok \d+ - /, "").replace(/ *# SKIP.*$/i, "")}: ${skip[1] ?? ""}`,
  );
}

async function* linesOf(child: ChildProcess): AsyncGenerator<string> {
  if (child.stdout === null) return;
  yield* createInterface({ input: child.stdout });
}

/** Installs what is missing where that can be done; else says how, and in CI counts it as a failure. */
function providePrograms(): void {
  let missing = missingPrograms();
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((each) => each.debian))];
  const command = `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (process.getuid?.() === 0 && hasProgram("apt-get")) {
    say(`== installing ${packages.join(", ")}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    spawnSync("apt-get", ["update", "-q"], { stdio: ["ignore", "ignore", "inherit"], env });
    // Debian starts a server after its installation; the tests start their own.
    const install = ["install", "-y", "-q", "--no-install-recommends", ...packages];
    spawnSync("apt-get", install, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...env, RUNLEVEL: "1" },
    });
    missing = missingPrograms();
  }
  for (const { program } of missing) {
    advice.push(
      `Missing: ${program}; the tests that need it are skipped. Get it with: apt-get update && ${command}`,
    );
    if (isCi) total.failed += 1;
  }
}

function missingPrograms(): { readonly program: string; readonly debian: string }[] {
  return PROGRAMS.filter((each) => !hasProgram(each.program));
}

function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "")
    .split(":")
    .some((folder) => folder !== "" && existsSync(join(folder, name)));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
