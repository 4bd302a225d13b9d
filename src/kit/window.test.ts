import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Window } from "./window.ts";

type Step = readonly ["set" | "delete" | "below" | "clear", number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom("set", "set", "set", "delete", "delete", "below", "clear"),
  fc.integer({ min: -40, max: 80 }),
);

test("it holds what a map holds, in ascending order", () => {
  fc.assert(
    fc.property(
      // Beyond 32 bits too, where bitwise operators cut numbers.
      fc.constantFrom(100, 2 ** 31 - 5, 2 ** 32 - 5, 2 ** 40),
      fc.array(step, { maxLength: 120 }),
      (base, steps) => {
        const window = new Window<string>();
        const model = new Map<number, string>();
        for (const [kind, offset] of steps) {
          const number = base + offset;
          if (kind === "set") {
            window.set(number, `value ${offset}`);
            model.set(number, `value ${offset}`);
          } else if (kind === "delete") {
            assert.equal(window.delete(number), model.delete(number));
          } else if (kind === "below") {
            window.deleteBelow(number);
            for (const key of model.keys()) if (key < number) model.delete(key);
          } else {
            window.clear();
            model.clear();
          }
          const sorted = [...model].sort(([a], [b]) => a - b);
          assert.deepEqual([...window.entries()], sorted);
          assert.equal(window.size, model.size);
          assert.equal(window.first, sorted[0]?.[0]);
          assert.equal(window.get(number), model.get(number));
          assert.equal(window.get(base + 1_000), undefined);
        }
      },
    ),
  );
});

test("numbers that go on for ever need no more memory than those held at once", () => {
  const window = new Window<number>();
  for (let number = 0; number < 100_000; number += 1) {
    window.set(number, number);
    if (number >= 10) assert.equal(window.delete(number - 10), true);
  }
  assert.equal(window.size, 10);
  assert.equal(window.first, 99_990);
});
