import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import { slotOf } from "../kit/crc16.ts";
import { memoryOf } from "../kit/memory.ts";
import { type Effect, VALUE_BYTES_MAX } from "./effect.ts";
import { EffectWriter, effectsOf } from "./effect-writer.ts";
import { Effects } from "./effects.ts";

const binary = fc.oneof(
  fc.string({ unit: fc.constantFrom("a", "\u00ff", "\u0000", "{", "}") }),
  fc.integer({ min: 0, max: 400 }).map((length) => "v".repeat(length)),
);
const time = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const effect: fc.Arbitrary<Effect> = fc.oneof(
  fc.record({
    kind: fc.constant("set" as const),
    key: binary,
    value: binary,
    expireAtMs: fc.oneof(fc.constant(0), time),
  }),
  fc.record({ kind: fc.constant("delete" as const), key: binary }),
  fc.record({ kind: fc.constant("expire" as const), key: binary, expireAtMs: time }),
  fc.record({ kind: fc.constant("append" as const), key: binary, bytes: binary }),
  fc.record({
    kind: fc.constant("overwrite" as const),
    key: binary,
    offset: fc.nat({ max: VALUE_BYTES_MAX - 1_000 }),
    bytes: binary,
  }),
  fc.constant({ kind: "flush" } as const),
);
const effects = fc.array(effect, { maxLength: 20 });

function plain(list: Iterable<Effect>): unknown {
  return JSON.parse(JSON.stringify([...list]));
}

function encoded(list: readonly Effect[]): Buffer {
  const writer = new ByteWriter();
  effectsOf(list).write(writer);
  return Buffer.from(writer.bytes());
}

test("what is written is read again, and nothing behind it", () => {
  fc.assert(
    fc.property(effects, binary, (list, rest) => {
      const bytes = Buffer.concat([encoded(list), Buffer.from(rest, "latin1")]);
      const reader = new ByteReader(bytes, 0, bytes.length);
      const read = Effects.read(reader);
      assert.equal(reader.left, rest.length);
      assert.equal(read.length, list.length);
      assert.deepEqual(plain(read), plain(list));
      const keys: string[] = [];
      read.forEachKey((kind, key) => keys.push(`${kind} ${key}`));
      assert.deepEqual(
        keys,
        list.map((each) => `${each.kind} ${each.kind === "flush" ? "" : each.key}`),
      );
    }),
  );
});

test("the bytes are few", () => {
  const set: Effect = { kind: "set", key: "k".repeat(16), value: "v".repeat(64), expireAtMs: 0 };
  assert.equal(encoded([set]).length, 1 + 1 + 1 + 16 + 1 + 64);
});

test("bytes that were changed anywhere, or end early, give effects or a malformed error", () => {
  fc.assert(
    fc.property(effects, fc.nat(), fc.nat({ max: 255 }), fc.boolean(), (list, which, byte, cut) => {
      const bytes = encoded(list);
      const at = which % bytes.length;
      if (!cut) bytes[at] = byte;
      const reader = new ByteReader(bytes, 0, cut ? at : bytes.length);
      try {
        const read = Effects.read(reader);
        assert.equal([...read].length, read.length);
        assert.ok(read.end <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof MalformedError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("an overwrite that would make a value too long is malformed", () => {
  const of = (offset: number) => encoded([{ kind: "overwrite", key: "a", offset, bytes: "xy" }]);
  const read = (bytes: Buffer) => Effects.read(new ByteReader(bytes, 0, bytes.length)).length;
  assert.equal(read(of(VALUE_BYTES_MAX - 2)), 1);
  assert.throws(() => read(of(VALUE_BYTES_MAX - 1)), MalformedError);
  assert.throws(() => read(of(Number.MAX_SAFE_INTEGER - 2)), MalformedError);
});

test("those below a slot are told from the others, and a flush is on all", () => {
  fc.assert(
    fc.property(effects, fc.integer({ min: 0, max: 16_384 }), (list, slot) => {
      const kept = effectsOf(list).below(slot);
      const expected = list.filter((each) => each.kind === "flush" || slotOf(each.key) < slot);
      assert.equal(kept.length, expected.length);
      assert.deepEqual(plain(kept), plain(expected));
    }),
  );
});

test("what is written is taken whole, also in memory that others were in before", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(effects, fc.nat(20_000)), { maxLength: 20 }), (runs) => {
      const writer = new EffectWriter();
      for (const [list, length] of runs) {
        writer.begin();
        const expected: Effect[] = [];
        for (const each of list) {
          if (each.kind !== "set") continue;
          const value = memoryOf(Buffer.alloc(length, 1));
          const key = memoryOf(Buffer.from(`*${each.key}`, "latin1"));
          const end = each.key.length + 1;
          writer.set(key, 1, end, value, 0, length, each.expireAtMs);
          const { memory, valueStart } = writer;
          assert.deepEqual(
            memory.bytes.subarray(valueStart, valueStart + length),
            value.bytes.subarray(0, length),
          );
          expected.push({ ...each, value: "\u0001".repeat(length) });
        }
        assert.equal(writer.length, expected.length);
        assert.deepEqual(plain(writer.take()), plain(expected));
      }
    }),
  );
});
