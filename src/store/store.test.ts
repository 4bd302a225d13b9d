import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { MemoryEngine, type MemoryMoment } from "../../test/support/memory-engine.ts";
import { begun, Restored, StoreShard, sourceOf } from "../../test/support/store-shard.ts";
import type { Effect, KeyRecord } from "../data/effect.ts";
import { slotOf } from "../kit/crc16.ts";
import type { ShardId } from "../replica/configuration.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import type { JournalItem } from "../replica/journal.ts";
import { StoreError } from "./errors.ts";
import { Store, type StoreSettings, type Vault } from "./store.ts";

/** A store over an engine in memory that nothing can damage. */
function storeOver(
  engine: MemoryEngine,
  settings: Partial<StoreSettings> & Pick<StoreSettings, "source">,
): Store {
  const vault: Vault = {
    isNew: false,
    engine,
    setAside: async (reason) => assert.fail(`nothing is damaged: ${reason.message}`),
    close: () => engine.close(),
  };
  return new Store(vault, {
    durability: "fsync",
    flushMs: 1,
    onSaved: () => {},
    onFailed: (error) => assert.fail(error),
    ...settings,
  });
}

async function reload(
  moment: MemoryMoment["disk"] | undefined,
  settings?: { readonly forgetsExpired: boolean },
): Promise<Restored> {
  const restored = new Restored();
  const engine = new MemoryEngine(moment, settings);
  await storeOver(engine, { source: sourceOf(new Map()) }).load(restored);
  return restored;
}

type Step =
  | { readonly kind: "order"; readonly shard: ShardId; readonly effects: readonly Effect[] }
  | { readonly kind: "append" }
  | { readonly kind: "turns"; readonly count: number }
  | { readonly kind: "started"; readonly shard: ShardId }
  | { readonly kind: "void"; readonly shard: ShardId }
  | { readonly kind: "whole"; readonly shard: ShardId }
  | { readonly kind: "divide"; readonly which: number; readonly at: string };

const key = fc.constantFrom("a", "b", "c", "d", "e", "{t}1", "{t}2", "\0\xff");
const bytes = fc.string({ unit: fc.constantFrom("x", "\xff"), maxLength: 3 });
const expireAtMs = fc.constantFrom(0, 5, 1e12);
const effect: fc.Arbitrary<Effect> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("set"), key, value: bytes, expireAtMs }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("delete"), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("expire"), key, expireAtMs }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("append"), key, bytes }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("overwrite"), key, offset: fc.nat(4), bytes }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "flush" }) },
) as fc.Arbitrary<Effect>;
const shard = fc.constantFrom(0, 3, 10, 11, 12, 13);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant("order"),
      shard,
      effects: fc.array(effect, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 10, arbitrary: fc.constant({ kind: "append" }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("turns"), count: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("started"), shard }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("void"), shard }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("whole"), shard }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("divide"), which: fc.nat(5), at: key }) },
) as fc.Arbitrary<Step>;

/** What the journal amounts to after some of its items, for one shard: nothing, or a log up to a seq. */
type Amount = { readonly seq: number; readonly startedEpoch: number } | undefined;

/** Of the shards that a script begins with. */
const RANGES: ReadonlyMap<ShardId, { readonly firstSlot: number; readonly lastSlot: number }> =
  new Map([
    [0, { firstSlot: 0, lastSlot: 8_191 }],
    [3, { firstSlot: 8_192, lastSlot: 16_383 }],
  ]);

/** A core of two shards, which may be divided, that runs a script, and remembers its every state. */
class Script {
  readonly shards: Map<ShardId, StoreShard>;
  readonly contents = new Map<string, readonly KeyRecord[]>();
  /** By number of items. */
  readonly amounts: Map<ShardId, Amount>[] = [new Map()];
  readonly #voids = new Set<ShardId>([0, 3]);
  #emitted: JournalItem[] = [];
  #nextId = 10;

  /** @param restored what a script before left. */
  constructor(restored: ReadonlyMap<ShardId, StoreShard> = new Map()) {
    this.shards = new Map();
    for (const [id, range] of RANGES) {
      const shard = new StoreShard(id);
      shard.firstSlot = range.firstSlot;
      // What was divided from it may be there and it may not.
      const others = [...restored.values()].filter((other) => other.firstSlot > range.firstSlot);
      shard.lastSlot = Math.min(range.lastSlot, ...others.map(({ firstSlot }) => firstSlot - 1));
      this.shards.set(id, shard);
    }
    for (const [id, shard] of restored) {
      this.shards.set(id, shard);
      this.#voids.delete(id);
      this.#nextId = Math.max(this.#nextId, id + 1);
    }
    for (const id of this.shards.keys()) this.#remember(id);
  }

  shard(id: ShardId): StoreShard {
    const found = this.shards.get(id);
    assert.ok(found);
    return found;
  }

  take(): JournalItem[] {
    const items = this.#emitted;
    this.#emitted = [];
    return items;
  }

  run(next: Step): void {
    if (next.kind === "append" || next.kind === "turns") return;
    if (next.kind === "divide") {
      this.#divide(next.which, slotOf(next.at));
      return;
    }
    const id = next.shard;
    if (!this.shards.has(id)) return;
    const isVoid = this.#voids.has(id);
    if (next.kind === "void") {
      // What comes after has nothing to do with what was before.
      this.#voids.add(id);
      const { seq, firstSlot, lastSlot } = this.shard(id);
      const fresh = new StoreShard(id, seq + 5);
      fresh.firstSlot = firstSlot;
      fresh.lastSlot = lastSlot;
      fresh.order([{ kind: "set", key: "a", value: "new", expireAtMs: 0 }]);
      this.shards.set(id, fresh);
      this.#emit(next, undefined);
    } else if (next.kind === "whole") {
      if (!isVoid) return;
      this.#voids.delete(id);
      this.#emit(next, this.#amount(id));
    } else if (next.kind === "started") {
      if (isVoid) return;
      this.shard(id).startedEpoch += 1;
      this.#emit({ ...next, epoch: this.shard(id).startedEpoch }, this.#amount(id));
    } else {
      const entry = this.shard(id).order(next.effects);
      const item: JournalItem = { kind: "entries", shard: id, entries: EntryBatch.of([entry]) };
      this.#emit(item, isVoid ? undefined : this.#amount(id));
    }
    this.#remember(id);
  }

  #divide(which: number, at: number): void {
    const ids = [...this.shards.keys()].filter((id) => !this.#voids.has(id));
    const id = ids[which % Math.max(1, ids.length)];
    if (id === undefined || this.#nextId > 13) return;
    const { firstSlot, lastSlot } = this.shard(id);
    if (at <= firstSlot || at > lastSlot) return;
    const into = this.#nextId;
    this.#nextId += 1;
    this.shards.set(into, this.shard(id).divide(into, at));
    this.#emit({ kind: "divided", shard: id, into, at }, this.#amount(id));
    this.amounts.at(-1)?.set(into, this.#amount(into));
    this.#remember(id);
    this.#remember(into);
  }

  #amount(id: ShardId): Amount {
    const { seq, startedEpoch } = this.shard(id);
    return { seq, startedEpoch };
  }

  #emit(item: JournalItem, amount: Amount): void {
    this.#emitted.push(item);
    this.amounts.push(new Map(this.amounts.at(-1)).set(item.shard, amount));
  }

  #remember(id: ShardId): void {
    const { firstSlot, lastSlot, seq } = this.shard(id);
    this.contents.set(`${id} ${firstSlot} ${lastSlot} ${seq}`, this.shard(id).contents());
  }
}

/** A shard that was divided is void and stored anew while what it was is still among its base's keys. */
const STORED_ANEW_BESIDE_ITS_BASE: readonly Step[] = [
  { kind: "order", shard: 3, effects: [{ kind: "append", key: "a", bytes: "" }] },
  { kind: "append" },
  { kind: "turns", count: 1 },
  { kind: "divide", which: 1, at: "{t}1" },
  { kind: "append" },
  { kind: "order", shard: 3, effects: [{ kind: "expire", key: "a", expireAtMs: 0 }] },
  { kind: "divide", which: 1, at: "a" },
  { kind: "void", shard: 11 },
  { kind: "whole", shard: 11 },
  { kind: "order", shard: 3, effects: [{ kind: "set", key: "a", value: "", expireAtMs: 0 }] },
  { kind: "turns", count: 1 },
];

/** A shard has settled with a base that was void already, which its other part still needs. */
const SETTLED_WITH_A_VOID_BASE: readonly Step[] = [
  { kind: "append" },
  { kind: "divide", which: 0, at: "\0\xff" },
  { kind: "divide", which: 0, at: "b" },
  { kind: "void", shard: 0 },
  { kind: "turns", count: 1 },
  { kind: "append" },
];

/** A checkpoint after a flush is given up half way, for the shard is divided, and another flush comes before the next one. */
const FLUSHED_AFTER_A_CHECKPOINT_GIVEN_UP: readonly Step[] = [
  { kind: "append" },
  { kind: "turns", count: 1 },
  {
    kind: "order",
    shard: 3,
    effects: [{ kind: "flush" }, { kind: "set", key: "a", value: "", expireAtMs: 0 }],
  },
  { kind: "append" },
  { kind: "divide", which: 1, at: "a" },
  { kind: "append" },
  { kind: "order", shard: 3, effects: [{ kind: "flush" }] },
  { kind: "turns", count: 1 },
  { kind: "append" },
  { kind: "turns", count: 6 },
];

/** An engine that has each value once is told of a deletion at once, though the key is still among those of the base. */
const DELETED_BEFORE_IT_IS_FILLED: readonly Step[] = [
  { kind: "append" },
  { kind: "turns", count: 1 },
  { kind: "order", shard: 0, effects: [{ kind: "append", key: "b", bytes: "" }] },
  { kind: "append" },
  {
    kind: "order",
    shard: 0,
    effects: [
      { kind: "append", key: "b", bytes: "" },
      { kind: "delete", key: "b" },
    ],
  },
  { kind: "divide", which: 0, at: "b" },
  { kind: "turns", count: 1 },
  { kind: "append" },
  { kind: "turns", count: 1 },
];

const FOUND_BEFORE = [
  DELETED_BEFORE_IT_IS_FILLED,
  STORED_ANEW_BESIDE_ITS_BASE,
  SETTLED_WITH_A_VOID_BASE,
  FLUSHED_AFTER_A_CHECKPOINT_GIVEN_UP,
];

for (const [durability, forgetsExpired] of [
  ["fsync", false],
  ["fsync", true],
  ["async", false],
  ["async", true],
] as const) {
  const engineKind = forgetsExpired ? "an engine that forgets" : "an engine that keeps all";
  test(`after a crash at any batch, the state is that of the log's end (${durability}, ${engineKind})`, async () => {
    let crashes = 0;
    let checkpoints = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 70 }), async (steps) => {
        const script = new Script();
        const engine = new MemoryEngine(undefined, { forgetsExpired });
        const claims: { moment: number; items: number; filling: ReadonlySet<ShardId> }[] = [];
        const store = storeOver(engine, {
          durability,
          source: sourceOf(script.shards),
          checkpoints: { everyMs: 0, logBytes: 1, sliceKeys: 2, sliceBytes: 8, pauseMs: 0 },
          onSaved: (items, filling) => {
            claims.push({ moment: engine.moments.length, items, filling: new Set(filling) });
          },
        });
        await store.load(new Restored());
        for (const id of [0, 3]) script.run({ kind: "whole", shard: id });
        for (const next of steps) {
          script.run(next);
          if (next.kind === "append") store.append(script.take());
          if (next.kind === "turns") for (let i = 0; i < next.count; i++) await turn();
        }
        store.append(script.take());
        await store.close();
        checkpoints += store.status().checkpoints;
        assert.equal(claims.at(-1)?.items, script.amounts.length - 1, "closing saves all");

        let claim = -1;
        for (const [index, { disk }] of engine.moments.entries()) {
          crashes += 1;
          while ((claims[claim + 1]?.moment ?? Number.POSITIVE_INFINITY) <= index + 1) claim += 1;
          const restored = await reload(disk, { forgetsExpired });
          assert.equal(restored.discards, 0, "nothing seems damaged");
          for (const [id, found] of restored.shards) {
            const { firstSlot, lastSlot, seq } = found;
            const name = `${id} ${firstSlot} ${lastSlot} ${seq}`;
            assert.deepEqual(found.contents(), script.contents.get(name));
            assert.deepEqual(restored.logs.get(id)?.checkpoint.epochs, [{ epoch: 1, firstSeq: 1 }]);
          }
          const claimed = claims[claim];
          if (claimed === undefined) continue;
          for (const [id, amount] of script.amounts[claimed.items] ?? []) {
            if (amount === undefined || claimed.filling.has(id)) continue;
            const found = restored.shards.get(id);
            const isVoidLater = script.amounts
              .slice(claimed.items)
              .some((later) => later.get(id) === undefined);
            if (found === undefined) assert.ok(isVoidLater, `shard ${id} was said to be saved`);
            else {
              assert.ok(found.seq >= amount.seq);
              if (!isVoidLater) assert.ok(found.startedEpoch >= amount.startedEpoch);
            }
          }
        }
      }),
      {
        numRuns: 40,
        examples: FOUND_BEFORE.map((steps) => [[...steps]]),
      },
    );
    assert.ok(
      crashes > 200 && checkpoints > 30,
      `only ${crashes} crashes, ${checkpoints} checkpoints`,
    );
  });
}

const value = (text: string): Effect => ({ kind: "set", key: text, value: text, expireAtMs: 0 });

test("after a failed write nothing more is claimed, and the store can be opened again", async () => {
  const shards = new Map([[0, new StoreShard(0)]]);
  const engine = new MemoryEngine();
  let saved = 0;
  const failures: StoreError[] = [];
  const settings = {
    source: sourceOf(shards),
    onSaved: (items: number) => {
      saved = items;
    },
    onFailed: (error: StoreError) => failures.push(error),
  };
  const store = storeOver(engine, settings);
  await store.load(new Restored());
  const order = (text: string): JournalItem => ({
    kind: "entries",
    shard: 0,
    entries: EntryBatch.of([shards.get(0)?.order([value(text)]) ?? assert.fail()]),
  });
  store.append([...begun(0), order("a")]);
  while (saved < 3) await turn();

  engine.failure = new StoreError("no space left on device", { code: "io" });
  store.append([order("b")]);
  while (failures.length === 0) await turn();
  engine.failure = undefined;
  store.append([order("c")]);
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(saved, 3);
  assert.deepEqual(
    failures.map(({ code }) => code),
    ["io"],
  );
  assert.match(store.status().failure ?? "", /no space left/);
  await store.close();
  assert.equal(saved, 3, "closing claims nothing either");

  const again = storeOver(engine, settings);
  await again.forget();
  assert.deepEqual([...(await reload(engine.moments.at(-1)?.disk)).shards], []);
  again.append(begun(0));
  saved = 0;
  while (saved < 2) await turn();
  await again.close();
  const restored = await reload(engine.moments.at(-1)?.disk);
  assert.deepEqual(restored.shards.get(0)?.contents(), shards.get(0)?.contents());
});

test("one checkpoint's worth of log is kept, and what is before it goes", async () => {
  const shard = new StoreShard(0);
  const engine = new MemoryEngine();
  const store = storeOver(engine, {
    source: sourceOf(new Map([[0, shard]])),
    checkpoints: { everyMs: 0, logBytes: 1, pauseMs: 0 },
  });
  await store.load(new Restored());
  store.append(begun(0));
  for (let i = 0; i < 50; i++) {
    const entry = shard.order([value(`k${i}`), { kind: "flush" }, value("last")]);
    store.append([{ kind: "entries", shard: 0, entries: EntryBatch.of([entry]) }]);
    const { checkpoints } = store.status();
    while (store.status().checkpoints === checkpoints) await turn();
  }
  const restored = await reload(engine.moments.at(-1)?.disk);
  const log = restored.logs.get(0);
  assert.ok(log !== undefined && log.entries.length >= 1 && log.entries.length <= 4);
  assert.ok(
    (log.entries[0]?.seq ?? 0) <= log.checkpoint.seq,
    "some of it is before the checkpoint",
  );
  await store.close();
  assert.ok(engine.names().length < 10, "flushed keys and old pieces of the log are swept");
});

test("a shard is filling until all of its keys are stored", async () => {
  const shard = new StoreShard(0);
  for (let i = 0; i < 100; i++) shard.order([value(`key ${i}`)]);
  const engine = new MemoryEngine();
  const told: [items: number, filling: boolean, moment: number][] = [];
  const store = storeOver(engine, {
    source: sourceOf(new Map([[0, shard]])),
    checkpoints: { sliceBytes: 50 },
    onSaved: (items, filling) => told.push([items, filling.has(0), engine.moments.length]),
  });
  await store.load(new Restored());
  store.append(begun(0));
  store.append([
    { kind: "entries", shard: 0, entries: EntryBatch.of([shard.order([value("more")])]) },
  ]);
  while (!told.some(([items, filling]) => items === 3 && !filling)) await turn();
  for (const [items, isFilling, moment] of told) {
    const restored = await reload(engine.moments[moment - 1]?.disk);
    assert.equal(restored.shards.has(0), !isFilling);
    if (!isFilling) assert.ok(items === 3 && restored.shards.get(0)?.seq === 101);
  }
  assert.ok(told.some(([items, isFilling]) => items === 3 && isFilling));
  await store.close();
});

test("a store that was loaded goes on from there, also with what only the log had", async () => {
  const effects = fc.array(effect, { minLength: 1, maxLength: 3 });
  const life = fc.array(effects, { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 2, maxLength: 4 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (lives, where) => {
        let disk: MemoryMoment["disk"] | undefined;
        for (const entries of lives) {
          const engine = new MemoryEngine(disk);
          const shards = new Map<ShardId, StoreShard>();
          const store = storeOver(engine, {
            source: sourceOf(shards),
            checkpoints: { everyMs: 0, logBytes: 1, sliceKeys: 2, pauseMs: 0 },
          });
          const restored = new Restored();
          await store.load(restored);
          const shard = restored.shards.get(0) ?? new StoreShard(0);
          shards.set(0, shard);
          const contents = new Map([[shard.seq, shard.contents()]]);
          if (!restored.shards.has(0)) store.append(begun(0));
          for (const effectsOfOne of entries) {
            const entry = shard.order(effectsOfOne);
            contents.set(shard.seq, shard.contents());
            store.append([{ kind: "entries", shard: 0, entries: EntryBatch.of([entry]) }]);
            await turn();
          }
          while (store.status().shards.some(({ dirtyKeys }) => dirtyKeys > 0)) await turn();
          await store.close();
          const moment = Math.floor(where * (engine.moments.length - 1));
          disk = engine.moments[moment]?.disk;
          const found = (await reload(disk)).shards.get(0);
          if (found !== undefined) {
            assert.deepEqual(found.contents(), contents.get(found.seq));
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("a store goes on from there too where shards were divided, whenever it ends", async () => {
  const life = fc.array(step, { minLength: 5, maxLength: 40 });
  let divided = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 2, maxLength: 4 }),
      fc.boolean(),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
      async (lives, forgetsExpired, where) => {
        let disk: MemoryMoment["disk"] | undefined;
        let restored = new Restored();
        for (const [index, steps] of lives.entries()) {
          const engine = new MemoryEngine(disk, { forgetsExpired });
          restored = new Restored();
          // The source is the script's, which is there once it is known what it begins with.
          const shards = new Map<ShardId, StoreShard>();
          const store = storeOver(engine, {
            source: sourceOf(shards),
            checkpoints: { everyMs: 0, logBytes: 1, sliceKeys: 2, sliceBytes: 8, pauseMs: 0 },
          });
          await store.load(restored);
          const script = new Script(restored.shards);
          const follow = (): void => {
            for (const [id, shard] of script.shards) shards.set(id, shard);
          };
          for (const id of [0, 3]) script.run({ kind: "whole", shard: id });
          for (const next of steps) {
            script.run(next);
            follow();
            if (next.kind === "append") store.append(script.take());
            if (next.kind === "turns") for (let i = 0; i < next.count; i++) await turn();
          }
          store.append(script.take());
          for (let i = 0; i < 4; i++) await turn();
          await store.close();
          divided += script.shards.size - 2;
          const moment = Math.floor((where[index] ?? 0) * (engine.moments.length - 1));
          disk = engine.moments[moment]?.disk;
          for (const [id, found] of (await reload(disk, { forgetsExpired })).shards) {
            const { firstSlot, lastSlot, seq } = found;
            const name = `${id} ${firstSlot} ${lastSlot} ${seq}`;
            assert.deepEqual(found.contents(), script.contents.get(name));
          }
        }
      },
    ),
    { numRuns: 150 },
  );
  assert.ok(divided > 100, `only ${divided} divisions`);
});
