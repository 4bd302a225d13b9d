import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addLongDoubles, formatLongDouble, parseLongDouble } from "./long-double.ts";

function sum(a: string, b: string): string | undefined {
  const [x, y] = [parseLongDouble(a), parseLongDouble(b)];
  assert.ok(x !== undefined && y !== undefined, `${a} and ${b} are numbers`);
  const total = addLongDoubles(x, y);
  return total === undefined ? undefined : formatLongDouble(total);
}

test("sums come out as Redis prints them", () => {
  const sums: [a: string, b: string, sum: string][] = [
    ["0", "0", "0"],
    ["-0", "0", "0"],
    ["10.50", "0.1", "10.6"],
    ["5.0e3", "2.0e2", "5200"],
    ["0.1", "0.2", "0.3"],
    ["3", "-3.5", "-0.5"],
    ["1", "-1e-30", "1"],
    ["0", "-1e-30", "0"],
    ["0x10", "0x1.8p3", "28"],
    [".5", "1.", "1.5"],
    ["1234567.1234567", "0", "1234567.12345670000001974"],
    ["9223372036854775807", "1", "9223372036854775808"],
    ["9223372036854775807.5", "1e-9", "9223372036854775807.5"],
    ["18446744073709551615", "0", "18446744073709551615"],
    ["18446744073709551615", "1", "18446744073709551616"],
    ["18446744073709551616", "1", "18446744073709551616"],
    ["18446744073709551616", "3", "18446744073709551620"],
    ["3.00000000000000000000001", "0", "3"],
    ["0.00000000000000001", "0", "0.00000000000000001"],
    ["1e20", "0", "100000000000000000000"],
  ];
  for (const [a, b, expected] of sums) assert.equal(sum(a, b), expected, `${a} + ${b}`);
});

test("what is no number, or none that fits, is not read", () => {
  const bad = [
    "",
    " 1",
    "1 ",
    "nan",
    "NaN",
    ".",
    "-",
    "e5",
    "1e",
    "1e+",
    "0x",
    "0xg",
    "1..2",
    "1,5",
    "1\0",
  ];
  const extreme = [
    "1e4933",
    "1e5000",
    "1e999999999999",
    "1e-5000",
    "0x1p16384",
    "0x1p-16447",
    "1".repeat(5_120),
  ];
  for (const text of [...bad, ...extreme]) assert.equal(parseLongDouble(text), undefined, text);
});

test("infinities are read but give no sum", () => {
  for (const text of ["inf", "-inf", "+Infinity", "INF"]) assert.equal(sum(text, "1"), undefined);
  assert.equal(sum("1e4932", "1e4932"), undefined);
});

test("integers of up to 64 bits are exact", () => {
  const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n });
  fc.assert(
    fc.property(integer, integer, (a, b) => {
      assert.equal(sum(String(a), String(b)), String(a + b));
    }),
  );
});

test("a double's decimal form survives, as far as 17 decimals tell it", () => {
  const number = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(number, (value) => {
      const text = sum(String(value), "0");
      assert.ok(Math.abs(Number(text) - value) <= Math.abs(value) * 2 ** -53 + 1e-17);
    }),
  );
});
