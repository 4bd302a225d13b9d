/** Backups of clusters that work, and what becomes of them in other clusters. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readBackup } from "../../src/cli/backup-file.ts";
import { killNode } from "../../src/cli/cluster-state.ts";
import { slotOf } from "../../src/kit/crc16.ts";
import { Prng } from "../../src/kit/prng.ts";
import { isRefusal } from "../support/register-load.ts";
import { RespClient } from "../support/resp-client.ts";
import {
  type Finished,
  HOTHOT,
  nodeAt,
  runHothot,
  sleep,
  startTestCluster,
  type TestCluster,
  until,
} from "./harness.ts";

const BATCH = 200;
/** Far enough that it does not come while a test runs. */
const LATER_MS = 3_600_000;

test("a backup under load is of one moment in each shard, and goes into a cluster with other shards", {
  timeout: 180_000,
}, async (t) => {
  const source = await startTestCluster(t, { nodes: 3, shards: 4 });
  const file = join(scratch(t), "backup");
  const kept = values(8_000, 400);
  await store(source, kept);
  const soon = Date.now() + 200;
  await askOne(source, 0, "SET", "gone", "x", "PXAT", String(soon));
  const load = countPairs(source);
  await until("the load has begun", () => load.counted > 100);

  const done = await source.hothot("backup", file);
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /keys of 4 shards/);
  const during = load.counted;
  await until("clients are still served", () => load.counted > during);
  await load.stop();
  assert.deepEqual(load.troubles, []);
  assert.equal(existsSync(`${file}.partial`), false);

  const pairs = new Map<string, Set<string>>();
  let keys = 0;
  for await (const block of readBackup(file)) {
    if (block.kind !== "records") continue;
    for (const { key, value } of block.records) {
      keys += 1;
      const [, tag] = /^pair:(\d+):/.exec(key) ?? [];
      if (tag !== undefined) pairs.set(tag, (pairs.get(tag) ?? new Set()).add(value));
    }
  }
  assert.equal(pairs.size, PAIRS);
  for (const [tag, found] of pairs) assert.equal(found.size, 1, `pair ${tag}: ${[...found]}`);
  assert.ok(keys >= kept.size + 2 * PAIRS);

  await until("the short-lived key is past its time", () => Date.now() > soon);
  const target = await startTestCluster(t, { nodes: 2, shards: 7 });
  const restored = await target.hothot("restore", file);
  assert.equal(restored.status, 0, restored.stderr);
  await assertHolds(target, kept);
  assert.equal(await askOne(target, 1, "GET", "gone"), null);
  assert.ok(Number(await askOne(target, 1, "PTTL", "ends:7")) > LATER_MS / 2);
  for (const [tag, found] of pairs) {
    for (const key of pairKeys(Number(tag))) {
      assert.equal(await askOne(target, 0, "GET", key), [...found][0]);
    }
  }
  // A cluster that holds keys is touched only on request.
  const refused = await target.hothot("restore", file);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /--merge .* --replace/);
  await askOne(target, 0, "SET", "mine", "1");
  await askOne(target, 0, "SET", "plain:1", "changed");
  const merged = await target.hothot("restore", file, "--merge");
  assert.equal(merged.status, 0, merged.stderr);
  assert.equal(await askOne(target, 0, "GET", "mine"), "1");
  const silent = await target.hothot("restore", file, "--replace");
  assert.equal(silent.status, 1);
  assert.match(silent.stderr, /--yes/);
  assert.equal(await askOne(target, 0, "GET", "mine"), "1");
  const replaced = await target.hothot("restore", file, "--replace", "--yes");
  assert.equal(replaced.status, 0, replaced.stderr);
  assert.equal(await askOne(target, 0, "GET", "mine"), null);
  await assertHolds(target, kept);
});

test("a damaged file is found, and nothing of it is restored", { timeout: 90_000 }, async (t) => {
  const cluster = await startTestCluster(t, { nodes: 1, shards: 2 });
  const folder = scratch(t);
  const file = join(folder, "backup");
  await store(cluster, values(500));
  assert.equal((await cluster.hothot("backup", file)).status, 0);
  const whole = await cluster.hothot("backup", "--verify", file);
  assert.equal(whole.status, 0, whole.stderr);
  assert.match(whole.stdout, /is whole: 1000 keys, 500 of them/);
  const bytes = readFileSync(file);
  const prng = new Prng(7);
  for (let attempt = 0; attempt < 6; attempt += 1) {
    const isCut = attempt % 2 === 0;
    const at = prng.below(bytes.length);
    const wrong = Buffer.from(isCut ? bytes.subarray(0, at) : bytes);
    if (!isCut) wrong[at] = (wrong[at] ?? 0) ^ 0x10;
    const bad = join(folder, `bad-${attempt}`);
    writeFileSync(bad, wrong);
    const verified = await cluster.hothot("backup", "--verify", bad);
    assert.equal(verified.status, 1, `${isCut ? "cut" : "changed"} at ${at} of ${bytes.length}`);
    assert.match(verified.stderr, /cannot be used/);
  }
  const bad = join(folder, "bad-0");
  const restored = await cluster.hothot("restore", bad, "--replace", "--yes");
  assert.equal(restored.status, 1);
  assert.equal(await askOne(cluster, 0, "DBSIZE"), 1_000);
});

test("a backup outlives a node that is killed while it is made, and leaves nothing if the cluster is", {
  timeout: 150_000,
}, async (t) => {
  const { cluster, folder, kept } = await startLongBackup(t);

  const first = join(folder, "first");
  const making = begin(cluster, "backup", first);
  // In the middle of the first shard, which the command takes from a backup: one of the two is this node.
  await until("the backup has begun", () => sizeOf(`${first}.partial`) > 1_000_000);
  await killNode(cluster.state, "n2");
  const made = await making.ended;
  assert.equal(made.status, 0, made.stderr);
  t.diagnostic(made.stderr.trim());
  const verified = await cluster.hothot("backup", "--verify", first);
  assert.equal(verified.status, 0, verified.stderr);
  assert.match(verified.stdout, new RegExp(`is whole: ${kept.size} keys`));

  const second = join(folder, "second");
  const dying = begin(cluster, "backup", second, "--patience", "3");
  await until("the backup has begun", () => sizeOf(`${second}.partial`) > 1_000_000);
  await killNode(cluster.state, "n1");
  await killNode(cluster.state, "n3");
  const died = await dying.ended;
  assert.equal(died.status, 1);
  assert.match(died.stderr, /could not be had/);
  assert.deepEqual(readdirSync(folder), ["first"]);
});

test("a backup that is interrupted leaves nothing, and a restore outlives a node that is killed", {
  timeout: 150_000,
}, async (t) => {
  const { cluster, folder, kept } = await startLongBackup(t);

  const file = join(folder, "backup");
  const stopped = begin(cluster, "backup", file);
  await until("the backup has begun", () => sizeOf(`${file}.partial`) > 1_000_000);
  stopped.kill("SIGINT");
  const { status, stderr } = await stopped.ended;
  assert.equal(status, 1);
  assert.match(stderr, /Stopped; nothing was written/);
  assert.deepEqual(readdirSync(folder), []);

  const { host, httpPort } = nodeAt(cluster.state, 1);
  for (const place of [
    ["--node", `${host}:${httpPort}`],
    ["--register", cluster.state.witness.url],
  ]) {
    const made = await runHothot("backup", file, ...place);
    assert.equal(made.status, 0, made.stderr);
    assert.match(made.stdout, new RegExp(`${kept.size} keys of 3 shards`));
  }

  await askOne(cluster, 0, "FLUSHALL");
  const restoring = begin(cluster, "restore", file);
  await until(
    "the restore has begun",
    async () => Number(await askOne(cluster, 0, "DBSIZE")) > 500,
  );
  await killNode(cluster.state, "n2");
  const restored = await restoring.ended;
  assert.equal(restored.status, 0, restored.stderr);
  assert.match(restored.stdout, new RegExp(`^${kept.size} keys are restored`));
  await assertHolds(cluster, kept);
});

const PAIRS = 40;
/** Of each of the four shards of the cluster that is backed up under load. */
const SHARD_SLOTS = 4_096;

/** Each client adds one to two keys of a shard in one transaction, again and again: nobody must ever see them differ. */
function countPairs(cluster: TestCluster) {
  let isStopped = false;
  const load = { counted: 0, troubles: [] as string[], stop };
  const workers = Array.from({ length: PAIRS }, async (_, pair) => {
    const client = await RespClient.connect(nodeAt(cluster.state, pair % 3).respPort);
    const [first, second] = pairKeys(pair);
    try {
      while (!isStopped) {
        client.send(["MULTI"], ["INCR", first], ["INCR", second], ["EXEC"]);
        const replies = await client.take(4);
        if (replies.some(isRefusal)) load.troubles.push(JSON.stringify(replies));
        load.counted += 1;
        await sleep(5);
      }
    } finally {
      client.destroy();
    }
  });
  async function stop(): Promise<void> {
    isStopped = true;
    await Promise.all(workers);
  }
  return load;
}

/** Two keys of one shard whose slots lie far apart, so that they are gathered at different times. */
function pairKeys(pair: number): [string, string] {
  const first = `pair:${pair}:a`;
  const slot = slotOf(first);
  for (let each = 0; ; each += 1) {
    const second = `pair:${pair}:${each}`;
    const other = slotOf(second);
    const isSame = Math.floor(slot / SHARD_SLOTS) === Math.floor(other / SHARD_SLOTS);
    if (isSame && Math.abs(slot - other) > SHARD_SLOTS / 3) return [first, second];
  }
}

/** Bytes of values that make a backup, at the rate at which it leaves a node, last for some two seconds. */
const LONG_BYTES = 8_000;

/** Keys and values of all bytes; half of the keys have an end. */
function values(count: number, valueBytes = 20): Map<string, string> {
  const prng = new Prng(count);
  const all = new Map<string, string>();
  for (let each = 0; each < count; each += 1) {
    const bytes = Buffer.from(Array.from({ length: 20 }, () => prng.below(256)));
    all.set(`plain:${each}`, bytes.toString("latin1").repeat(valueBytes / 20));
    all.set(`ends:${each}`, `\0\r\n\xff${each}`);
  }
  return all;
}

async function store(cluster: TestCluster, all: ReadonlyMap<string, string>): Promise<void> {
  const later = String(Date.now() + LATER_MS);
  const requests = [...all].map(([key, value]) =>
    key.startsWith("ends:") ? ["SET", key, value, "PXAT", later] : ["SET", key, value],
  );
  for (const reply of await askAll(cluster, requests)) assert.ok(!isRefusal(reply), String(reply));
}

async function assertHolds(cluster: TestCluster, all: ReadonlyMap<string, string>): Promise<void> {
  const keys = [...all.keys()];
  const found = await askAll(
    cluster,
    keys.map((key) => ["GET", key]),
  );
  for (const [at, key] of keys.entries()) {
    if (found[at] !== all.get(key)) assert.equal(found[at], all.get(key), key);
  }
}

async function askAll(cluster: TestCluster, requests: readonly (readonly string[])[]) {
  const client = await RespClient.connect(nodeAt(cluster.state, 0).respPort);
  try {
    const replies = [];
    for (let from = 0; from < requests.length; from += BATCH) {
      const part = requests.slice(from, from + BATCH);
      client.send(...part);
      replies.push(...(await client.take(part.length)));
    }
    return replies;
  } finally {
    client.destroy();
  }
}

async function askOne(cluster: TestCluster, node: number, ...args: string[]) {
  const client = await RespClient.connect(nodeAt(cluster.state, node).respPort);
  try {
    return await client.ask(...args);
  } finally {
    client.destroy();
  }
}

/** A cluster that stays as it is killed, with so much in it that there is time to interrupt a backup. */
async function startLongBackup(t: TestContext) {
  const cluster = await startTestCluster(t, { nodes: 3, shards: 3, args: ["--no-restart"] });
  const kept = values(6_000, LONG_BYTES);
  await store(cluster, kept);
  return { cluster, folder: scratch(t), kept };
}

/** Begins a command of `hothot`. */
function begin(
  cluster: TestCluster,
  ...args: string[]
): { readonly ended: Promise<Finished>; kill(signal: NodeJS.Signals): void } {
  const child = spawn(process.execPath, [HOTHOT, ...args, "--dir", cluster.dir], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 120_000,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
  return { ended, kill: (signal) => child.kill(signal) };
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "hothot-backup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
