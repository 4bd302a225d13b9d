import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Effect } from "../../src/data/effect.ts";
import { Prng } from "../../src/kit/prng.ts";
import { EntryBatch } from "../../src/replica/entry-batch.ts";
import type { JournalItem } from "../../src/replica/journal.ts";
import { type OpenRedisStoreOptions, openRedisStore } from "../../src/store/open-redis-store.ts";
import { RedisConnection, RedisEngine } from "../../src/store/redis-engine.ts";
import { type OpenedStore, openAndLoadBy } from "../support/opened-store.ts";
import { type OracleReply, RedisOracle } from "../support/redis-oracle.ts";
import { begun, StoreShard, sourceOf } from "../support/store-shard.ts";
import { written } from "../support/store-writer.ts";

const { HOTHOT_SEED } = process.env;
const seed = Number(HOTHOT_SEED ?? Date.now() % 1_000_000);

interface Bed {
  readonly redis: RedisOracle;
  readonly port: number;
  readonly url: string;
  ask(...command: string[]): Promise<OracleReply | undefined>;
}

async function redisBed(t: TestContext): Promise<Bed | undefined> {
  const redis = await RedisOracle.start();
  if (redis === undefined) {
    t.skip("redis-server is not installed (apt-get install redis-server)");
    return undefined;
  }
  t.after(() => redis.stop());
  const ask = async (...command: string[]): Promise<OracleReply | undefined> =>
    (await redis.ask([command]))[0];
  const reply = await ask("CONFIG", "GET", "port");
  const port = Number(Array.isArray(reply) ? reply[1] : undefined);
  // Not the first database, so that the number in the address counts.
  await ask("SELECT", "2");
  return { redis, port, url: `redis://127.0.0.1:${port}/2`, ask };
}

function open(
  url: string,
  shard = new StoreShard(0),
  options: Partial<OpenRedisStoreOptions> = {},
): Promise<OpenedStore> {
  return openAndLoadBy((common) => openRedisStore({ ...common, url, ...options }), shard);
}

function entry(shard: StoreShard, ...effects: Effect[]): JournalItem {
  return { kind: "entries", shard: shard.shard, entries: EntryBatch.of([shard.order(effects)]) };
}

async function append({ store, saved }: OpenedStore, items: readonly JournalItem[]): Promise<void> {
  const target = saved() + items.length;
  store.append(items);
  while (saved() < target || store.status().shards.some(({ phase }) => phase !== "stored")) {
    await turn();
  }
}

test("people find their keys as plain strings, and the node finds them again", async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  const shard = new StoreShard(0);
  const endMs = Date.now() + 3_600_000;
  const binary = "\0\r\n\xff";
  const first = await open(bed.url, shard);
  await append(first, [
    ...begun(0),
    entry(shard, { kind: "set", key: "plain", value: "text", expireAtMs: 0 }),
    entry(shard, { kind: "set", key: binary, value: binary, expireAtMs: 0 }),
    entry(shard, { kind: "set", key: "short", value: "lived", expireAtMs: endMs }),
    entry(shard, { kind: "set", key: "hothot:store:states", value: "a user's", expireAtMs: 0 }),
  ]);
  await first.store.close();
  const second = await open(bed.url, shard);
  assert.deepEqual(second.restored.shards.get(0)?.contents(), shard.contents());
  assert.equal(await bed.ask("GET", "plain"), "text");
  assert.equal(await bed.ask("GET", binary), binary);
  assert.deepEqual(await bed.ask("PEXPIRETIME", "short"), { integer: BigInt(endMs + 60_000) });
  assert.equal(await bed.ask("GET", "hothot:store:key:hothot:store:states"), "a user's");
  await append(second, [
    entry(shard, { kind: "delete", key: "plain" }),
    // The new end has to be there at once: the old one would take the key away.
    entry(shard, { kind: "expire", key: "short", expireAtMs: 0 }),
  ]);
  assert.deepEqual(await bed.ask("PEXPIRETIME", "short"), { integer: -1n });
  await second.store.close();
  const third = await open(bed.url, shard);
  assert.deepEqual(third.restored.shards.get(0)?.contents(), shard.contents());
  assert.deepEqual(third.damages, []);
  await third.store.close();
});

test("another node's database, a foreign one, and one in use are refused", async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  await bed.ask("SET", "mine", "1");
  await assert.rejects(open(bed.url), { code: "wrong-cluster", message: /keys that are not/ });
  assert.equal(await bed.ask("GET", "mine"), "1");
  await bed.ask("DEL", "mine");
  const { store } = await open(bed.url);
  await assert.rejects(open(bed.url), { code: "locked" });
  await store.close();
  await assert.rejects(open(bed.url, undefined, { nodeId: "n2" }), { code: "wrong-node" });
  await assert.rejects(open(bed.url, undefined, { clusterId: "c2" }), { code: "wrong-cluster" });
  await assert.rejects(open("redis://127.0.0.1:1"), { code: "io" });
});

test("what someone else has changed or removed is not served", async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  for (const damage of [
    ["SET", "a", "other"],
    ["DEL", "a"],
    ["HSET", "hothot:store:states", "0", "garbage"],
    ["HDEL", "hothot:store:log:0:1", "1"],
  ]) {
    await bed.ask("FLUSHDB");
    const shard = new StoreShard(0);
    shard.order([{ kind: "set", key: "a", value: "1", expireAtMs: 0 }]);
    const first = await open(bed.url, shard);
    await append(first, begun(0));
    for (const key of ["b", "c"]) {
      await append(first, [entry(shard, { kind: "set", key, value: "1", expireAtMs: 0 })]);
    }
    await first.store.close();
    await bed.ask(...damage);
    const { store, restored, damages } = await open(bed.url, shard);
    assert.deepEqual([restored.shards.size, restored.discards], [0, 1], damage.join(" "));
    assert.match(damages[0]?.movedTo ?? "", /^hothot:corrupt-.* in redis:\/\/127/);
    assert.equal(await bed.ask("GET", "a"), null);
    await store.close();
  }
});

test("what is swept of one shard leaves the keys that another has by now", async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  const engine = new RedisEngine(await RedisConnection.open(bed.url));
  t.after(() => engine.close());
  const record = { key: "moved", value: "kept", expireAtMs: 0, seq: 1 };
  await engine.write([
    { kind: "record", shard: 1, generation: 1, record },
    { kind: "record", shard: 1, generation: 1, record: { ...record, key: "old" } },
    { kind: "record", shard: 2, generation: 1, record },
  ]);
  const keysOf = async (shard: number): Promise<readonly string[]> => {
    const found = [];
    for await (const records of engine.records(shard, 1)) found.push(...records);
    return found.map(({ key }) => key).sort();
  };
  await engine.sweep(1, { life: 1, generation: 2 });
  assert.deepEqual([await keysOf(1), await keysOf(2)], [[], ["moved"]]);
  assert.equal(await bed.ask("GET", "moved"), "kept");
  assert.equal(await bed.ask("GET", "old"), null);
  await engine.sweepAll(new Map());
  assert.deepEqual([await keysOf(2), await bed.ask("GET", "moved")], [[], null]);
});

test(`a store whose connection breaks is what it was at some entry (HOTHOT_SEED=${seed})`, async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  const random = new Prng(seed);
  let seq = 0;
  for (let round = 0; round < 8; round++) {
    const shard = new StoreShard(0);
    const opened = await open(bed.url, shard, {
      checkpoints: { everyMs: 0, logBytes: 2_000, sliceKeys: 5, pauseMs: 0 },
    });
    const before = opened.restored.shards.get(0);
    const expected = new StoreShard(0);
    while (expected.seq < (before?.seq ?? 0)) expected.order(written(expected.seq + 1));
    assert.ok((before?.seq ?? 0) >= seq, "what was saved is there");
    assert.deepEqual(opened.damages, []);
    assert.deepEqual(before?.contents() ?? [], expected.contents());
    for (const record of expected.contents()) shard.keys.set(record.key, record);
    shard.seq = expected.seq;

    const seqs: number[] = [];
    const items: JournalItem[] = before === undefined ? [...begun(0)] : [];
    for (const _ of items) seqs.push(shard.seq);
    const batches = 20 + random.below(100);
    for (let i = 0; i < batches && opened.failure() === undefined; i++) {
      for (let j = random.below(5); j >= 0; j--) {
        items.push(entry(shard, ...written(shard.seq + 1)));
        seqs.push(shard.seq);
      }
      opened.store.append(items.splice(0));
      if (i === batches - 1) await bed.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await turn();
    }
    while (opened.failure() === undefined) {
      opened.store.append([entry(shard, ...written(shard.seq + 1))]);
      seqs.push(shard.seq);
      await turn();
    }
    if (!opened.store.status().shards.some(({ phase }) => phase === "filling")) {
      seq = Math.max(seq, seqs[opened.saved() - 1] ?? 0);
    }
    await opened.store.close();
  }
  assert.ok(seq > 0);
});

test(`a shard that is divided is divided in the server too (HOTHOT_SEED=${seed})`, async (t) => {
  const bed = await redisBed(t);
  if (bed === undefined) return;
  const random = new Prng(seed);
  const draw = (shard: StoreShard, round: number): JournalItem => {
    const key = `key ${random.below(60)}`;
    const value = `${round}-${random.below(1_000)}`;
    return entry(
      shard,
      random.pick<Effect>([
        { kind: "set", key, value, expireAtMs: 0 },
        { kind: "append", key, bytes: "+" },
        { kind: "expire", key, expireAtMs: Date.now() + 3_600_000 },
        { kind: "delete", key },
      ]),
    );
  };
  for (let round = 0; round < 6; round++) {
    await bed.ask("FLUSHDB");
    const shards = new Map([[0, new StoreShard(0)]]);
    const contents = new Map<string, unknown>();
    const note = (): void => {
      for (const [id, shard] of shards) contents.set(`${id} ${shard.seq}`, shard.contents());
    };
    const options = {
      source: sourceOf(shards),
      checkpoints: { everyMs: 0, logBytes: 500, sliceKeys: 3, sliceBytes: 60, pauseMs: 1 },
    };
    const first = shards.get(0) ?? assert.fail();
    const opened = await open(bed.url, first, options);
    await append(opened, begun(0));
    const items: JournalItem[] = [];
    for (let i = 0; i < 100; i++) items.push(draw(first, round));
    const at = 4_000 + random.below(8_000);
    const part = first.divide(1, at);
    shards.set(1, part);
    note();
    opened.store.append([...items, { kind: "divided", shard: 0, into: 1, at }]);
    for (let i = random.below(25); i >= 0 && opened.failure() === undefined; i--) {
      opened.store.append([draw(first, round), draw(part, round)]);
      note();
      await turn();
    }
    await bed.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    while (opened.failure() === undefined) {
      opened.store.append([draw(first, round)]);
      note();
      await turn();
    }
    await opened.store.close();

    const again = await open(bed.url, first, options);
    assert.deepEqual(again.damages, []);
    for (const [id, found] of again.restored.shards) {
      if (!again.restored.shards.has(1)) break;
      assert.deepEqual(found.contents(), contents.get(`${id} ${found.seq}`), `shard ${id}`);
      shards.set(id, found);
    }
    if (again.restored.shards.has(1)) {
      const [left, right] = [shards.get(0), shards.get(1)];
      assert.ok(left !== undefined && right !== undefined);
      await append(again, [draw(left, round), draw(right, round)]);
      const isSettled = async (): Promise<boolean> => {
        const names = (await bed.ask("KEYS", "key *")) as readonly string[];
        const expected = [...left.keys.keys(), ...right.keys.keys()];
        return (
          again.store.status().shards.every(({ dirtyKeys }) => dirtyKeys === 0) &&
          [...names].sort().join() === expected.sort().join()
        );
      };
      for (let i = 0; i < 500 && !(await isSettled()); i++) await sleep(20);
      assert.ok(await isSettled(), "people find the keys of both, and no others");
      for (const { key, value } of [...left.contents(), ...right.contents()]) {
        assert.equal(await bed.ask("GET", key), value);
      }
    }
    await again.store.close();
  }
});
