import assert from "node:assert/strict";
import { test } from "node:test";
import { Memories, type Memory } from "../kit/memory.ts";
import { FIXED_HASH_KEY, keyHash } from "./key-hash.ts";

function memory(bytes: Buffer): Memory {
  return new Memories().of(bytes);
}

test("the hash is HalfSipHash-1-3", () => {
  const bytes = memory(Buffer.from(Array.from({ length: 80 }, (_, i) => i)));
  // Published with the Linux kernel, for the first 0, 1, 2 … bytes of 0, 1, 2 … and the key 0, 1, 2 … 7.
  const published = [
    0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6,
    0x577999b1,
  ];
  assert.deepEqual(
    published.map((_, length) => keyHash(FIXED_HASH_KEY, bytes, 0, length) >>> 0),
    published,
  );
  assert.equal(keyHash(FIXED_HASH_KEY, bytes, 0, 63) >>> 0, 0x87178304);
});

test("the hash is of the bytes, wherever they lie, and depends on the hash key", () => {
  const bytes = memory(Buffer.from("..key:000000000001.."));
  const there = keyHash(FIXED_HASH_KEY, bytes, 2, 18);
  assert.equal(there, keyHash(FIXED_HASH_KEY, memory(Buffer.from("key:000000000001")), 0, 16));
  assert.notEqual(there, keyHash({ low: 1, high: 2 }, bytes, 2, 18));
  assert.notEqual(there, keyHash({ ...FIXED_HASH_KEY, high: 2 }, bytes, 2, 18));
});
