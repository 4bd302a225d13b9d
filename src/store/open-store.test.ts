import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { ClassicLevel } from "classic-level";
import { openAndLoad, temporaryDirectory } from "../../test/support/store-directory.ts";
import { begun, StoreShard } from "../../test/support/store-shard.ts";
import { Prng } from "../kit/prng.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import type { JournalItem } from "../replica/journal.ts";

const run = promisify(execFile);
const { HOTHOT_SEED } = process.env;
const seed = Number(HOTHOT_SEED ?? Date.now() % 1_000_000);

function ordered(shard: StoreShard, key: string, value: string): JournalItem {
  const entry = shard.order([{ kind: "set", key, value, expireAtMs: 0 }]);
  return { kind: "entries", shard: shard.shard, entries: EntryBatch.of([entry]) };
}

/** Fills a store in such a way that it has tables, a log of LevelDB's, checkpoints and a log. */
async function filledStore(
  t: TestContext,
  batches = 40,
): Promise<{ dir: string; shard: StoreShard }> {
  const dir = await temporaryDirectory(t);
  const shard = new StoreShard(0);
  const first = await openAndLoad(dir, shard, { checkpoints: { logBytes: 100_000, pauseMs: 0 } });
  first.store.append(begun(0));
  for (let i = 0; i < batches; i++) {
    first.store.append(
      Array.from({ length: 20 }, (_, j) =>
        ordered(shard, `key:${(i * 7 + j) % 300}`, `${i}`.repeat(200)),
      ),
    );
    while (first.store.pendingBytes > 0) await turn();
    if (i === batches / 2) {
      // LevelDB writes what it has in memory to a table when it is opened again.
      await first.store.close();
      break;
    }
  }
  const second = await openAndLoad(dir, shard, { checkpoints: { logBytes: 100_000, pauseMs: 0 } });
  for (let i = 0; i < batches; i++) {
    second.store.append([
      ordered(shard, `key:${i * 11}`, "second"),
      ordered(shard, `more:${i}`, "x"),
    ]);
    while (second.store.pendingBytes > 0) await turn();
  }
  await second.store.close();
  return { dir, shard };
}

test("what was saved is loaded", async (t) => {
  const { dir, shard } = await filledStore(t);
  const { store, restored, report, damages } = await openAndLoad(dir);
  assert.deepEqual(restored.shards.get(0)?.contents(), shard.contents());
  assert.equal(restored.shards.get(0)?.seq, shard.seq);
  assert.deepEqual(damages, []);
  assert.equal(report.shards, 1);
  assert.ok(report.keys > 0 && report.entries > 0);
  await store.close();
});

test("a directory is refused to a second process, and a dead one leaves no lock", async (t) => {
  const { dir, shard } = await filledStore(t, 2);
  const { store } = await openAndLoad(dir, shard);
  await assert.rejects(openAndLoad(dir), {
    name: "StoreError",
    code: "locked",
    message: /stop it/,
  });
  const module = join(import.meta.dirname, "../../test/support/store-directory.js");
  const script = `const { openAndLoad } = await import(${JSON.stringify(module)});
    try { await openAndLoad(${JSON.stringify(dir)}); console.log("opened"); process.kill(process.pid, "SIGKILL"); }
    catch (error) { console.log(error.code); }`;
  const child = (): Promise<string> =>
    run(process.execPath, ["--input-type=module", "-e", script], { timeout: 30_000 }).then(
      ({ stdout }) => stdout.trim(),
      (error: { stdout: string }) => error.stdout.trim(),
    );
  assert.equal(await child(), "locked");
  await store.close();
  assert.equal(await child(), "opened", "and killed while it has the lock");
  const again = await openAndLoad(dir);
  assert.deepEqual(again.restored.shards.get(0)?.contents(), shard.contents());
  await again.store.close();
});

test("another owner's directory is refused and left as it is", async (t) => {
  const { dir, shard } = await filledStore(t, 2);
  await assert.rejects(openAndLoad(dir, shard, { clusterId: "c2" }), {
    code: "wrong-cluster",
    message: /belongs to cluster c1 .* not to cluster c2: give this node one of its own/,
  });
  await assert.rejects(openAndLoad(dir, shard, { nodeId: "n2" }), {
    code: "wrong-node",
    message: /belongs to node n1, not to node n2/,
  });
  assert.deepEqual((await readdir(dir)).sort(), ["data", "identity"]);
  const { store, restored } = await openAndLoad(dir);
  assert.deepEqual(restored.shards.get(0)?.contents(), shard.contents());
  await store.close();
});

test("a newer format is refused and left as it is", async (t) => {
  const { dir } = await filledStore(t, 2);
  const identity = new ClassicLevel<string, Buffer>(join(dir, "identity"), {
    valueEncoding: "buffer",
  });
  const json = Buffer.from(JSON.stringify({ format: 99, clusterId: "c1", nodeId: "n1" }));
  const { crc32 } = await import("node:zlib");
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(json));
  await identity.put("owner", Buffer.concat([checksum, json]));
  await identity.close();
  const before = await readdir(join(dir, "data"));
  await assert.rejects(openAndLoad(dir), {
    code: "newer-format",
    message: /has format 99.*start the version that wrote it/,
  });
  assert.deepEqual(await readdir(join(dir, "data")), before);
});

test("a disk that cannot be used is an error, and no damage", async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, "file"), "");
  await assert.rejects(openAndLoad(join(dir, "file", "below")), { code: "io" });
});

/** Opens what a damaged store has become: either it is what it was, or an earlier state, or it was put aside and is empty. */
async function judge(
  dir: string,
  states: ReadonlyMap<number, unknown>,
  what: string,
): Promise<"intact" | "earlier" | "aside"> {
  const { store, restored, damages } = await openAndLoad(dir);
  const shard = restored.shards.get(0);
  await store.close();
  if (damages.length > 0) {
    assert.equal(shard, undefined, `${what}: nothing of a damaged store is served`);
    const [damage] = damages;
    assert.ok(damage !== undefined && damage.reason !== "", what);
    assert.match(damage.movedTo, /corrupt-\d{4}-\d\d-\d\dT/);
    assert.ok((await readdir(damage.movedTo)).includes("data"), `${what}: it is kept as evidence`);
    const again = await openAndLoad(dir);
    assert.deepEqual(again.damages, [], `${what}: the new one is sound`);
    await again.store.close();
    return "aside";
  }
  if (shard === undefined) return "earlier";
  assert.deepEqual(shard.contents(), states.get(shard.seq), `${what}: the state at ${shard.seq}`);
  return shard.seq === Math.max(...states.keys()) ? "intact" : "earlier";
}

test(`a damaged file is found, whatever bit it is (HOTHOT_SEED=${seed})`, async (t) => {
  const dir = await temporaryDirectory(t);
  const shard = new StoreShard(0);
  const states = new Map<number, unknown>();
  for (let round = 0; round < 3; round++) {
    const { store, saved } = await openAndLoad(dir, shard, {
      checkpoints: { logBytes: 3_000, pauseMs: 0 },
    });
    const items = round === 0 ? [...begun(0)] : [];
    let count = 0;
    for (let i = 0; i < 30; i++) {
      for (let j = 0; j < 5; j++)
        items.push(ordered(shard, `k${(i * 3 + j) % 40}`, `${round}-${i}`));
      count += items.length;
      store.append(items.splice(0));
      states.set(shard.seq, shard.contents());
      while (saved() < count) await turn();
    }
    await store.close();
  }
  const random = new Prng(seed);
  const found = { intact: 0, earlier: 0, aside: 0 };
  const names = (await readdir(join(dir, "data"))).filter((name) => !/^LOG|LOCK/.test(name));
  assert.ok(
    names.some((name) => name.endsWith(".ldb")) && names.some((name) => name.endsWith(".log")),
  );
  for (let round = 0; round < 40; round++) {
    const copy = await temporaryDirectory(t);
    await cp(dir, copy, { recursive: true });
    const name = random.pick(names);
    const file = join(copy, "data", name);
    const bytes = await readFile(file);
    let what = name;
    const kind = random.float();
    if (bytes.length === 0 || kind < 0.1) {
      await rm(file);
      what += " removed";
    } else if (kind < 0.3) {
      const length = random.below(bytes.length);
      await truncate(file, length);
      what += ` cut to ${length} of ${bytes.length}`;
    } else if (kind < 0.5) {
      const at = random.below(bytes.length);
      await writeFile(
        file,
        Buffer.concat([
          bytes.subarray(0, at),
          Buffer.alloc(500, random.below(256)),
          bytes.subarray(at + 500),
        ]),
      );
      what += ` overwritten at ${at}`;
    } else {
      const at = random.below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      await writeFile(file, bytes);
      what += ` flipped at ${at}`;
    }
    const verdict = await judge(copy, states, what);
    if (name.endsWith(".ldb")) assert.equal(verdict, "aside", what);
    found[verdict] += 1;
  }
  assert.ok(found.aside > 10, JSON.stringify(found));
});

test("a table that a dying process did not finish is no damage", async (t) => {
  const { dir, shard } = await filledStore(t, 2);
  const data = join(dir, "data");
  await writeFile(join(data, "099999.ldb"), "the beginning of");
  const { store, restored, damages } = await openAndLoad(dir);
  assert.deepEqual(damages, []);
  assert.deepEqual(restored.shards.get(0)?.contents(), shard.contents());
  await store.close();
  assert.ok(!(await readdir(data)).some((name) => name.startsWith("099999")));
});

test("a damaged identity puts all aside, since nobody knows whose the data is", async (t) => {
  const { dir } = await filledStore(t, 2);
  await writeFile(join(dir, "identity", "CURRENT"), "garbage");
  const { store, restored, damages } = await openAndLoad(dir);
  assert.equal(restored.shards.size, 0);
  assert.match(damages[0]?.reason ?? "", /^identity: /);
  assert.deepEqual((await readdir(damages[0]?.movedTo ?? "")).sort(), ["data", "identity"]);
  await store.close();
});
