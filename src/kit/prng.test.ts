import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "./prng.ts";

test("the same seed gives the same numbers, another seed others", () => {
  const draw = (seed: number) => {
    const prng = new Prng(seed);
    return Array.from({ length: 20 }, () => prng.uint32());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  assert.notDeepEqual(draw(7), draw(7 + 2 ** 40), "the high bits of the seed count");
});

test("numbers below a bound are all drawn, about equally often", () => {
  const prng = new Prng(1);
  const counts = new Array<number>(10).fill(0);
  for (let draw = 0; draw < 100_000; draw++) {
    const number = prng.below(10);
    counts[number] = (counts[number] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 9_500 && count < 10_500, `${counts}`);
});

test("a fork does not depend on what its parent draws later", () => {
  const first = new Prng(3);
  const second = new Prng(3);
  const forkOfFirst = first.fork();
  const forkOfSecond = second.fork();
  first.uint32();
  assert.equal(forkOfFirst.uint32(), forkOfSecond.uint32());
});
