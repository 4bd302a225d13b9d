import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addIntegers, negateInteger, parseInteger, scaleInteger } from "./integer.ts";

const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);
const int64 = fc.oneof(fc.bigInt({ min: MIN, max: MAX }), fc.bigInt({ min: -9n, max: 9n }));

test("what is no integer for Redis is none", () => {
  const bad = ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "1e3", "0x1", "a", "1a", "--1"];
  for (const text of [...bad, "9223372036854775808", "-9223372036854775809", "9".repeat(30)]) {
    assert.equal(parseInteger(text), undefined, text);
  }
});

test("every 64-bit integer is read, as a number where that is exact", () => {
  fc.assert(
    fc.property(int64, (value) => {
      const parsed = parseInteger(value.toString());
      assert.ok(parsed !== undefined);
      assert.equal(BigInt(parsed), value);
      assert.equal(typeof parsed === "number", Number.isSafeInteger(Number(value)));
      assert.ok(!Object.is(parsed, -0));
    }),
  );
});

test("sums, negatives and products are exact or refused", () => {
  const narrow = (value: bigint) => parseInteger(value.toString());
  fc.assert(
    fc.property(int64, int64, fc.constantFrom(1, 1000), (a, b, factor) => {
      const [x, y] = [narrow(a), narrow(b)];
      assert.ok(x !== undefined && y !== undefined);
      assert.equal(addIntegers(x, y), narrow(a + b));
      assert.equal(negateInteger(x), narrow(-a));
      assert.equal(scaleInteger(x, factor), narrow(a * BigInt(factor)));
    }),
  );
  assert.equal(addIntegers(MAX, 1), undefined);
  assert.equal(addIntegers(MIN, -1), undefined);
  assert.equal(negateInteger(MIN), undefined);
  assert.ok(Object.is(negateInteger(0), 0));
});
