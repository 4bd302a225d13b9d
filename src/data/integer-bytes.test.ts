import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { INTEGER_BYTES_MAX, readInteger, writeInteger } from "./integer-bytes.ts";

function read(text: string): number | undefined {
  const bytes = Buffer.from(`9${text}9`, "latin1");
  return readInteger(bytes, 1, bytes.length - 1);
}

test("integers are read in their only spelling", () => {
  const cases: [text: string, value: number | undefined][] = [
    ["0", 0],
    ["7", 7],
    ["-1", -1],
    ["999999999999999", 999_999_999_999_999],
    ["-999999999999999", -999_999_999_999_999],
    ["1000000000000000", undefined],
    ["", undefined],
    ["-", undefined],
    ["-0", undefined],
    ["00", undefined],
    ["01", undefined],
    ["+1", undefined],
    [" 1", undefined],
    ["1 ", undefined],
    ["1.0", undefined],
    ["--1", undefined],
    ["1\u0000", undefined],
    ["\u00ff", undefined],
  ];
  for (const [text, value] of cases) assert.equal(read(text), value, JSON.stringify(text));
});

test("what is written is what the engine writes, and is read again", () => {
  const bytes = Buffer.alloc(INTEGER_BYTES_MAX);
  const values = [0, 9, 10, -10, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(...values)), (value) => {
      const text = bytes.toString("latin1", writeInteger(value, bytes));
      assert.equal(text, String(value));
      if (text.replace("-", "").length <= 15) assert.equal(read(text), value);
    }),
  );
});
