import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  BACKUP_FORMAT,
  type BackupBlock,
  BackupBlockParser,
  BackupError,
  backupBlockBytes,
  ShardPartChecker,
} from "./backup-format.ts";

const SHARD: BackupBlock = {
  kind: "shard",
  shard: 3,
  firstSlot: 100,
  lastSlot: 199,
  seq: 2 ** 40,
  epoch: 7,
  node: "n2",
  takenAtMs: 1_700_000_000_000,
};

/** Of plain objects, as the parser makes them. */
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const binary = fc
  .uint8Array({ maxLength: 300 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));
const record = plain({
  key: binary,
  value: binary,
  expireAtMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
});
const block: fc.Arbitrary<BackupBlock> = fc.oneof(
  plain({
    kind: fc.constant("header" as const),
    clusterId: fc.string(),
    startedAtMs: fc.maxSafeNat(),
    shardCount: fc.nat(),
  }),
  plain({
    kind: fc.constant("shard" as const),
    shard: fc.nat(),
    firstSlot: fc.nat(16_383),
    lastSlot: fc.nat(16_383),
    seq: fc.maxSafeNat(),
    epoch: fc.maxSafeNat(),
    node: fc.string(),
    takenAtMs: fc.maxSafeNat(),
  }),
  plain({ kind: fc.constant("records" as const), records: fc.array(record) }),
  plain({
    kind: fc.constant("shard-end" as const),
    keys: fc.maxSafeNat(),
    checksum: fc.nat(0xffff_ffff),
  }),
  plain({
    kind: fc.constant("end" as const),
    shards: fc.nat(),
    keys: fc.maxSafeNat(),
    checksum: fc.nat(0xffff_ffff),
  }),
);

/** All blocks of the bytes, which come in pieces of at most so many. */
function parse(bytes: Buffer, pieceBytes: number): { blocks: BackupBlock[]; bytesLeft: number } {
  const parser = new BackupBlockParser();
  const blocks: BackupBlock[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    parser.push(bytes.subarray(at, at + pieceBytes));
    for (let read = parser.next(); read !== undefined; read = parser.next()) {
      blocks.push(read.block);
    }
  }
  return { blocks, bytesLeft: parser.bytesLeft };
}

test("what was written is read again, in whatever pieces it comes", () => {
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 8 }),
      fc.integer({ min: 1, max: 2_000 }),
      (blocks, piece) => {
        const bytes = Buffer.concat(blocks.map(backupBlockBytes));
        assert.deepEqual(parse(bytes, piece), { blocks, bytesLeft: 0 });
      },
    ),
  );
});

test("no flipped bit of a block goes unnoticed", () => {
  fc.assert(
    fc.property(block, fc.nat(), (original, at) => {
      const bytes = backupBlockBytes(original);
      const bit = at % (bytes.length * 8);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let found: BackupBlock[];
      try {
        found = parse(bytes, bytes.length).blocks;
      } catch (error) {
        assert.ok(error instanceof BackupError);
        return;
      }
      // Its length may say that more is to come.
      assert.deepEqual(found, []);
    }),
    { numRuns: 500 },
  );
});

test("a newer format is named", () => {
  const bytes = backupBlockBytes({
    kind: "header",
    clusterId: "c",
    startedAtMs: 1,
    shardCount: 1,
  });
  // The format is the byte after the frame and the kind; the frame's checksum is made to fit.
  const newer = backupBlockBytes({ kind: "records", records: [] });
  const body = Buffer.concat([bytes.subarray(8)]);
  body[1] = BACKUP_FORMAT + 1;
  const frame = Buffer.alloc(8);
  frame.writeUInt32LE(body.length, 0);
  frame.writeUInt32LE(crc(body), 4);
  assert.throws(
    () => parse(Buffer.concat([frame, body, newer]), 1_000),
    (error) => error instanceof BackupError && error.code === "newer-format",
  );
});

test("a shard's part is whole only with all of its blocks in their order", () => {
  const records = ["a", "b", "c"].map((key): BackupBlock => {
    return { kind: "records", records: [{ key, value: key, expireAtMs: 0 }] };
  });
  const part = partOf([SHARD, ...records]);
  assert.equal(check(part).end?.keys, 3);
  const [head, a, b, c, end] = part as [Buffer, Buffer, Buffer, Buffer, Buffer];
  for (const [what, wrong] of Object.entries({
    missing: [head, a, c, end],
    doubled: [head, a, b, b, c, end],
    swapped: [head, b, a, c, end],
    replaced: [head, a, a, c, end],
    headless: [a, b, c, end],
    twice: [head, a, b, c, end, end],
    "two heads": [head, head, a, b, c, end],
  })) {
    assert.throws(
      () => check(wrong),
      (error) => error instanceof BackupError && error.code === "corrupt",
      what,
    );
  }
  assert.equal(check([head, a, b, c]).end, undefined);
});

/** The blocks' bytes, with those of an end that fits. */
function partOf(blocks: readonly BackupBlock[]): Buffer[] {
  const bytes = blocks.map(backupBlockBytes);
  const keys = blocks.reduce(
    (sum, each) => sum + (each.kind === "records" ? each.records.length : 0),
    0,
  );
  return [
    ...bytes,
    backupBlockBytes({ kind: "shard-end", keys, checksum: crc(Buffer.concat(bytes)) }),
  ];
}

function check(blocks: readonly Buffer[]): ShardPartChecker {
  const parser = new BackupBlockParser();
  const checker = new ShardPartChecker();
  parser.push(Buffer.concat(blocks));
  for (let read = parser.next(); read !== undefined; read = parser.next()) checker.take(read);
  return checker;
}

/** CRC-32 bit by bit, as a twin of the fast one. */
function crc(bytes: Buffer): number {
  let sum = 0xffff_ffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ 0xedb8_8320;
  }
  return (sum ^ 0xffff_ffff) >>> 0;
}
