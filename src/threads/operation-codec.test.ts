import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Bytes } from "../data/bytes.ts";
import { Command } from "../data/command.ts";
import { NULL_ARRAY, OK, Refusal, type Reply, Status } from "../data/reply.ts";
import { ByteReader, ByteWriter } from "../kit/bytes.ts";
import type { Operation } from "../replica/surface.ts";
import { readAnswer, readOperation, writeAnswer, writeOperation } from "./operation-codec.ts";

const binary = fc
  .uint8Array({ maxLength: 200 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));
const command = fc
  .tuple(fc.array(binary, { minLength: 1, maxLength: 5 }), fc.integer({ min: -1, max: 300 }))
  .map(([args, code]) => Object.assign(Command.from(args), { code }));
const operation: fc.Arbitrary<Operation> = fc.record({
  shard: fc.nat(1_023),
  session: fc.oneof(fc.nat(200), fc.maxSafeNat()),
  request: fc.record({
    commands: fc.array(command, { maxLength: 4 }),
    isTransaction: fc.boolean(),
    isWrite: fc.boolean(),
    watched: fc.array(
      fc.record({ key: binary, version: fc.maxSafeNat() }, { noNullPrototype: true }),
      { maxLength: 3 },
    ),
  }),
});

/** What of an operation goes over, without how it lies in memory. */
function plain({ shard, session, request }: Operation): unknown {
  const commands = request.commands.map((each) => ({ args: each.texts(), code: each.code }));
  return { shard, session, request: { ...request, commands } };
}

describe("the bytes of operations between threads", () => {
  it("are read as what was written, one after the other", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (operations) => {
        const writer = new ByteWriter();
        // Not from the first byte on, as in a page that others share.
        writer.u8(1);
        for (const [id, each] of operations.entries()) writeOperation(writer, each, id * 100);
        const bytes = Buffer.from(writer.bytes());
        const reader = new ByteReader(bytes, 1, bytes.length);
        const answered: [number, Reply][] = [];
        for (const [index, each] of operations.entries()) {
          const arrived = readOperation(reader, {
            answer: (id, reply) => answered.push([id, reply]),
          });
          assert.deepEqual(plain(arrived), plain(each));
          arrived.answered(index);
        }
        assert.equal(reader.left, 0);
        assert.deepEqual(
          answered,
          operations.map((_each, index) => [index * 100, index]),
        );
      }),
    );
  });

  it("bring answers back as they are", () => {
    const value = Buffer.from("xxa\x00value\xffyy", "latin1");
    const replies: readonly Reply[] = [
      null,
      OK,
      NULL_ARRAY,
      new Status("QUEUED"),
      new Refusal("WRONGTYPE", "no"),
      -1,
      2 ** 53 - 1,
      1n,
      "text\xff",
      ["a", null, [1, OK]],
    ];
    const writer = new ByteWriter();
    for (const [id, reply] of replies.entries()) writeAnswer(writer, id, reply);
    writeAnswer(writer, 1_000_000, new Bytes(value, 2, value.length - 2));
    writeAnswer(writer, 7, ["list", new Bytes(value, 2, 3)]);
    const bytes = Buffer.from(writer.bytes());
    const reader = new ByteReader(bytes, 0, bytes.length);
    for (const [id, reply] of replies.entries()) {
      assert.equal(reader.varint(), id);
      assert.deepEqual(readAnswer(reader), reply);
    }
    assert.equal(reader.varint(), 1_000_000);
    const found = readAnswer(reader);
    assert.ok(found instanceof Bytes && found.buffer === bytes, "a value is not copied again");
    assert.equal(found.toString(), "a\x00value\xff");
    assert.equal(reader.varint(), 7);
    assert.deepEqual(readAnswer(reader), ["list", "a"]);
    assert.equal(reader.left, 0);
  });
});
