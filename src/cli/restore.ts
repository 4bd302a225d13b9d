/** `hothot restore`: puts the keys of a backup into a running cluster, whatever nodes and shards it has. */

import { createInterface } from "node:readline/promises";
import { type Command, Option } from "commander";
import { unreadable } from "./backup.ts";
import { type BackupSummary, readBackupRecords, summarizeBackup } from "./backup-file.ts";
import { addBackupPlace, type BackupPlace, viewBackupCluster } from "./backup-place.ts";
import { CliError } from "./cli-error.ts";
import { Loader } from "./loader.ts";
import { printLine, printNote } from "./output.ts";

const PROGRESS_MS = 2_000;

interface RestoreFlags extends BackupPlace {
  readonly merge?: true;
  readonly replace?: true;
  readonly yes?: true;
}

/** Adds the command `restore`. */
export function addRestoreCommand(program: Command): void {
  addBackupPlace(
    program
      .command("restore")
      .description("put the keys of a backup into a running cluster; it may have other shards")
      .argument("<file>", "what hothot backup has written")
      .option("--merge", "keep the cluster's keys; those that the backup has too get its values")
      .addOption(new Option("--replace", "delete all keys of the cluster first").conflicts("merge"))
      .option("--yes", "do not ask before keys are deleted"),
  )
    .addHelpText("after", "\nA password that clients have to give is taken from HOTHOT_PASSWORD.")
    .action(restore);
}

async function restore(file: string, flags: RestoreFlags): Promise<void> {
  const begunMs = performance.now();
  printNote(`reading ${file}`);
  const summary = await summarizeBackup(file).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  const views = await viewBackupCluster(flags);
  const nodes = views
    .filter(({ answer }) => answer !== undefined)
    .map(({ host, respPort: port }) => ({ host, port }));
  const password = process.env["HOTHOT_PASSWORD"];
  const progress = new Progress(summary.keys);
  const loader = new Loader({
    nodes,
    ...(password === undefined
      ? {}
      : { password: Buffer.from(password, "utf8").toString("latin1") }),
    onStored: (keys) => progress.add(keys),
  });
  await makeRoom(loader, flags);
  const before = await sizeOf(loader);
  const counts = await loader.load(readBackupRecords(file), Date.now).catch((error: unknown) => {
    const cause = unreadable(file, error);
    if (!(cause instanceof CliError)) throw cause;
    throw new CliError(
      `${cause.message} So far ${progress.stored} of ${summary.keys} keys are restored; to go on, run it again with --merge.`,
      { cause },
    );
  });
  const after = await sizeOf(loader);
  judge({ before, after, stored: counts.stored, summary });
  const seconds = ((performance.now() - begunMs) / 1000).toFixed(1);
  printLine(
    `${counts.stored} keys are restored in ${seconds} s, ${counts.expired} were past their time; the cluster holds ${after}.`,
  );
}

/** @throws CliError if there are keys, and they may not be deleted nor mixed with others. */
async function makeRoom(loader: Loader, flags: RestoreFlags): Promise<void> {
  const size = await sizeOf(loader);
  if (size === 0 || flags.merge === true) return;
  if (flags.replace !== true) {
    throw new CliError(
      `The cluster holds ${size} keys. Say --merge to keep them, or --replace to delete them first.`,
    );
  }
  if (flags.yes !== true) await confirm(size);
  await loader.ask(["FLUSHALL"]);
  const left = await sizeOf(loader);
  if (left > 0) {
    throw new CliError(
      `All keys were deleted, and there are ${left} again: stop who writes, or say --merge.`,
    );
  }
}

/** @throws CliError unless the person at the terminal says yes. */
async function confirm(keys: number): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new CliError("Nothing was done. There is nobody to ask; say --yes if it is to be done.");
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`Type ${keys} to delete the cluster's ${keys} keys: `);
    if (answer.trim() !== String(keys)) throw new CliError("Nothing was done.");
  } finally {
    terminal.close();
  }
}

async function sizeOf(loader: Loader): Promise<number> {
  const reply = await loader.ask(["DBSIZE"]);
  if (typeof reply === "number" || typeof reply === "bigint") return Number(reply);
  throw new CliError(`DBSIZE was answered ${String(reply)}: it is no HotHot node.`);
}

/** @throws CliError if keys are missing. */
function judge(found: {
  readonly before: number;
  readonly after: number;
  readonly stored: number;
  readonly summary: BackupSummary;
}): void {
  const { before, after, stored, summary } = found;
  // A key with an end may have met it by now.
  const least = Math.max(0, stored - summary.expiring);
  if (after < least) {
    throw new CliError(
      `${stored} keys were stored, but the cluster holds ${after}: somebody deletes keys, or they are lost. See: hothot status`,
    );
  }
  if (after > before + stored) {
    printNote(
      `the cluster holds ${after - before - stored} keys more than were restored: others write to it`,
    );
  }
}

class Progress {
  readonly #total: number;
  #stored = 0;
  #nextMs = performance.now() + PROGRESS_MS;

  constructor(total: number) {
    this.#total = total;
  }

  get stored(): number {
    return this.#stored;
  }

  add(keys: number): void {
    this.#stored += keys;
    const nowMs = performance.now();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + PROGRESS_MS;
    printNote(`${this.#stored} of ${this.#total} keys`);
  }
}
