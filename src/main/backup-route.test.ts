import assert from "node:assert/strict";
import { test } from "node:test";
import { Hono } from "hono";
import { ShardEngine } from "../commands/shard-engine.ts";
import { effectsOf } from "../data/effect-writer.ts";
import type { Configuration } from "../replica/configuration.ts";
import { Log } from "../replica/log.ts";
import type { NodeStatus, ShardStatus, StoredShard } from "../replica/surface.ts";
import { BackupBlockParser, ShardPartChecker } from "../store/backup-format.ts";
import { addBackupRoute, type BackupSource } from "./backup-route.ts";

const RANGE = { firstSlot: 0, lastSlot: 16_383 };
/** Much more than any buffer between the node and its reader. */
const VALUE = "x".repeat(64 * 1024);

/** A node with one shard, which only says of itself what a test wants it to. */
class TestNode implements BackupSource {
  readonly app = new Hono();
  readonly machine = new ShardEngine(RANGE);
  readonly log = new Log();
  role: ShardStatus["role"] = "backup";
  serves = true;
  epoch = 5;
  commitSeq = Number.MAX_SAFE_INTEGER;

  constructor() {
    addBackupRoute(this.app, this);
  }

  set(key: string, value: string): void {
    const seq = this.log.lastSeq + 1;
    const effects = effectsOf([{ kind: "set", key, value, expireAtMs: 0 }]);
    this.machine.apply(effects, seq);
    this.log.append({ seq, epoch: 5, stamp: undefined, reply: null, effects });
  }

  ask(query = "?shard=0"): Promise<Response> {
    return Promise.resolve(this.app.request(`/backup${query}`));
  }

  status(): NodeStatus {
    const { role, serves, epoch, commitSeq } = this;
    const shard = { shard: 0, ...RANGE, role, serves, epoch, commitSeq } as ShardStatus;
    return { nodeId: "n2", shards: [shard] } as unknown as NodeStatus;
  }

  configuration(): Configuration {
    return { shards: [{ id: 0, ...RANGE, epoch: this.epoch }] } as unknown as Configuration;
  }

  stored(): StoredShard {
    const { log, machine } = this;
    return {
      record: RANGE,
      log,
      machine,
      checkpoint: () => assert.fail("a backup needs no checkpoint"),
    };
  }
}

async function readAll(response: Response) {
  assert.equal(response.status, 200);
  const parser = new BackupBlockParser();
  const checker = new ShardPartChecker();
  const found = new Map<string, string>();
  parser.push(Buffer.from(await response.arrayBuffer()));
  for (let read = parser.next(); read !== undefined; read = parser.next()) {
    checker.take(read);
    if (read.block.kind !== "records") continue;
    for (const { key, value } of read.block.records) found.set(key, value);
  }
  assert.equal(parser.bytesLeft, 0);
  assert.ok(checker.end !== undefined);
  return { found, shard: checker.shard };
}

/** Begins to read the backup of a node with 40 keys, of which much is yet to come. */
async function beginReading(node: TestNode) {
  for (let each = 0; each < 40; each++) node.set(`key:${each}`, VALUE);
  const response = await node.ask();
  const reader = response.body?.getReader() ?? assert.fail("there is no body");
  await reader.read();
  return reader;
}

async function refusal(response: Response, status: number): Promise<string> {
  assert.equal(response.status, status);
  const { reason } = (await response.json()) as { readonly reason: string };
  return reason;
}

test("a backup has all keys, and says of which entry and epoch they are", async () => {
  const node = new TestNode();
  for (let each = 0; each < 5_000; each++) node.set(`key:${each}`, `\0\xff${each}`);
  const { found, shard } = await readAll(await node.ask());
  assert.equal(found.size, 5_000);
  assert.equal(found.get("key:4999"), "\0\xff4999");
  const { takenAtMs, ...facts } = shard ?? assert.fail("there is no head");
  assert.ok(takenAtMs > 0);
  assert.deepEqual(facts, { kind: "shard", shard: 0, ...RANGE, seq: 5_000, epoch: 5, node: "n2" });
});

test("what is not committed is waited for, and does not change meanwhile", async () => {
  const node = new TestNode();
  node.set("a", "1");
  node.set("b", "1");
  node.commitSeq = 1;
  let isAnswered = false;
  const asked = node.ask().then((response) => {
    isAnswered = true;
    return response;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(isAnswered, false);
  node.set("a", "2");
  node.commitSeq = 2;
  const { found } = await readAll(await asked);
  assert.deepEqual([...found].sort(), [
    ["a", "1"],
    ["b", "1"],
  ]);
});

test("only who serves the shard, and goes on to serve it in the same epoch, gives it", async () => {
  const node = new TestNode();
  node.set("a", "1");
  node.serves = false;
  assert.match(await refusal(await node.ask(), 503), /does not serve/);
  node.serves = true;
  node.role = "learner";
  assert.match(await refusal(await node.ask(), 503), /does not serve/);
  node.role = "primary";
  for (const change of [() => (node.epoch += 1), () => (node.serves = false)]) {
    node.commitSeq = 0;
    const asked = node.ask();
    await new Promise((resolve) => setTimeout(resolve, 20));
    change();
    node.commitSeq = 1;
    assert.match(await refusal(await asked, 503), /members changed|does not serve/);
  }
  node.serves = true;
  assert.equal((await readAll(await node.ask())).found.size, 1);
});

test("the number of a shard is checked", async () => {
  const node = new TestNode();
  for (const query of ["", "?shard=", "?shard=-1", "?shard=1x", "?shard=9999999999"]) {
    await refusal(await node.ask(query), 400);
  }
  await refusal(await node.ask("?shard=1"), 404);
});

test("a reader that takes nothing is waited for, and the node makes no second backup for it", async () => {
  const node = new TestNode();
  const reader = await beginReading(node);
  assert.match(await refusal(await node.ask(), 503), /another backup/);
  // It goes on where it was: what is written meanwhile is not in it.
  for (let each = 0; each < 40; each++) node.set(`key:${each}`, "new");
  await new Promise((resolve) => setTimeout(resolve, 50));
  let last = Buffer.alloc(0);
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    assert.ok(!Buffer.from(read.value).includes("new"));
    last = Buffer.from(read.value);
  }
  const parser = new BackupBlockParser();
  parser.push(last);
  const end = parser.next()?.block;
  assert.ok(end?.kind === "shard-end" && end.keys === 40);
  assert.equal((await readAll(await node.ask())).found.get("key:3"), "new");
});

test("a reader that goes away leaves the node free for another", async () => {
  const node = new TestNode();
  const reader = await beginReading(node);
  await reader.cancel();
  assert.equal((await readAll(await node.ask())).found.size, 40);
});
