import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { Prng } from "../../src/kit/prng.ts";
import { openAndLoad, temporaryDirectory } from "../support/store-directory.ts";
import { StoreShard } from "../support/store-shard.ts";
import { written } from "../support/store-writer.ts";

const WRITER = join(import.meta.dirname, "../support/store-writer.js");
const ROUNDS = 6;

const { HOTHOT_SEED } = process.env;
const seed = Number(HOTHOT_SEED ?? Date.now() % 1_000_000);

interface Writer {
  readonly child: ChildProcess;
  /** The last seq that it said was saved. */
  savedSeq: number;
  failure: string | undefined;
}

/** @param line what a shell runs before it becomes the writer. */
function startWriter(dir: string, line: string, onLine: (writer: Writer) => void): Promise<Writer> {
  const child = spawn("sh", ["-c", `${line} exec "$0" "$@"`, process.execPath, WRITER, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const writer: Writer = { child, savedSeq: 0, failure: undefined };
  createInterface({ input: child.stdout }).on("line", (text) => {
    const [word, rest = ""] = text.split(/ (.*)/);
    if (word === "saved") writer.savedSeq = Number(rest);
    if (word === "failed") writer.failure = rest;
    onLine(writer);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(writer));
  });
}

/** What a writer's shard is at a seq. */
function stateAt(seq: number): StoreShard {
  const shard = new StoreShard(0);
  while (shard.seq < seq) shard.order(written(shard.seq + 1));
  return shard;
}

async function assertHolds(dir: string, savedSeq: number): Promise<number> {
  const { store, restored, damages } = await openAndLoad(dir);
  await store.close();
  assert.deepEqual(damages, []);
  const shard = restored.shards.get(0);
  assert.ok(
    shard !== undefined && shard.seq >= savedSeq,
    `${savedSeq} was saved, ${shard?.seq} is there`,
  );
  assert.deepEqual(shard.contents(), stateAt(shard.seq).contents());
  return shard.seq;
}

test(`what was saved under fsync is there after kill -9 (HOTHOT_SEED=${seed})`, async (t) => {
  const dir = await temporaryDirectory(t);
  const random = new Prng(seed);
  let seq = 0;
  for (let round = 0; round < ROUNDS; round++) {
    let left = 1 + random.below(60);
    const delayMs = random.below(8);
    const writer = await startWriter(dir, "", ({ child }) => {
      left -= 1;
      if (left === 0) setTimeout(() => child.kill("SIGKILL"), delayMs);
    });
    assert.equal(writer.failure, undefined);
    assert.ok(writer.savedSeq > seq, "the writer went on from what it had");
    seq = await assertHolds(dir, writer.savedSeq);
  }
});

test("when the disk takes no more, the store says so, and what was saved is there", async (t) => {
  const dir = await temporaryDirectory(t);
  // No file may grow beyond 512 blocks: writes then fail as on a full disk, and no mount is needed.
  const writer = await startWriter(dir, "ulimit -f 512;", () => {});
  assert.match(writer.failure ?? "", /^io .*File too large/);
  assert.ok(writer.savedSeq > 0);
  await assertHolds(dir, writer.savedSeq);
});
