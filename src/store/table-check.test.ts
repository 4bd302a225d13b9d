import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ClassicLevel } from "classic-level";
import fc from "fast-check";
import { temporaryDirectory } from "../../test/support/store-directory.ts";
import { crc32c } from "./crc32c.ts";
import { checkTable, checkTables } from "./table-check.ts";

test("the checksum is Castagnoli's", () => {
  // The check value of the catalogue of CRCs, and two of RFC 3720, B.4.
  const cases: [bytes: Buffer, crc: number][] = [
    [Buffer.from("123456789"), 0xe306_9283],
    [Buffer.alloc(32), 0x8a91_36aa],
    [Buffer.alloc(32, 0xff), 0x62a8_ab43],
    [Buffer.alloc(0), 0],
  ];
  for (const [bytes, crc] of cases) assert.equal(crc32c(bytes, 0, bytes.length), crc);
});

test("the checksum of a part is that of the part", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(9), fc.nat(9), (bytes, before, after) => {
      const padded = Buffer.concat([Buffer.alloc(before, 7), bytes, Buffer.alloc(after, 9)]);
      const whole = crc32c(bytes, 0, bytes.length);
      assert.equal(crc32c(padded, before, before + bytes.length), whole);
    }),
  );
});

test("LevelDB's tables pass, and no flipped bit does", async (t) => {
  const dir = await temporaryDirectory(t);
  const level = new ClassicLevel<string, string>(dir, { compression: false, blockSize: 256 });
  for (let i = 0; i < 100; i++) await level.put(`key ${i}`, `${i}`.repeat(i % 40));
  await level.close();
  // Opening writes what is in LevelDB's log to a table.
  await level.open();
  await level.close();
  const name = (await readdir(dir)).find((file) => file.endsWith(".ldb"));
  assert.ok(name !== undefined);
  const table = await readFile(join(dir, name));
  assert.deepEqual(await checkTables(dir), []);

  let missed = "";
  for (let bit = 0; bit < table.length * 8; bit += 3) {
    const damaged = Buffer.from(table);
    const at = bit >>> 3;
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (bit & 7));
    try {
      checkTable(damaged);
      missed += ` ${at - table.length}`;
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, "corrupt", String(error));
    }
  }
  assert.equal(missed, "");
  for (let length = 0; length < table.length; length += 7) {
    assert.throws(() => checkTable(table.subarray(0, length)), { code: "corrupt" });
  }
});
