import assert from "node:assert/strict";
import { test } from "node:test";
import { plainReply } from "../../test/support/plain-reply.ts";
import { randomCommand } from "../../test/support/random-commands.ts";
import { Command } from "../data/command.ts";
import type { Effect, KeyRecord } from "../data/effect.ts";
import { effectsOf } from "../data/effect-writer.ts";
import type { Effects } from "../data/effects.ts";
import { NULL_ARRAY, OK, Refusal } from "../data/reply.ts";
import { slotOf } from "../kit/crc16.ts";
import { Prng } from "../kit/prng.ts";
import type { Request, Watch } from "../replica/ports.ts";
import { ShardEngine } from "./shard-engine.ts";
import { findCommand } from "./table.ts";

const WHOLE = { firstSlot: 0, lastSlot: 16_383 };
const WALL_MS = 1_700_000_000_000;

const { HOTHOT_SEED } = process.env;
const seed = Number(HOTHOT_SEED ?? Date.now() % 1_000_000);

function one(command: string | readonly string[], isWrite = true): Request {
  const args = typeof command === "string" ? command.split(" ") : command;
  return { commands: [Command.from(args)], isTransaction: false, isWrite, watched: [] };
}

function transaction(commands: readonly (readonly string[])[], watched: Watch[] = []): Request {
  return { commands: commands.map(Command.from), isTransaction: true, isWrite: true, watched };
}

function words(...commands: string[]): string[][] {
  return commands.map((command) => command.split(" "));
}

/**
 * Runs `steps` random commands and transactions, with time going by and keys expiring.
 * @param each sees every request and what it gave.
 */
function runRandomly(
  engine: ShardEngine,
  steps: number,
  each: (effects: Effects, seq: number, request: Request) => void,
): void {
  const random = new Prng(seed);
  let wallMs = WALL_MS;
  let seq = 0;
  for (let step = 1; step <= steps; step++) {
    seq++;
    const settings = { wallMs };
    const commands = Array.from({ length: 1 + random.below(3) }, () =>
      random.chance(0.2) ? shortLived(random) : randomCommand(random, settings),
    );
    const [first = []] = commands;
    const request = random.chance(0.2) ? transaction(commands) : one(first);
    each(engine.run(request, seq, wallMs).effects, seq, request);
    if (random.chance(0.1)) {
      // An entry of its own, as a primary makes it: a checkpoint may come between, and has no half of an entry.
      seq++;
      each(engine.expire(seq, wallMs, 1 + random.below(3)), seq, one("expire"));
    }
    wallMs += random.below(40);
  }
}

/** A command that gives a key so little time that it ends during the run. */
function shortLived(random: Prng): string[] {
  return ["set", random.pick(["a", "b", "7", "{t}1"]), "12", "PX", String(1 + random.below(200))];
}

test(`the effects of any command make another engine equal (HOTHOT_SEED=${seed})`, () => {
  const primary = new ShardEngine(WHOLE);
  const backup = new ShardEngine(WHOLE);
  let deletions = 0;
  runRandomly(primary, 3_000, (effects, seq, request) => {
    backup.apply(effects, seq);
    deletions += [...effects].filter((effect) => effect.kind === "delete").length;
    if (seq % 10 === 0) {
      assert.equal(backup.digest(), primary.digest(), JSON.stringify(request.commands));
      assert.deepEqual(
        backup.copyOut(0, Number.MAX_VALUE).records,
        primary.copyOut(0, Number.MAX_VALUE).records,
      );
    }
    primary.committed(seq - 5);
    backup.committed(seq - 7);
  });
  assert.ok(deletions > 50, "the run deletes and expires keys");
});

test(`a copy while the primary goes on ends equal (HOTHOT_SEED=${seed})`, () => {
  const primary = new ShardEngine(WHOLE);
  const learner = new ShardEngine(WHOLE);
  let slot = 0;
  runRandomly(primary, 3_000, (effects, seq) => {
    learner.apply(primary.effectsBelow(effects, slot), seq);
    if (seq % 100 === 0 && slot <= 16_383) {
      const { records, nextSlot } = primary.copyOut(slot, 1);
      learner.copyIn(records);
      slot = nextSlot;
    }
  });
  assert.equal(slot, 16_384, "the copy has ended");
  assert.equal(learner.digest(), primary.digest());
  assert.equal(learner.size, primary.size);
});

test(`only commands that say so write (HOTHOT_SEED=${seed})`, () => {
  const engine = new ShardEngine(WHOLE);
  const random = new Prng(seed);
  for (let seq = 1; seq <= 1_500; seq++) {
    const args = randomCommand(random, { wallMs: WALL_MS });
    const before = engine.digest();
    const { effects, reply } = engine.run(one(args), seq, WALL_MS);
    const isWrite = findCommand(args[0] ?? "")?.flags.includes("write") ?? false;
    if (reply instanceof Refusal || !isWrite)
      assert.deepEqual([...effects], [], JSON.stringify(args));
    if (effects.length === 0) assert.equal(engine.digest(), before, JSON.stringify(args));
    if (!isWrite) {
      const read = engine.read(one(args, false), WALL_MS);
      assert.ok(read !== undefined);
      assert.deepEqual(plainReply(read.reply), plainReply(reply), JSON.stringify(args));
    }
  }
});

test("a transaction runs all commands, whatever some of them answer", () => {
  const engine = new ShardEngine(WHOLE);
  const commands = words("set a x", "incr a", "set b 1", "incr b", "nope", "get");
  const { reply, effects } = engine.run(transaction(commands), 1, WALL_MS);
  assert.deepEqual(reply, [
    OK,
    new Refusal("ERR", "value is not an integer or out of range"),
    OK,
    2,
    new Refusal("ERR", "unknown command 'nope', with args beginning with: "),
    new Refusal("ERR", "wrong number of arguments for 'get' command"),
  ]);
  assert.deepEqual(
    [...effects].map(({ kind }) => kind),
    ["set", "set", "set"],
  );
  assert.deepEqual(engine.run(transaction([]), 2, WALL_MS).reply, []);
});

test("a watched key that changed stops the transaction", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1"), 1, WALL_MS);
  engine.run(one("set b 1"), 2, WALL_MS);
  assert.deepEqual(engine.read(one("watch a b none", false), WALL_MS)?.reply, [1, 2, 0]);
  const watched = [
    { key: "a", version: 1 },
    { key: "none", version: 0 },
  ];
  const request = transaction(words("set c 1"), watched);
  assert.deepEqual(engine.run(request, 3, WALL_MS).reply, [OK]);
  for (const change of ["expire a 100", "append a 1", "del a", "set none 1"]) {
    const changed = new ShardEngine(WHOLE);
    changed.run(one("set a 1"), 1, WALL_MS);
    changed.run(one(change), 2, WALL_MS);
    const { reply, effects, readSeq } = changed.run(request, 3, WALL_MS);
    assert.equal(reply, NULL_ARRAY, change);
    assert.deepEqual([...effects], [], change);
    assert.equal(readSeq, 2, `${change}: the refusal waits until the change is committed`);
  }
});

test("a watched key past its time counts as changed, and is deleted", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1 px 100"), 1, WALL_MS);
  const request = transaction(words("set c 1"), [{ key: "a", version: 1 }]);
  const { reply, effects } = engine.run(request, 2, WALL_MS + 101);
  assert.equal(reply, NULL_ARRAY);
  assert.deepEqual([...effects], [{ kind: "delete", key: "a" }]);
});

test("all watched keys are looked at, so that a refusal waits for the last change of any", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1"), 1, WALL_MS);
  engine.run(one("set b 1"), 2, WALL_MS);
  const watched = ["a", "b"].map((key) => ({ key, version: 0 }));
  const { reply, readSeq } = engine.run(transaction([], watched), 3, WALL_MS);
  assert.equal(reply, NULL_ARRAY);
  assert.equal(readSeq, 2);
});

test("a read that names a key past its time gives nothing, one that lists keys leaves it out", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1 px 100"), 1, WALL_MS);
  engine.run(one("set b 1"), 2, WALL_MS);
  const late = WALL_MS + 101;
  for (const command of ["get a", "mget b a", "exists a", "ttl a", "watch a", "strlen a"]) {
    assert.equal(engine.read(one(command, false), late), undefined, command);
    assert.notEqual(engine.read(one(command, false), WALL_MS + 100), undefined, command);
  }
  const reads = { ...transaction(words("get b", "get a")), isWrite: false };
  assert.equal(engine.read(reads, late), undefined);
  assert.deepEqual(engine.read(one("keys *", false), late)?.reply, ["b"]);
  for (const random of ["0", "1", "2"]) {
    assert.equal(engine.read(one(`randomkey ${random}`, false), late)?.reply, "b");
  }
  assert.equal(engine.read(one("dbsize", false), late)?.reply, 2);
  assert.equal(engine.read(one("get b", false), late)?.readSeq, 2);
});

test("what tells about all keys depends on the last change of any", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1"), 1, WALL_MS);
  engine.run(one("set b 1"), 2, WALL_MS);
  engine.run(one("del b"), 3, WALL_MS);
  for (const command of ["dbsize", "keys *", "scan 0", "randomkey 0"]) {
    assert.equal(engine.read(one(command, false), WALL_MS)?.readSeq, 3, command);
  }
});

test("a random key can be any", () => {
  const engine = new ShardEngine(WHOLE);
  const keys = Array.from({ length: 20 }, (_, i) => `key:${i % 10}{${i % 3}}`);
  keys.forEach((key, i) => {
    engine.run(one(["set", key, "v"]), i + 1, WALL_MS);
  });
  const drawn = new Set<unknown>();
  for (let random = 0; random < engine.size; random++) {
    drawn.add(engine.read(one(`randomkey ${random}`, false), WALL_MS)?.reply);
  }
  assert.deepEqual(drawn, new Set(keys));
});

test("a scan of a shard's own slots begins at its first and ends behind its last", () => {
  const engine = new ShardEngine({ firstSlot: 5_000, lastSlot: 13_000 });
  engine.run(one("set foo 1"), 1, WALL_MS);
  assert.deepEqual(engine.read(one("scan 0", false), WALL_MS)?.reply, ["13001", ["foo"]]);
  assert.deepEqual(engine.read(one("scan 13000", false), WALL_MS)?.reply, ["13001", []]);
  assert.deepEqual(engine.read(one("scan 16000", false), WALL_MS)?.reply, ["13001", []]);
});

test("the effects on slots below one are told from the others, and a flush is on all", () => {
  const engine = new ShardEngine(WHOLE);
  const effects = effectsOf([
    { kind: "set", key: "foo", value: "1", expireAtMs: 0 },
    { kind: "delete", key: "bar" },
    { kind: "flush" },
  ]);
  const below = (slot: number) => [...engine.effectsBelow(effects, slot)].map(({ kind }) => kind);
  assert.deepEqual(below(0), ["flush"]);
  assert.deepEqual(below(slotOf("bar")), ["flush"]);
  assert.deepEqual(below(slotOf("bar") + 1), ["delete", "flush"]);
  assert.deepEqual(below(16_384), ["set", "delete", "flush"]);
});

test("the digest tells states apart and not the ways to them", () => {
  const digestOf = (...commands: string[]) => {
    const engine = new ShardEngine(WHOLE);
    words(...commands).forEach((args, i) => {
      engine.run(one(args), i + 1, WALL_MS);
    });
    return engine.digest();
  };
  assert.equal(digestOf("set a 1", "set b 2"), digestOf("set c 3", "set b 2", "del c", "set a 1"));
  assert.equal(digestOf("set a 12"), digestOf("set a 1", "append a 2"));
  const different = [
    "set a 1",
    "set a 2",
    "set b 1",
    "set a 1 ex 5",
    "set a 1 ex 6",
    "set ab c",
    "set a bc",
  ];
  const digests = [...different, "mset a 1 b 2", "mset a 2 b 1", "del a"].map((c) => digestOf(c));
  assert.equal(new Set(digests).size, digests.length);
});

test("clearing and copying in again restores everything, seqs included", () => {
  const engine = new ShardEngine(WHOLE);
  engine.run(one("set a 1 px 100"), 7, WALL_MS);
  const { records } = engine.copyOut(0, Number.MAX_VALUE);
  const digest = engine.digest();
  engine.clear();
  assert.equal(engine.size, 0);
  engine.copyIn(records);
  assert.equal(engine.digest(), digest);
  assert.equal(engine.read(one("get a", false), WALL_MS)?.readSeq, 7);
  assert.deepEqual([...engine.expire(8, WALL_MS + 101, 1)], [{ kind: "delete", key: "a" }]);
});

test(`records stored one by one while entries came, and the entries, make the same state (HOTHOT_SEED=${seed})`, () => {
  const random = new Prng(seed + 1);
  const primary = new ShardEngine(WHOLE);
  const log: { readonly seq: number; readonly effects: readonly Effect[] }[] = [];
  const stored = new Map<string, KeyRecord>();
  let checkpointSeq = 0;
  /** Keys that the checkpoint under way has still to store. */
  let due: string[] = [];
  let dirty = new Set<string>();
  let nextCheckpointSeq = 0;
  runRandomly(primary, 600, (effects, seq) => {
    if (effects.length > 0) log.push({ seq, effects: [...effects] });
    for (const effect of effects) {
      if (effect.kind !== "flush") dirty.add(effect.key);
      else for (const key of [...stored.keys(), ...due]) dirty.add(key);
    }
    if (due.length === 0) {
      checkpointSeq = nextCheckpointSeq;
      nextCheckpointSeq = seq;
      due = [...dirty];
      dirty = new Set();
    }
    for (const key of due.splice(0, random.below(3))) {
      const record = primary.record(key);
      if (record === undefined) stored.delete(key);
      else stored.set(key, record);
    }
  });
  const restored = new ShardEngine(WHOLE);
  restored.copyIn([...stored.values()]);
  for (const { seq, effects } of log)
    if (seq > checkpointSeq) restored.replay(effectsOf(effects), seq);
  assert.ok(checkpointSeq > 0, "there was a checkpoint");
  assert.equal(restored.digest(), primary.digest());
});
