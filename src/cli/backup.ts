/** `hothot backup`: all keys of a cluster in a file, each shard as of one moment, while the cluster serves. */

import { type IncomingMessage, request } from "node:http";
import type { Command } from "commander";
import { type Configuration, type ShardRecord, SLOT_COUNT } from "../replica/configuration.ts";
import {
  BackupBlockParser,
  BackupError,
  type BackupHeader,
  BackupTotals,
  backupBlockBytes,
  ShardPartChecker,
} from "../store/backup-format.ts";
import { BackupWriter, headBytes, partialPath, summarizeBackup } from "./backup-file.ts";
import { addBackupPlace, type BackupPlace, viewBackupCluster } from "./backup-place.ts";
import { CliError } from "./cli-error.ts";
import type { NodeView } from "./node-view.ts";
import { parseCount } from "./options.ts";
import { formatTable, printLine, printNote } from "./output.ts";
import { pause } from "./processes.ts";

const PATIENCE_SECONDS = 60;
const RETRY_MS = 200;
/** Within this a node must have gathered a shard, ms. */
const HEAD_MS_MAX = 60_000;
/** Silence in the middle of a shard after which another node is asked, ms. */
const SILENT_MS_MAX = 10_000;
const REFUSAL_BYTES_MAX = 4 * 1024;
const PROGRESS_MS = 2_000;

interface BackupFlags extends BackupPlace {
  readonly verify?: true;
  readonly patience: number;
}

/** Adds the command `backup`. */
export function addBackupCommand(program: Command): void {
  addBackupPlace(
    program
      .command("backup")
      .description("write all keys to a file while the cluster serves; each shard as of one moment")
      .argument("<file>", "an older backup there is replaced when the new one is whole")
      .option("--verify", "compare the checksums of a backup, and tell what is in it")
      .option(
        "--patience <seconds>",
        "how long a shard that no node gives is asked for",
        parseCount(0, 86_400),
        PATIENCE_SECONDS,
      ),
  ).action(async (file: string, flags: BackupFlags) => {
    if (flags.verify === true) await verifyBackup(file);
    else await untilStopped((signal) => backupCluster(file, flags, signal));
  });
}

/** @throws CliError if the file is no whole backup. */
async function verifyBackup(file: string): Promise<void> {
  const { header, shards, keys, expiring } = await summarizeBackup(file).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  const rows = shards.map(({ shard, firstSlot, lastSlot, keys: count, seq, epoch, ...rest }) => [
    String(shard),
    `${firstSlot}-${lastSlot}`,
    String(count),
    String(seq),
    String(epoch),
    rest.node,
    new Date(rest.takenAtMs).toISOString(),
  ]);
  printLine(
    `${file} is whole: ${keys} keys, ${expiring} of them with a time to live, of cluster ${header.clusterId}, begun ${new Date(header.startedAtMs).toISOString()}.`,
  );
  printLine();
  for (const line of formatTable(
    ["shard", "slots", "keys", "as of seq", "epoch", "from", "taken"],
    rows,
  ))
    printLine(line);
}

/** @returns what to tell whoever wanted to read the file. */
export function unreadable(file: string, error: unknown): unknown {
  if (error instanceof BackupError) {
    return new CliError(`${file} cannot be used: ${error.message}.`, { cause: error });
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  return new CliError(`${file} cannot be read: ${message}`, { cause: error });
}

/** Runs something until it ends or the process is told to, so that nothing is left lying about. */
async function untilStopped(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  try {
    await run(stopping.signal);
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    throw new CliError("Stopped; nothing was written.", { cause: error });
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}

async function backupCluster(file: string, place: BackupFlags, signal: AbortSignal): Promise<void> {
  const begunMs = performance.now();
  const known = await viewBackupCluster(place);
  const configuration = newestConfiguration(known);
  const writer = await BackupWriter.create(file).catch((error: NodeJS.ErrnoException) => {
    const partial = partialPath(file);
    throw new CliError(
      error.code === "EEXIST"
        ? `${partial} is there: another backup writes it, or one was killed; then delete it.`
        : `${partial} cannot be written: ${error.message}`,
      { cause: error },
    );
  });
  try {
    const { clusterId, shards } = configuration;
    const header: BackupHeader = {
      kind: "header",
      clusterId,
      startedAtMs: Date.now(),
      shardCount: shards.length,
    };
    await writer.write(headBytes(header));
    const totals = new BackupTotals(header, backupBlockBytes(header));
    const progress = new Progress(shards.length);
    for (const shard of shards) {
      const part = await takeShard({ place, known, clusterId, shard, writer, progress, signal });
      totals.add(part.shard, part.end);
    }
    const end = totals.end(SLOT_COUNT);
    await writer.write(backupBlockBytes(end));
    const { bytes } = writer;
    await writer.finish();
    const seconds = ((performance.now() - begunMs) / 1000).toFixed(1);
    printLine(
      `${file}: ${end.keys} keys of ${end.shards} shards, ${megabytes(bytes)}, in ${seconds} s.`,
    );
  } catch (error) {
    await writer.discard();
    if (error instanceof CliError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || signal.aborted) throw error;
    throw new CliError(`${partialPath(file)} cannot be written: ${message}`, { cause: error });
  }
}

/** @throws CliError if no node knows the cluster. */
function newestConfiguration(views: readonly NodeView[]): Configuration {
  const known = views
    .flatMap(({ answer }) => (answer?.configuration === undefined ? [] : [answer.configuration]))
    .sort((a, b) => b.version - a.version);
  const [newest] = known;
  if (newest === undefined) throw new CliError("No node answers; see: hothot status");
  return newest;
}

interface TakeOptions {
  readonly place: BackupFlags;
  readonly known: readonly NodeView[];
  readonly clusterId: string;
  readonly shard: ShardRecord;
  readonly writer: BackupWriter;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Writes a shard's part, from whichever node gives it whole. @throws CliError if none does. */
async function takeShard(options: TakeOptions) {
  const { place, known, clusterId, shard, writer, signal, progress } = options;
  const begin = writer.bytes;
  const deadline = performance.now() + place.patience * 1000;
  let trouble = "no node that answers serves it";
  let told = "";
  for (;;) {
    const views = await viewBackupCluster(place, known).catch((error: unknown) => {
      if (error instanceof CliError) trouble = error.message;
      else throw error;
      return [];
    });
    for (const node of candidates(views, clusterId, shard)) {
      signal.throwIfAborted();
      let failure: string;
      try {
        return await fetchPart(node, options);
      } catch (error) {
        if (error instanceof PartError) failure = error.message;
        else throw error;
      }
      await writer.cut(begin);
      trouble = `${node.id}: ${failure}`;
      if (trouble !== told) printNote(`shard ${shard.id}: ${trouble}; going on with another node`);
      told = trouble;
    }
    signal.throwIfAborted();
    if (performance.now() > deadline) {
      throw new CliError(
        `Shard ${shard.id} could not be had within ${place.patience} s (${trouble}); nothing was written. See: hothot status`,
      );
    }
    progress.tell(shard.id, writer.bytes);
    await pause(RETRY_MS);
  }
}

/** The nodes that serve the shard: backups first, which have less to do, and not the same one for every shard. */
function candidates(views: readonly NodeView[], clusterId: string, shard: ShardRecord) {
  const serving = (role: "primary" | "backup"): NodeView[] =>
    views.filter(
      ({ answer }) =>
        answer?.configuration?.clusterId === clusterId &&
        answer.status.shards.some(
          (each) => each.shard === shard.id && each.serves && each.role === role,
        ),
    );
  const backups = serving("backup");
  const first = backups.length === 0 ? 0 : shard.id % backups.length;
  return [...backups.slice(first), ...backups.slice(0, first), ...serving("primary")];
}

/** Why a node did not give a shard's part. */
class PartError extends Error {}

/** @throws PartError if the node does not give it whole; what the file throws is passed on. */
async function fetchPart(node: NodeView, options: TakeOptions) {
  const { shard, writer, progress, signal } = options;
  const incoming = await ask(node, shard, signal);
  const parser = new BackupBlockParser();
  const checker = new ShardPartChecker();
  const chunks = incoming[Symbol.asyncIterator]();
  for (;;) {
    const next = await chunks.next().catch((error: unknown) => {
      throw partError(error);
    });
    if (next.done === true) break;
    parser.push(next.value as Buffer);
    for (;;) {
      const read = nextBlock(parser, checker);
      if (read === undefined) break;
      await writer.write(read);
      progress.tell(shard.id, writer.bytes);
    }
  }
  const { shard: head, end } = checker;
  if (head === undefined || end === undefined || parser.bytesLeft > 0) {
    throw new PartError("it ended early");
  }
  if (
    head.shard !== shard.id ||
    head.firstSlot !== shard.firstSlot ||
    head.lastSlot !== shard.lastSlot
  ) {
    throw new CliError(`Shard ${shard.id} is not what it was; begin again.`);
  }
  return { shard: head, end };
}

function nextBlock(parser: BackupBlockParser, checker: ShardPartChecker): Buffer | undefined {
  try {
    const read = parser.next();
    if (read !== undefined) checker.take(read);
    return read?.bytes;
  } catch (error) {
    throw partError(error);
  }
}

/** @returns the answer once it begins. */
function ask(node: NodeView, { id }: ShardRecord, signal: AbortSignal): Promise<IncomingMessage> {
  const { host, httpPort: port } = node;
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path: `/backup?shard=${id}`, agent: false, signal });
    outgoing.setTimeout(HEAD_MS_MAX, () => {
      outgoing.destroy(new Error("it is silent"));
    });
    outgoing.on("error", (error) => reject(partError(error)));
    outgoing.on("response", (incoming) => {
      if (incoming.statusCode === 200) {
        incoming.setTimeout(SILENT_MS_MAX);
        resolve(incoming);
        return;
      }
      let body = "";
      incoming.setEncoding("utf8");
      incoming.on("data", (text: string) => {
        if (body.length < REFUSAL_BYTES_MAX) body += text;
      });
      incoming.on("error", (error) => reject(partError(error)));
      incoming.on("end", () => reject(new PartError(`it refuses: ${reasonOf(body)}`)));
    });
    outgoing.end();
  });
}

function partError(error: unknown): PartError {
  return new PartError(error instanceof Error ? error.message : String(error), { cause: error });
}

function reasonOf(body: string): string {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null && "reason" in value)
      return String(value.reason);
  } catch {
    // Then it is as it is.
  }
  return body;
}

class Progress {
  readonly #shards: number;
  #nextMs = performance.now() + PROGRESS_MS;

  constructor(shards: number) {
    this.#shards = shards;
  }

  /** Tells how far it is, now and then. */
  tell(shard: number, bytes: number): void {
    const nowMs = performance.now();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + PROGRESS_MS;
    printNote(`shard ${shard} of ${this.#shards}, ${megabytes(bytes)}`);
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
