import assert from "node:assert/strict";
import { test } from "node:test";
import { slotOf } from "../kit/crc16.ts";
import { effectsOf } from "./effect-writer.ts";
import { Keyspace, VALUE_BYTES_MAX } from "./keyspace.ts";

const WHOLE = { firstSlot: 0, lastSlot: 16_383 };

/** Runs `write` as the entry `seq` at the wall clock `wallMs`; its effects. */
function run(keyspace: Keyspace, seq: number, write: () => void, wallMs = 1_000) {
  keyspace.beginRun(seq, wallMs);
  write();
  return [...keyspace.effects];
}

/** What the last seq is that `read` depends on. */
function readSeq(keyspace: Keyspace, read: () => void, wallMs = 1_000): number {
  keyspace.beginRead(wallMs);
  read();
  return keyspace.readSeq;
}

test("a read depends on the entry that wrote its key last", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 3, () => keyspace.set("a", "1", 0));
  run(keyspace, 4, () => keyspace.set("b", "1", 0));
  run(keyspace, 5, () => keyspace.append("a", "2"));
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    5,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.value("b")),
    4,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.value("never")),
    0,
  );
  run(keyspace, 6, () => keyspace.expire("b", 9_000));
  run(keyspace, 7, () => keyspace.overwrite("a", 0, "x"));
  assert.equal(
    readSeq(keyspace, () => keyspace.exists("b")),
    6,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.version("a")),
    7,
  );
  assert.equal(
    readSeq(keyspace, () => {
      keyspace.value("a");
      keyspace.value("b");
    }),
    7,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.noteAll()),
    7,
  );
});

test("a missing key depends on its deletion until that is committed", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 0));
  run(keyspace, 2, () => keyspace.delete("a"));
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    2,
  );
  keyspace.committed(1);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    2,
  );
  keyspace.committed(2);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    0,
  );
});

test("a key that was deleted twice depends on the second deletion", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 0));
  run(keyspace, 2, () => keyspace.delete("a"));
  run(keyspace, 3, () => keyspace.set("a", "2", 0));
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    3,
  );
  run(keyspace, 4, () => keyspace.delete("a"));
  keyspace.committed(3);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    4,
  );
});

test("after a flush every missing key depends on it until it is committed", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 0));
  run(keyspace, 2, () => keyspace.delete("a"));
  run(keyspace, 3, () => keyspace.set("b", "1", 0));
  assert.deepEqual(
    run(keyspace, 4, () => keyspace.flush()),
    [{ kind: "flush" }],
  );
  assert.equal(keyspace.size, 0);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    4,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.value("never")),
    4,
  );
  run(keyspace, 5, () => keyspace.set("a", "2", 0));
  run(keyspace, 6, () => keyspace.delete("a"));
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    6,
  );
  keyspace.committed(4);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("b")),
    0,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    6,
  );
});

test("a flush of nothing is no effect but depends on what made it nothing", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 0));
  run(keyspace, 2, () => keyspace.delete("a"));
  assert.deepEqual(
    run(keyspace, 3, () => keyspace.flush()),
    [],
  );
  assert.equal(keyspace.readSeq, 2);
});

test("a key lives in the millisecond of its end and not after", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 2_000));
  keyspace.beginRead(2_000);
  assert.equal(keyspace.value("a"), "1");
  assert.equal(keyspace.hasMetExpired, false);
  keyspace.beginRead(2_001);
  assert.equal(keyspace.value("a"), undefined);
  assert.equal(keyspace.hasMetExpired, true);
  assert.equal(keyspace.size, 1, "a read deletes nothing");
  keyspace.beginRead(2_000);
  assert.equal(keyspace.hasMetExpired, false);
});

test("at the primary a key past its end is deleted when met, by an effect", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 2_000));
  const effects = run(keyspace, 2, () => assert.equal(keyspace.value("a"), undefined), 2_001);
  assert.deepEqual(effects, [{ kind: "delete", key: "a" }]);
  assert.equal(keyspace.size, 0);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("a")),
    2,
  );
});

test("an append to a key past its end begins anew", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "old", 2_000));
  const effects = run(keyspace, 2, () => assert.equal(keyspace.append("a", "new"), 3), 2_001);
  assert.deepEqual(effects, [
    { kind: "delete", key: "a" },
    { kind: "append", key: "a", bytes: "new" },
  ]);
  keyspace.beginRead(9_999);
  assert.equal(keyspace.value("a"), "new");
  assert.equal(keyspace.expireAtMs("a"), 0);
});

test("keys past their end are deleted in the order of their ends, no more than asked for", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => {
    keyspace.set("c", "1", 3_000);
    keyspace.set("a", "1", 1_000);
    keyspace.set("b", "1", 2_000);
    keyspace.set("later", "1", 9_000);
    keyspace.set("never", "1", 0);
  });
  const keysOf = (limit: number, wallMs: number) =>
    run(keyspace, 2, () => keyspace.expireDue(limit), wallMs).map((effect) =>
      effect.kind === "delete" ? effect.key : effect.kind,
    );
  assert.deepEqual(keysOf(10, 1_000), []);
  assert.deepEqual(keysOf(2, 3_001), ["a", "b"]);
  assert.deepEqual(keysOf(2, 3_001), ["c"]);
  assert.deepEqual(keysOf(2, 3_001), []);
  assert.equal(keyspace.size, 2);
});

test("nothing is left over from keys that change, end, go and come", () => {
  const keyspace = new Keyspace(WHOLE);
  for (let seq = 1; seq <= 20_000; seq++) {
    run(keyspace, seq, () => {
      const key = `k${seq % 3}`;
      if (seq % 7 === 0) keyspace.delete(key);
      else if (seq % 5 === 0) keyspace.append(key, "x");
      else keyspace.set(key, "v", seq % 2 === 0 ? 5_000 + seq : 0);
    });
    keyspace.committed(seq - 10);
    const { ends, tombstones, graves, bytes } = keyspace.upkeep;
    assert.ok(ends <= 3 && tombstones <= 3 && graves <= 2_100, `at ${seq}`);
    assert.ok(bytes < 256 * 1024, `${bytes} bytes at ${seq}`);
  }
});

test("graves are cut even if some deletion is always uncommitted", () => {
  const keyspace = new Keyspace(WHOLE);
  for (let seq = 2; seq <= 20_000; seq += 2) {
    run(keyspace, seq - 1, () => keyspace.set("a", "1", 0));
    run(keyspace, seq, () => keyspace.delete("a"));
    keyspace.committed(seq - 1);
    assert.ok(keyspace.upkeep.graves <= 2_100, `at ${seq}`);
    assert.equal(
      readSeq(keyspace, () => keyspace.value("a")),
      seq,
    );
  }
});

test("overwriting fills up with zero bytes", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => assert.equal(keyspace.overwrite("a", 2, "xy"), 4));
  assert.equal(keyspace.value("a"), "\0\0xy");
  run(keyspace, 2, () => assert.equal(keyspace.overwrite("a", 1, "12345"), 6));
  assert.equal(keyspace.value("a"), "\x0012345");
  run(keyspace, 3, () => assert.equal(keyspace.overwrite("a", 1, "!"), 6));
  assert.equal(keyspace.value("a"), "\0!2345");
});

test("the longest value can be made without an error of the engine", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "x".repeat(VALUE_BYTES_MAX - 1), 0));
  run(keyspace, 2, () => keyspace.append("a", "y"));
  assert.equal(keyspace.valueBytes("a"), VALUE_BYTES_MAX);
  run(keyspace, 3, () => keyspace.overwrite("b", VALUE_BYTES_MAX - 1, "y"));
  assert.equal(keyspace.valueBytes("b"), VALUE_BYTES_MAX);
});

test("a value that grows byte by byte has little more memory than it needs, at any length", () => {
  const keyspace = new Keyspace(WHOLE);
  const empty = keyspace.upkeep.bytes;
  const append = effectsOf([{ kind: "append", key: "a", bytes: "x" }]);
  // Copied at every step, this would take hours.
  for (let seq = 1; seq <= 3_000_000; seq++) {
    keyspace.apply(append, seq);
    if (seq < 100_000 ? seq % 64 === 0 : seq % 50_000 === 0) {
      const bytes = keyspace.upkeep.bytes - empty;
      assert.ok(bytes < 1.5 * seq + 300_000, `${bytes} bytes at ${seq}`);
    }
  }
  keyspace.beginRead(1_000);
  assert.equal(keyspace.value("a"), "x".repeat(3_000_000));
});

test("a copy takes whole slots and goes on where it stopped", () => {
  const from = new Keyspace({ firstSlot: 5_000, lastSlot: 13_000 });
  const keys = ["foo", "bar", "{foo}1", "{foo}2", "{bar}1"];
  keys.forEach((key, i) => {
    run(from, i + 1, () => from.set(key, key, i === 1 ? 7_000 : 0));
  });
  const to = new Keyspace({ firstSlot: 5_000, lastSlot: 13_000 });
  const slots: number[][] = [];
  for (let slot = 0; slot <= 13_000; ) {
    const { records, nextSlot } = from.copyOut(slot, 1);
    assert.ok(records.every(({ key }) => slotOf(key) >= slot && slotOf(key) < nextSlot));
    slots.push(records.map(({ key }) => slotOf(key)));
    to.copyIn(records);
    slot = nextSlot;
  }
  assert.deepEqual(slots, [[5_061, 5_061], [12_182, 12_182, 12_182], []]);
  assert.deepEqual(to.copyOut(0, Number.MAX_VALUE), from.copyOut(0, Number.MAX_VALUE));
  to.beginRead(7_000);
  assert.deepEqual(
    [to.version("{foo}1"), to.expireAtMs("bar"), to.expireAtMs("foo")],
    [3, 7_000, 0],
  );
  assert.equal(from.copyOut(0, Number.MAX_VALUE).nextSlot, 13_001);
});

test("clearing forgets the keys, their ends and their deletions", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => keyspace.set("a", "1", 2_000));
  run(keyspace, 2, () => keyspace.set("b", "1", 2_000));
  run(keyspace, 3, () => keyspace.delete("b"));
  keyspace.clear();
  assert.equal(keyspace.size, 0);
  assert.equal(
    readSeq(keyspace, () => keyspace.value("b")),
    0,
  );
  assert.equal(
    readSeq(keyspace, () => keyspace.noteAll()),
    0,
  );
  assert.deepEqual(
    run(keyspace, 1, () => keyspace.expireDue(10), 9_999),
    [],
  );
});

test("writing in a read, or a key of another shard, is a bug and says so", () => {
  const keyspace = new Keyspace({ firstSlot: 0, lastSlot: 100 });
  keyspace.beginRead(1);
  assert.throws(() => keyspace.set("foo", "1", 0), { name: "AssertionError" });
  keyspace.beginRun(1, 1);
  assert.throws(() => keyspace.set("foo", "1", 0), { name: "AssertionError" });
});

test("a keyspace that is divided keeps all in one part or the other", () => {
  const keys = Array.from({ length: 40 }, (_, index) => `key ${index}`);
  const at = 8_000;
  const keyspace = new Keyspace(WHOLE);
  const entries = [
    run(keyspace, 1, () => {
      for (const key of keys) keyspace.set(key, key, key.endsWith("5") ? 5_000 : 0);
    }),
    run(keyspace, 2, () => {
      for (const key of keys) if (key.endsWith("7")) keyspace.delete(key);
    }),
    run(keyspace, 3, () => {
      for (const key of keys) if (key.endsWith("3")) keyspace.append(key, "!");
    }),
  ];
  const before = new Map<string, unknown>();
  keyspace.forEach((record) => {
    before.set(record.key, record);
  });
  const part = keyspace.divide(at);
  assert.deepEqual([keyspace.firstSlot, keyspace.lastSlot], [0, at - 1]);
  assert.deepEqual([part.firstSlot, part.lastSlot], [at, 16_383]);
  const after = new Map<string, unknown>();
  for (const each of [keyspace, part]) {
    each.forEach((record) => {
      assert.equal(slotOf(record.key) >= at, each === part);
      after.set(record.key, record);
    });
  }
  assert.deepEqual(after, before);
  assert.equal(keyspace.size + part.size, before.size);
  // Deletions that are not committed, and ends, are known where their keys belong.
  for (const each of [keyspace, part]) {
    const own = keys.filter((key) => slotOf(key) >= at === (each === part));
    const deleted = own.filter((key) => key.endsWith("7"));
    const ending = own.filter((key) => key.endsWith("5"));
    assert.ok(deleted.length > 0 && ending.length > 0);
    for (const key of deleted)
      assert.equal(
        readSeq(each, () => each.value(key)),
        2,
      );
    assert.equal(each.upkeep.tombstones, deleted.length);
    const ended = run(each, 9, () => each.expireDue(100), 6_000);
    assert.deepEqual(ended.map((effect) => "key" in effect && effect.key).sort(), ending.sort());
    each.committed(9);
    assert.equal(each.upkeep.tombstones, 0);
    run(each, 10, () => each.flush());
    assert.equal(each.size, 0);
  }
  // Who applies the same entries with its own slots only comes to the same.
  const replica = new Keyspace({ firstSlot: at, lastSlot: 16_383 });
  for (const [index, effects] of entries.entries()) replica.apply(effectsOf(effects), index + 1);
  const copied: unknown[] = [];
  replica.forEach((record) => {
    copied.push(record);
  });
  assert.deepEqual(
    copied,
    [...before.values()].filter((record) => slotOf((record as { key: string }).key) >= at),
  );
});

test("keys end in the order of their ends in both parts, however the ends lie mixed", () => {
  const keyspace = new Keyspace(WHOLE);
  const at = 8_192;
  const endOf = new Map<string, number>();
  run(keyspace, 1, () => {
    for (let i = 0; i < 2_000; i++) {
      const key = `key ${i}`;
      // Those of the upper part come first, so that the lower one finds its own behind them.
      const endMs = (slotOf(key) < at ? 20_000 : 10_000) + ((i * 7_919) % 2_000);
      endOf.set(key, endMs);
      keyspace.set(key, "1", endMs);
    }
  });
  const part = keyspace.divide(at);
  // What is given another end after the division, or loses it, counts as it is then.
  for (const each of [keyspace, part]) {
    run(each, 2, () => {
      for (const key of endOf.keys()) {
        if (slotOf(key) >= at !== (each === part)) continue;
        if (key.endsWith("4")) {
          each.expire(key, 15_000);
          endOf.set(key, 15_000);
        } else if (key.endsWith("5")) {
          each.expire(key, 0);
          endOf.delete(key);
        } else if (key.endsWith("6")) {
          each.append(key, "x".repeat(500));
        }
      }
    });
  }
  for (const each of [keyspace, part]) {
    const ended: string[] = [];
    let calls = 0;
    for (; each.size > 0 && calls < 1_000; calls++) {
      for (const effect of run(each, 3, () => each.expireDue(50), 30_000)) {
        if (effect.kind === "delete") ended.push(effect.key);
      }
    }
    const own = [...endOf.keys()].filter((key) => slotOf(key) >= at === (each === part));
    assert.deepEqual([...ended].sort(), own.sort());
    const times = ended.map((key) => endOf.get(key) ?? 0);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.ok(each.size > 0, "those without an end stay");
  }
});

test("what a part leaves behind is freed a little at a time", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => {
    for (let i = 0; i < 20_000; i++) {
      keyspace.set(`key ${i}`, "x".repeat(i % 1_000 === 0 ? 100_000 : 50), i % 3 === 0 ? 5_000 : 0);
    }
  });
  const full = keyspace.upkeep.bytes;
  const middle = keyspace.divide(4_000);
  const part = middle.divide(12_000);
  const { size } = middle;
  middle.clear();
  assert.equal(middle.size, 0);
  assert.ok(middle.upkeep.bytes < full / 10);
  assert.equal(part.upkeep.leftovers, size);
  let sweeps = 0;
  for (let before = size; before > 0; sweeps++) {
    keyspace.sweep();
    part.sweep();
    const { leftovers } = part.upkeep;
    assert.ok(leftovers < before && leftovers >= before - 300, `${before - leftovers} at once`);
    before = leftovers;
  }
  assert.ok(sweeps > 5);
  assert.ok(part.upkeep.bytes < full * 0.75, `${part.upkeep.bytes} of ${full} bytes`);
  const rest = part.size;
  keyspace.clear();
  assert.equal(part.upkeep.leftovers, 20_000 - size - rest);
  while (part.upkeep.leftovers > 0) part.sweep();
  run(part, 2, () => {
    const keys: string[] = [];
    part.forEach(({ key }) => {
      keys.push(key);
    });
    for (const key of keys) part.delete(key);
  });
  part.sweep();
  assert.ok(part.upkeep.bytes < 10_000, "neither cells nor entries of the index are left");
});

test("who leaves last frees all at once", () => {
  const keyspace = new Keyspace(WHOLE);
  run(keyspace, 1, () => {
    for (let i = 0; i < 5_000; i++) keyspace.set(`key ${i}`, "x", 0);
  });
  const part = keyspace.divide(8_000);
  keyspace.clear();
  const { leftovers, bytes } = part.upkeep;
  assert.equal(leftovers, 5_000 - part.size);
  part.clear();
  assert.equal(part.upkeep.leftovers, 0);
  assert.ok(part.upkeep.bytes < bytes / 10);
});

test("parts of a keyspace without keys share nothing", () => {
  const keyspace = new Keyspace(WHOLE);
  const part = keyspace.divide(8_000);
  run(keyspace, 1, () => keyspace.set("bar", "x".repeat(1_000_000), 0));
  assert.equal(slotOf("bar"), 5_061);
  assert.ok(part.upkeep.bytes < 100_000);
  run(part, 1, () => part.set("foo", "1", 0));
  const high = part.divide(12_182);
  assert.ok(part.upkeep.bytes < 10_000 && high.size === 1);
});
