/**
 * `GET /backup?shard=N`: all keys of a shard as of one committed entry, as blocks of `store/backup-format`. Only a node that
 * serves the shard answers. It serves on meanwhile: the keys are gathered in small steps and leave at a bounded rate, and a
 * reader that is slow is waited for.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Hono } from "hono";
import type { KeyRecord } from "../data/effect.ts";
import type { Driver } from "../node/driver.ts";
import { ShardSnapshot } from "../node/shard-snapshot.ts";
import type { ShardStatus } from "../replica/surface.ts";
import {
  type BackupBlock,
  type BackupRecord,
  backupBlockBytes,
  chainChecksum,
  RECORDS_BYTES,
} from "../store/backup-format.ts";

/** Bytes of keys that one turn of the event loop gathers. */
const STEP_BYTES = 64 * 1024;
/** Time between two steps, ms: the node's clients have it to themselves. */
const STEP_PAUSE_MS = 1;
/** How often it is looked whether what was gathered is committed, and how long at most, ms. */
const COMMIT_LOOK_MS = 5;
const COMMIT_MS_MAX = 10_000;
const BYTES_PER_SECOND = 24 << 20;
/** Time in which a reader has to take something, ms: what was gathered holds memory. */
const READER_MS_MAX = 60_000;
/** What a record costs besides its key and value, roughly. */
const RECORD_OVERHEAD_BYTES = 8;

/** What the route needs of the driver. */
export type BackupSource = Pick<Driver, "status" | "configuration" | "stored">;

/** Why a node gives no backup of a shard; another one may. */
class NoBackup extends Error {}

/** Adds the route. A node makes one backup at a time: 503 while it makes another, or if it does not serve the shard. */
export function addBackupRoute(app: Hono, source: BackupSource): void {
  let isBusy = false;
  app.get("/backup", async ({ req }) => {
    const text = req.query("shard") ?? "";
    const shard = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(shard)) return error(400, "shard must be a number");
    if (source.configuration()?.shards[shard] === undefined) return error(404, "no such shard");
    if (isBusy) return error(503, "this node makes another backup");
    isBusy = true;
    const done = (): void => {
      isBusy = false;
    };
    try {
      const blocks = await gather(source, shard, req.raw.signal);
      return new Response(streamOf(blocks, done), {
        headers: { "content-type": "application/octet-stream" },
      });
    } catch (cause) {
      done();
      if (cause instanceof NoBackup) return error(503, cause.message);
      throw cause;
    }
  });
}

/** @returns the blocks of the shard's part, as of an entry that is committed. @throws NoBackup */
async function gather(
  source: BackupSource,
  shard: number,
  signal: AbortSignal,
): Promise<Generator<BackupBlock>> {
  const before = serving(source, shard);
  const stored = source.stored(shard);
  if (stored === undefined) throw new NoBackup("this node does not hold the shard");
  const snapshot = new ShardSnapshot(stored, before);
  while (!snapshot.step(STEP_BYTES)) {
    await sleep(STEP_PAUSE_MS);
    // In another epoch the state may be another one altogether.
    if (source.configuration()?.shards[shard]?.epoch !== before.epoch) throw changedEpoch();
    if (signal.aborted) throw new NoBackup("nobody waits for it");
  }
  const takenAtMs = Date.now();
  const deadline = performance.now() + COMMIT_MS_MAX;
  for (;;) {
    const now = serving(source, shard);
    if (now.epoch !== before.epoch) throw changedEpoch();
    if (now.commitSeq >= snapshot.seq) break;
    if (performance.now() > deadline) {
      throw new NoBackup(`what was gathered was not committed within ${COMMIT_MS_MAX} ms`);
    }
    await sleep(COMMIT_LOOK_MS);
  }
  const { firstSlot, lastSlot, epoch } = before;
  const { seq } = snapshot;
  const node = source.status().nodeId;
  return blocksOf(
    { kind: "shard", shard, firstSlot, lastSlot, seq, epoch, node, takenAtMs },
    snapshot.take(),
  );
}

/** The shard as this node serves it. @throws NoBackup if it does not. */
function serving(source: BackupSource, shard: number): ShardStatus {
  const status = source.status().shards.find((each) => each.shard === shard);
  if (status?.serves === true && (status.role === "primary" || status.role === "backup")) {
    return status;
  }
  throw new NoBackup("this node does not serve the shard");
}

function changedEpoch(): NoBackup {
  return new NoBackup("the shard's members changed meanwhile");
}

function* blocksOf(
  shard: BackupBlock & { readonly kind: "shard" },
  all: Iterable<KeyRecord>,
): Generator<BackupBlock> {
  yield shard;
  let records: BackupRecord[] = [];
  let bytes = 0;
  for (const { key, value, expireAtMs } of all) {
    records.push({ key, value, expireAtMs });
    bytes += key.length + value.length + RECORD_OVERHEAD_BYTES;
    if (bytes < RECORDS_BYTES) continue;
    yield { kind: "records", records };
    records = [];
    bytes = 0;
  }
  if (records.length > 0) yield { kind: "records", records };
}

/** @param done called once, when the stream has ended in whatever way. */
function streamOf(blocks: Generator<BackupBlock>, done: () => void): ReadableStream<Uint8Array> {
  let checksum = 0;
  let keys = 0;
  let nextAtMs = performance.now();
  let idle: NodeJS.Timeout | undefined;
  let isFinished = false;
  const finish = (): void => {
    if (isFinished) return;
    isFinished = true;
    clearTimeout(idle);
    blocks.return(undefined);
    done();
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        idle = setTimeout(() => {
          controller.error(new Error(`the reader took nothing for ${READER_MS_MAX} ms`));
          finish();
        }, READER_MS_MAX);
        idle.unref();
      },
      async pull(controller) {
        // At least a turn of the loop, so that a fast reader does not keep it from the clients.
        await sleep(Math.max(STEP_PAUSE_MS, nextAtMs - performance.now()));
        idle?.refresh();
        const next = blocks.next();
        if (next.done === true) {
          controller.enqueue(backupBlockBytes({ kind: "shard-end", keys, checksum }));
          controller.close();
          finish();
          return;
        }
        const block = next.value;
        if (block.kind === "records") keys += block.records.length;
        const bytes = backupBlockBytes(block);
        checksum = chainChecksum(checksum, bytes);
        nextAtMs =
          Math.max(nextAtMs, performance.now() - STEP_PAUSE_MS) +
          (bytes.length * 1000) / BYTES_PER_SECOND;
        controller.enqueue(bytes);
      },
      cancel: finish,
    },
    { highWaterMark: 1 },
  );
}

function error(status: number, reason: string): Response {
  return Response.json({ status: "error", reason }, { status });
}
