import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { slotOf } from "../kit/crc16.ts";
import type { KeyRecord } from "./effect.ts";
import { effectsOf } from "./effect-writer.ts";
import type { Effects } from "./effects.ts";
import { Keyspace } from "./keyspace.ts";

const WHOLE = { firstSlot: 0, lastSlot: 16_383 };

const key = fc.oneof(
  fc.constantFrom("", "a", "{t}1", "{t}2", "{t}3", "\u00ff\u0000", "k".repeat(200)),
  fc.integer({ min: 0, max: 3_000 }).map((i) => `key:${i}`),
);
const value = fc.oneof(
  fc.constantFrom("", "1", "-7", "999999999999999", "01", "\u00ff\u0000\r\n"),
  fc.integer({ min: 0, max: 400 }).map((length) => "v".repeat(length)),
  fc.constantFrom(5_000, 64_000, 65_500, 70_000, 150_000).map((length) => "w".repeat(length)),
);
const time = fc.integer({ min: 1_000, max: 1_400 });

type Step =
  | { readonly kind: "set"; readonly key: string; readonly value: string; readonly end: number }
  | { readonly kind: "setBytes"; readonly key: string; readonly value: string }
  | { readonly kind: "keep"; readonly key: string; readonly value: string }
  | { readonly kind: "delete" | "flush" | "due" | "read"; readonly key: string }
  | { readonly kind: "expire"; readonly key: string; readonly end: number }
  | { readonly kind: "append"; readonly key: string; readonly value: string }
  | {
      readonly kind: "overwrite";
      readonly key: string;
      readonly value: string;
      readonly at: number;
    }
  | { readonly kind: "add"; readonly key: string; readonly delta: number };

const end = fc.oneof(fc.constant(0), time);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("set" as const), key, value, end }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("setBytes" as const), key, value }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("keep" as const), key, value }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("delete" as const, "read" as const), key }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("due" as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("expire" as const), key, end }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("append" as const), key, value }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("overwrite" as const), key, value, at: fc.nat(300) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("add" as const), key, delta: fc.integer() }),
  },
);
const steps = fc.array(
  fc.oneof(
    { weight: 60, arbitrary: step },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("flush" as const), key }) },
  ),
  { maxLength: 120, size: "max" },
);

/** The same as a `Map` of what belongs to a key. */
class Model {
  readonly keys = new Map<string, { value: string; end: number; seq: number }>();

  /** As a command sees it at `wallMs`: a key past its end is gone. */
  live(name: string, wallMs: number): { value: string; end: number; seq: number } | undefined {
    const record = this.keys.get(name);
    if (record === undefined || record.end === 0 || record.end >= wallMs) return record;
    this.keys.delete(name);
    return undefined;
  }

  /** @returns what the step answers. */
  run(it: Step, seq: number, wallMs: number): unknown {
    const { keys } = this;
    switch (it.kind) {
      case "set":
        keys.set(it.key, { value: it.value, end: it.end, seq });
        return undefined;
      case "setBytes":
        keys.set(it.key, { value: it.value, end: 0, seq });
        return undefined;
      case "keep":
        keys.set(it.key, { value: it.value, end: this.live(it.key, wallMs)?.end ?? 0, seq });
        return undefined;
      case "read":
        return this.live(it.key, wallMs)?.value;
      case "delete":
        return this.live(it.key, wallMs) !== undefined && keys.delete(it.key);
      case "expire": {
        const record = this.live(it.key, wallMs);
        if (record !== undefined) keys.set(it.key, { ...record, end: it.end, seq });
        return record !== undefined;
      }
      case "append":
      case "overwrite": {
        const before = this.live(it.key, wallMs) ?? { value: "", end: 0 };
        const at = it.kind === "append" ? before.value.length : it.at;
        const after =
          before.value.slice(0, at).padEnd(at, "\0") +
          it.value +
          before.value.slice(at + it.value.length);
        keys.set(it.key, { value: after, end: before.end, seq });
        return after.length;
      }
      case "add": {
        const before = this.live(it.key, wallMs) ?? { value: "0", end: 0 };
        if (!/^(?:0|-?[1-9]\d{0,14})$/.test(before.value)) return undefined;
        const after = Number(before.value) + it.delta;
        keys.set(it.key, { value: String(after), end: before.end, seq });
        return after;
      }
      case "due": {
        const due = [...keys].filter(([, record]) => record.end !== 0 && record.end < wallMs);
        for (const [name] of due) keys.delete(name);
        return due.length;
      }
      case "flush":
        keys.clear();
        return undefined;
    }
  }
}

function runIn(keyspace: Keyspace, it: Step): unknown {
  // Not at the begin of its buffer, for that is where commands find theirs.
  const bytes = Buffer.from(`*${it.key}*`, "latin1");
  const last = bytes.length - 1;
  switch (it.kind) {
    case "set":
      return keyspace.set(it.key, it.value, it.end);
    case "setBytes": {
      const content = Buffer.from(`**${it.value}`, "latin1");
      return keyspace.setBytes(bytes, 1, last, content, 2, content.length);
    }
    case "keep":
      return keyspace.setKeepingExpiry(it.key, it.value);
    case "read": {
      const found = keyspace.getBytes(bytes, 1, last)?.toString();
      assert.equal(keyspace.value(it.key), found);
      assert.equal(keyspace.existsBytes(bytes, 1, last), found !== undefined);
      return found;
    }
    case "delete":
      return keyspace.delete(it.key);
    case "expire": {
      const exists = keyspace.exists(it.key);
      if (exists) keyspace.expire(it.key, it.end);
      return exists;
    }
    case "append":
      return keyspace.append(it.key, it.value);
    case "overwrite":
      return keyspace.overwrite(it.key, it.at, it.value);
    case "add":
      return keyspace.addBytes(bytes, 1, last, it.delta);
    case "due": {
      const before = keyspace.size;
      // Of ends that lie mixed with another part's, one call sees no more than some.
      for (let i = 0; i < 4; i++) keyspace.expireDue(before);
      return before - keyspace.size;
    }
    case "flush":
      return keyspace.flush();
  }
}

function contentOf(keyspace: Keyspace): Map<string, Omit<KeyRecord, "key">> {
  const content = new Map<string, Omit<KeyRecord, "key">>();
  keyspace.forEach(({ key: name, ...rest }) => {
    assert.ok(!content.has(name));
    content.set(name, rest);
  });
  return content;
}

function contentOfModel(model: Model): Map<string, Omit<KeyRecord, "key">> {
  return new Map(
    [...model.keys].map(([name, { value: text, end: expireAtMs, seq }]) => [
      name,
      { value: text, expireAtMs, seq },
    ]),
  );
}

function runAll(
  list: readonly Step[],
  keyspace: Keyspace,
  each: (effects: Effects, seq: number, model: Model) => void,
): Model {
  const model = new Model();
  for (const [i, it] of list.entries()) {
    const seq = (i + 1) * 1_000_000_007;
    const wallMs = 1_000 + 3 * i;
    keyspace.beginRun(seq, wallMs);
    assert.deepEqual(runIn(keyspace, it), model.run(it, seq, wallMs), JSON.stringify(it));
    each(keyspace.effects, seq, model);
    keyspace.committed(seq - 4_000_000_000);
  }
  return model;
}

test("a keyspace is a map of keys, and so is one that applies its effects", () => {
  fc.assert(
    fc.property(steps, (list) => {
      const keyspace = new Keyspace(WHOLE);
      const backup = new Keyspace(WHOLE, { low: 11, high: 12 });
      const model = runAll(list, keyspace, (effects, seq, { keys }) => {
        backup.apply(effects, seq);
        assert.equal(keyspace.size, keys.size);
      });
      assert.deepEqual(contentOf(keyspace), contentOfModel(model));
      assert.deepEqual(contentOf(backup), contentOfModel(model));
      const bySlot = new Map<number, number>();
      for (const name of model.keys.keys()) {
        bySlot.set(slotOf(name), (bySlot.get(slotOf(name)) ?? 0) + 1);
      }
      keyspace.beginRead(0);
      for (const [slot, count] of bySlot) {
        assert.equal(keyspace.sizeOfSlot(slot), count);
        const names = [...keyspace.keysOfSlot(slot)];
        assert.equal(names.length, count);
        assert.ok(names.every((name) => slotOf(name) === slot && model.keys.has(name)));
      }
    }),
  );
});

test("copies and parts are equal, wherever the slots are divided", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 16_383 }), (list, boundary) => {
      const from = new Keyspace(WHOLE);
      const model = runAll(list, from, () => undefined);
      const low = new Keyspace({ firstSlot: 0, lastSlot: boundary - 1 });
      const high = new Keyspace({ firstSlot: boundary, lastSlot: 16_383 });
      for (let slot = 0; slot <= 16_383; ) {
        const { records, nextSlot } = from.copyOut(slot, 100);
        low.copyIn(records.filter((record) => slotOf(record.key) < boundary));
        high.copyIn(records.filter((record) => slotOf(record.key) >= boundary));
        slot = nextSlot;
      }
      const all = new Map([...contentOf(low), ...contentOf(high)]);
      assert.deepEqual(all, contentOfModel(model));
      assert.equal(low.size + high.size, model.keys.size);
      const part = from.divide(boundary);
      assert.deepEqual(contentOf(from), contentOf(low));
      assert.deepEqual(contentOf(part), contentOf(high));
      assert.equal(from.size + part.size, model.keys.size);
    }),
    { numRuns: 50 },
  );
});

type Change =
  | { readonly kind: "step"; readonly it: Step }
  | { readonly kind: "divide"; readonly at: number }
  | { readonly kind: "drop" | "sweep"; readonly which: number };

const which = fc.nat();
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.oneof(
    { weight: 40, arbitrary: fc.record({ kind: fc.constant("step" as const), it: step }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("step" as const),
        it: fc.record({ kind: fc.constant("flush" as const), key }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("divide" as const),
        // Right beside a slot with several keys, too, and where two pages of the lists meet.
        at: fc.oneof(
          fc.integer({ min: 1, max: 16_383 }),
          fc.constantFrom(slotOf("{t}"), slotOf("{t}") + 1, 8_192),
        ),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("drop" as const), which }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("sweep" as const), which }) },
  ),
  { minLength: 60, maxLength: 250, size: "max" },
);

/** Keys and values that are in one of the parts, and a model of that one alone. */
interface Part {
  keyspace: Keyspace;
  model: Model;
}

function partOf(parts: readonly Part[], slot: number): Part {
  const found = parts.find(
    ({ keyspace }) => slot >= keyspace.firstSlot && slot <= keyspace.lastSlot,
  );
  assert.ok(found !== undefined);
  return found;
}

function divideOff({ keyspace, model }: Part, at: number): Part {
  const bytes = keyspace.upkeep.bytes;
  const other = { keyspace: keyspace.divide(at), model: new Model() };
  for (const [name, record] of model.keys) {
    if (slotOf(name) < at) continue;
    model.keys.delete(name);
    other.model.keys.set(name, record);
  }
  if (keyspace.size > 0 && other.keyspace.size > 0) {
    assert.ok(keyspace.upkeep.bytes <= bytes, "no record is moved");
  }
  return other;
}

function assertEqual({ keyspace, model }: Part): void {
  assert.equal(keyspace.size, model.keys.size);
  assert.deepEqual(contentOf(keyspace), contentOfModel(model));
  const bySlot = new Map<number, number>();
  let slot = keyspace.firstSlot;
  keyspace.forEach(({ key: name }) => {
    assert.ok(slotOf(name) >= slot);
    slot = slotOf(name);
    bySlot.set(slot, (bySlot.get(slot) ?? 0) + 1);
  });
  assert.ok(slot <= keyspace.lastSlot);
  keyspace.beginRead(0);
  for (const [each, count] of bySlot) {
    assert.equal(keyspace.sizeOfSlot(each), count);
    assert.equal([...keyspace.keysOfSlot(each)].length, count);
  }
}

function copyOf(keyspace: Keyspace): Keyspace {
  const copy = new Keyspace(keyspace);
  for (let from = 0; from <= keyspace.lastSlot; ) {
    const { records, nextSlot } = keyspace.copyOut(from, 1_000);
    copy.copyIn(records);
    from = nextSlot;
  }
  return copy;
}

test("whatever is divided, flushed and dropped when, no part notices any other", () => {
  fc.assert(
    fc.property(changes, (list) => {
      const parts: Part[] = [{ keyspace: new Keyspace(WHOLE), model: new Model() }];
      for (const [i, change] of list.entries()) {
        const seq = i + 1;
        const wallMs = 1_000 + 2 * i;
        if (change.kind === "step") {
          const { it } = change;
          const { keyspace, model } = partOf(parts, slotOf(it.key));
          keyspace.beginRun(seq, wallMs);
          assert.deepEqual(runIn(keyspace, it), model.run(it, seq, wallMs), JSON.stringify(it));
          // As if the division had come before the entry, whose effects stand in all logs then.
          const { effects } = keyspace;
          for (const other of parts) {
            if (it.kind !== "flush" && other.keyspace !== keyspace)
              other.keyspace.apply(effects, seq);
          }
          keyspace.committed(seq);
        } else if (change.kind === "divide") {
          const part = partOf(parts, change.at);
          if (change.at > part.keyspace.firstSlot) parts.push(divideOff(part, change.at));
        } else {
          const part = parts[change.which % parts.length] as Part;
          if (change.kind === "sweep") part.keyspace.sweep();
          else {
            part.keyspace.clear();
            part.model = new Model();
          }
        }
      }
      for (const { keyspace, model } of parts) {
        assertEqual({ keyspace: copyOf(keyspace), model });
        for (const name of model.keys.keys()) {
          const having = parts.filter((part) => part.keyspace.record(name) !== undefined);
          assert.ok(having.length === 1 && having[0]?.model === model);
        }
      }
      for (const { keyspace } of parts) for (let i = 0; i < 2; i++) keyspace.sweep();
      for (const part of parts) {
        assertEqual(part);
        assert.equal(part.keyspace.upkeep.leftovers, 0);
      }
      for (const part of parts) {
        part.keyspace.beginRun(1_000, 1_000_000);
        runIn(part.keyspace, { kind: "due", key: "" });
        part.model.run({ kind: "due", key: "" }, 1_000, 1_000_000);
      }
      for (const part of parts) {
        assertEqual(part);
        assert.equal(part.keyspace.upkeep.ends, 0);
      }
    }),
    { numRuns: 60 },
  );
});

test("any stored mixture of old and new records becomes the state when its entries are replayed", () => {
  fc.assert(
    fc.property(steps, fc.nat(), fc.infiniteStream(fc.nat(120)), (list, which, moments) => {
      const keyspace = new Keyspace(WHOLE);
      const log: { readonly seq: number; readonly effects: Effects }[] = [];
      const states: Map<string, Omit<KeyRecord, "key">>[] = [contentOf(keyspace)];
      const model = runAll(list, keyspace, (effects, seq) => {
        log.push({ seq, effects: effectsOf([...effects]) });
        states.push(contentOf(keyspace));
      });
      const checkpoint = which % states.length;
      const names = new Set(states.flatMap((state) => [...state.keys()]));
      const stored: KeyRecord[] = [];
      for (const name of names) {
        const moment = Math.min(checkpoint + (moments.next().value ?? 0), states.length - 1);
        const record = states[moment]?.get(name);
        if (record !== undefined) stored.push({ key: name, ...record });
      }
      const restored = new Keyspace(WHOLE);
      restored.copyIn(stored);
      for (const { seq, effects } of log.slice(checkpoint)) restored.replay(effects, seq);
      assert.deepEqual(contentOf(restored), contentOfModel(model));
    }),
    { numRuns: 40 },
  );
});

test("a hundred thousand keys in one slot are found, listed, counted and deleted", () => {
  const keyspace = new Keyspace(WHOLE);
  const count = 100_000;
  for (let i = 0; i < count; i++) {
    keyspace.beginRun(i + 1, 1_000);
    keyspace.set(`{same}${i}`, String(i), 0);
  }
  const full = keyspace.upkeep.bytes;
  keyspace.beginRead(1_000);
  const slot = slotOf("{same}");
  assert.equal(keyspace.sizeOfSlot(slot), count);
  assert.equal(new Set(keyspace.keysOfSlot(slot)).size, count);
  for (let i = 0; i < count; i += 97) assert.equal(keyspace.value(`{same}${i}`), String(i));
  assert.equal(keyspace.value("{same}none"), undefined);
  for (let i = 0; i < count; i++) {
    keyspace.beginRun(count + i + 1, 1_000);
    assert.ok(keyspace.delete(`{same}${i}`));
    keyspace.committed(count + i + 1);
  }
  assert.equal(keyspace.size, 0);
  const { bytes } = keyspace.upkeep;
  assert.ok(bytes < full / 20, `${bytes} of ${full} bytes are kept`);
});

test("a key of 16 bytes with a value of 64 costs at most 130 bytes among many", () => {
  const keyspace = new Keyspace(WHOLE);
  const content = "x".repeat(64);
  const count = 312_500;
  for (let i = 0; i < count; i++) {
    keyspace.beginRun(i + 1, 1_000);
    keyspace.set(`key:${String(i).padStart(12, "0")}`, content, 0);
  }
  const bytes = keyspace.upkeep.bytes / count;
  assert.ok(bytes <= 130, `${bytes} bytes`);
});

test("values that become shorter or longer leave no memory behind", () => {
  const keyspace = new Keyspace(WHOLE);
  let seq = 1;
  const setAll = (length: number) => {
    for (let i = 0; i < 20_000; i++) {
      keyspace.beginRun(seq++, 1_000);
      keyspace.set(`key:${i}`, "x".repeat(length), 0);
    }
    return keyspace.upkeep.bytes;
  };
  const small = setAll(10);
  const large = setAll(300);
  assert.ok(large > 20_000 * 300 && large < 20_000 * 400, `${large} bytes`);
  const again = setAll(10);
  assert.ok(again < small * 1.5, `${again} bytes, before ${small}`);
});
