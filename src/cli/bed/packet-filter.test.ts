import assert from "node:assert/strict";
import { test } from "node:test";
import { dropAll, dropFrom, dropShare } from "./packet-filter.ts";

const DROPPED = 2;
const PASSED = 0xffff_ffff;

/** Carries out a program on a frame, as the kernel would. @param random what a load of chance gives. */
function run(text: string, frame: Buffer, random = 0): number {
  const [count, ...lines] = text.split(",");
  assert.equal(Number(count), lines.length);
  const program = lines.map((line) => line.split(" ").map(Number));
  let accumulator = 0;
  for (let at = 0; at < program.length; at++) {
    const [code = 0, jumpTrue = 0, jumpFalse = 0, operand = 0] = program[at] ?? [];
    assert.ok(jumpTrue <= 255 && jumpFalse <= 255, "a jump fits into a byte");
    switch (code) {
      case 0x28:
        accumulator = frame.readUInt16BE(operand);
        break;
      case 0x20:
        accumulator = operand === 0xffff_f038 ? random : frame.readUInt32BE(operand);
        break;
      case 0x15:
        at += accumulator === operand ? jumpTrue : jumpFalse;
        break;
      case 0x35:
        at += accumulator >= operand ? jumpTrue : jumpFalse;
        break;
      case 0x06:
        return operand;
      default:
        assert.fail(`no such operation: ${code}`);
    }
  }
  assert.fail("a program has to return");
}

function frameFrom(source: string, ethertype = 0x0800): Buffer {
  const frame = Buffer.alloc(60);
  frame.writeUInt16BE(ethertype, 12);
  Buffer.from(source.split(".").map(Number)).copy(frame, 26);
  return frame;
}

test("packets of the named sources are dropped, all others pass", () => {
  const sources = ["10.213.7.1", "10.213.7.2", "10.213.7.250"];
  for (const count of [1, 2, 3]) {
    const program = dropFrom(sources.slice(0, count));
    for (const [index, source] of sources.entries()) {
      assert.equal(run(program, frameFrom(source)), index < count ? DROPPED : PASSED, source);
    }
    assert.equal(run(program, frameFrom("10.213.7.9")), PASSED);
    assert.equal(run(program, frameFrom("10.213.7.1", 0x0806)), PASSED, "address resolution");
  }
  const many = Array.from({ length: 250 }, (_, index) => `10.213.7.${index}`);
  for (const source of many) assert.equal(run(dropFrom(many), frameFrom(source)), DROPPED);
  assert.equal(run(dropFrom(many), frameFrom("10.213.7.251")), PASSED);
  assert.throws(() => dropFrom([...many, "10.0.0.1"]), RangeError);
  assert.throws(() => dropFrom(["10.0.0"]), RangeError);
  assert.throws(() => dropFrom(["10.0.0.300"]), RangeError);
});

test("all packets are dropped, whatever they carry", () => {
  for (const type of [0x0800, 0x0806, 0x86dd]) {
    assert.equal(run(dropAll(), frameFrom("10.0.0.1", type)), DROPPED);
  }
});

test("a share of the packets is dropped", () => {
  const program = dropShare(0.25);
  let dropped = 0;
  for (let step = 0; step < 1_000; step++) {
    const random = Math.floor((step / 1_000) * 2 ** 32);
    if (run(program, frameFrom("10.0.0.1"), random) === DROPPED) dropped++;
  }
  assert.equal(dropped, 250);
  for (const share of [0, 1, -1, Number.NaN]) assert.throws(() => dropShare(share), RangeError);
});
