import assert from "node:assert/strict";
import { test } from "node:test";
import { slotOf } from "../../src/kit/crc16.ts";
import { keyText, patchKey, pickers, sequences } from "./keys.ts";

const HERE = { host: "127.0.0.1", port: 1 };
const LOW = { ...HERE, slots: [[0, 8_191]] as const };
const HIGH = { ...HERE, port: 2, slots: [[8_192, 16_383]] as const };

test("a key's digits are written over in place", () => {
  for (const key of [0, 7, 999, 1_000, 123_456, 999_999, 1_000_000, 999_999_999]) {
    const bytes = Buffer.from(`<${keyText(555_555_555)}>`);
    patchKey(bytes, bytes.length - 1, key);
    assert.equal(bytes.toString(), `<${keyText(key)}>`);
  }
});

test("uniform keys cover the key space evenly", () => {
  const [picker] = pickers([HERE], 100, "uniform", 7);
  const counts = new Array<number>(100).fill(0);
  for (let draw = 0; draw < 100_000; draw += 1) {
    const key = picker?.next() ?? -1;
    counts[key] = (counts[key] ?? Number.NaN) + 1;
  }
  assert.ok(Math.min(...counts) > 800 && Math.max(...counts) < 1_200, counts.join(" "));
});

test("by Zipf's law the most popular key comes as often as it should", () => {
  const keys = 1_000;
  const [picker] = pickers([HERE], keys, "zipf", 7);
  const counts = new Map<number, number>();
  const draws = 100_000;
  for (let draw = 0; draw < draws; draw += 1) {
    const key = picker?.next() ?? -1;
    assert.ok(key >= 0 && key < keys);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const sum = Array.from({ length: keys }, (_, rank) => (rank + 1) ** -0.99).reduce(
    (a, b) => a + b,
  );
  const most = Math.max(...counts.values()) / draws;
  assert.ok(Math.abs(most - 1 / sum) < 0.02, `${most} instead of ${1 / sum}`);
});

test("a client that knows the slots asks each node for its own keys only", () => {
  const both = pickers([LOW, HIGH], 1_000, "uniform", 7);
  for (const [index, picker] of both.entries()) {
    for (let draw = 0; draw < 1_000; draw += 1)
      assert.equal(slotOf(keyText(picker.next())) >= 8_192, index === 1);
  }
});

test("sequences give each key once", () => {
  for (const endpoints of [[HERE], [HERE, HERE, HERE], [LOW, HIGH]]) {
    const seen: number[] = [];
    for (const sequence of sequences(endpoints, 1_000, 10))
      while (!sequence.isDone) seen.push(sequence.next());
    seen.sort((a, b) => a - b);
    assert.deepEqual(
      seen,
      Array.from({ length: 990 }, (_, index) => index + 10),
    );
  }
});
