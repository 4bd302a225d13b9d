import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { crc16, slotOf, slotOfBytes } from "./crc16.ts";

test("the checksum is XMODEM's", () => {
  assert.equal(crc16(""), 0);
  assert.equal(crc16("123456789"), 0x31c3);
  assert.equal(crc16("xx123456789yy", 2, 11), 0x31c3);
});

test("slots are Redis Cluster's", () => {
  const slots: [key: string, slot: number][] = [
    ["", 0],
    ["foo", 12_182],
    ["bar", 5_061],
    ["user1000", 3_443],
    ["{user1000}.following", 3_443],
    ["x{user1000}y{z}", 3_443],
    ["foo{{bar}}zap", slotOf("{bar")],
    ["foo{bar}{zap}", 5_061],
    ["123456789", 0x31c3 & 16_383],
  ];
  for (const [key, slot] of slots) assert.equal(slotOf(key), slot, key);
});

test("a tag that is empty or not closed is none", () => {
  for (const key of ["foo{}{bar}", "{}", "{", "a{b", "}{", "a}b{"]) {
    assert.equal(slotOf(key), crc16(key) & 16_383, key);
  }
});

test("a tag decides the slot whatever surrounds it", () => {
  const outside = fc.string({ unit: fc.constantFrom("a", "\u00ff", "}", "\u0000") });
  const inside = fc.string({ unit: fc.constantFrom("a", "{", "\u0080"), minLength: 1 });
  fc.assert(
    fc.property(outside, inside, fc.string(), (before, tag, after) => {
      assert.equal(slotOf(`${before}{${tag}}${after}`), crc16(tag) & 16_383);
    }),
  );
});

test("the slot of bytes is that of the string, wherever they lie", () => {
  const key = fc.string({ unit: fc.constantFrom("a", "\u00ff", "{", "}", "\u0000") });
  fc.assert(
    fc.property(key, key, (text, around) => {
      const bytes = Buffer.from(`${around}${text}}${around}`, "latin1");
      const start = around.length;
      assert.equal(slotOfBytes(bytes, start, start + text.length), slotOf(text));
    }),
  );
});
