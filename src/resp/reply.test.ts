import assert from "node:assert/strict";
import { describe, it } from "node:test";

import fc from "fast-check";

import { Bytes } from "../data/bytes.ts";
import {
  DoubleReply,
  MapReply,
  NULL_ARRAY,
  OK,
  PushReply,
  Refusal,
  type Reply,
  SetReply,
  Status,
  VerbatimReply,
} from "../data/reply.ts";
import { ProtocolError } from "./protocol-error.ts";
import { decodeReply, REPLY_DEPTH_MAX, ReplyParser } from "./reply-parser.ts";
import { encodeReply, type ReplyForm, ReplyWriter } from "./reply-writer.ts";

function encoded(reply: Reply, form: ReplyForm): string {
  const writer = new ReplyWriter();
  encodeReply(reply, form, writer);
  return writer.take().toString("latin1");
}

/** What the parser makes of the pieces: replies, and the text of the error that ended it. */
function parse(pieces: readonly Buffer[]): unknown[] {
  const parser = new ReplyParser();
  const parsed: unknown[] = [];
  for (const piece of pieces) {
    parser.push(piece);
    for (let next = parser.next(); next !== undefined; next = parser.next()) {
      if (next instanceof ProtocolError) return [...parsed, next.message];
      parsed.push(next);
    }
  }
  return parsed;
}

function eachByte(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

const LONG = `$100\r\n${"-".repeat(100)}\r\n`;

const WRITTEN: readonly [name: string, reply: Reply, resp2: string, resp3: string][] = [
  ["null", null, "$-1\r\n", "_\r\n"],
  ["the null array", NULL_ARRAY, "*-1\r\n", "_\r\n"],
  ["true", true, ":1\r\n", "#t\r\n"],
  ["false", false, ":0\r\n", "#f\r\n"],
  ["zero", 0, ":0\r\n", ":0\r\n"],
  ["a number", 1234, ":1234\r\n", ":1234\r\n"],
  ["a negative number", -7, ":-7\r\n", ":-7\r\n"],
  ["a 64-bit number", 9223372036854775807n, ":9223372036854775807\r\n", ":9223372036854775807\r\n"],
  ["an empty string", "", "$0\r\n\r\n", "$0\r\n\r\n"],
  ["a string", "a\r\n\xff", "$4\r\na\r\n\xff\r\n", "$4\r\na\r\n\xff\r\n"],
  [
    "bytes",
    new Bytes(Buffer.from("xa\r\n\xffx", "latin1"), 1, 5),
    "$4\r\na\r\n\xff\r\n",
    "$4\r\na\r\n\xff\r\n",
  ],
  ["many bytes", new Bytes(Buffer.from("-".repeat(110)), 9, 109), LONG, LONG],
  ["a status", OK, "+OK\r\n", "+OK\r\n"],
  ["a refusal", new Refusal("ERR", "no"), "-ERR no\r\n", "-ERR no\r\n"],
  ["a refusal's line ends", new Refusal("ERR", "a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"],
  ["a refusal without text", new Refusal("NO", ""), "-NO\r\n", "-NO\r\n"],
  ["a double", new DoubleReply(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"],
  ["infinity", new DoubleReply(Number.POSITIVE_INFINITY), "$3\r\ninf\r\n", ",inf\r\n"],
  ["minus infinity", new DoubleReply(Number.NEGATIVE_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"],
  ["no number", new DoubleReply(Number.NaN), "$3\r\nnan\r\n", ",nan\r\n"],
  ["an empty array", [], "*0\r\n", "*0\r\n"],
  [
    "arrays",
    [1, ["a", null]],
    "*2\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n",
    "*2\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n",
  ],
  ["a map", new MapReply([["a", 1]]), "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n"],
  ["a set", new SetReply([1, 2]), "*2\r\n:1\r\n:2\r\n", "~2\r\n:1\r\n:2\r\n"],
  ["a push", new PushReply(["x"]), "*1\r\n$1\r\nx\r\n", ">1\r\n$1\r\nx\r\n"],
  ["text", new VerbatimReply("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"],
];

const READ: readonly [name: string, input: string, expected: readonly unknown[]][] = [
  ["statuses", "+OK\r\n+\r\n", [OK, new Status("")]],
  ["bulk errors", "!9\r\nERR a\r\nbc\r\n", [new Refusal("ERR", "a\r\nbc")]],
  ["big numbers", "(123456789012345678901234567890\r\n", [123456789012345678901234567890n]],
  ["integers past 2^53", ":9223372036854775807\r\n", [9223372036854775807n]],
  [
    "doubles",
    ",1e3\r\n,-.5\r\n,10\r\n",
    [new DoubleReply(1000), new DoubleReply(-0.5), new DoubleReply(10)],
  ],
  ["attributes, dropped", "|1\r\n+ttl\r\n:1\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", [[1, 2]]],
  ["an attribute without entries", "|0\r\n:1\r\n", [1]],
  ["empty strings in an array", "*2\r\n$0\r\n\r\n=4\r\ntxt:\r\n", [["", new VerbatimReply("")]]],
  ["empty aggregates in a map", "%1\r\n*0\r\n~0\r\n", [new MapReply([[[], new SetReply([])]])]],
  ["an unknown type", ":1\r\n?x\r\n", [1, "Protocol error: unexpected type '?'"]],
  ["an empty line", "\r\n", ["Protocol error: unexpected type ''"]],
  ["a bad boolean", "#x\r\n", ["Protocol error: invalid boolean"]],
  ["a bad integer", ":1x\r\n", ["Protocol error: invalid integer"]],
  ["a bad double", ",x\r\n", ["Protocol error: invalid double"]],
  ["a bad big number", "(1.5\r\n", ["Protocol error: invalid big number"]],
  ["a bad length", "$-2\r\n", ["Protocol error: invalid bulk length"]],
  ["a huge length", "$999999999999\r\n", ["Protocol error: invalid bulk length"]],
  ["a bad count", "*-2\r\n", ["Protocol error: invalid multibulk length"]],
  ["bad text", "=3\r\nabc\r\n", ["Protocol error: invalid verbatim string"]],
  ["an endless line", `+${"x".repeat(70_000)}`, ["Protocol error: too big line"]],
  ["deep nesting", "*1\r\n".repeat(REPLY_DEPTH_MAX + 1), ["Protocol error: too deeply nested"]],
];

const replies: fc.Arbitrary<Reply> = fc.letrec<{ reply: Reply; leaf: Reply }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom<Reply>(null, NULL_ARRAY, true, false, OK, new Refusal("ERR", "a b")),
    fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc.double({ noNaN: true }).map((value) => new DoubleReply(value)),
    fc.constantFrom("", "a", "text\r\n").map((text) => new VerbatimReply(text)),
  ),
  reply: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.array(tie("reply"), { maxLength: 5 }),
    fc.array(tie("reply"), { maxLength: 4 }).map((members) => new SetReply(members)),
    fc.array(tie("reply"), { maxLength: 4 }).map((items) => new PushReply(items)),
    fc
      .array(fc.tuple(tie("reply"), tie("reply")), { maxLength: 3 })
      .map((entries) => new MapReply(entries)),
  ),
})).reply;

describe("ReplyWriter", () => {
  for (const [name, reply, resp2, resp3] of WRITTEN) {
    it(`writes ${name} in RESP2 and RESP3`, () => {
      assert.equal(encoded(reply, 2), resp2);
      assert.equal(encoded(reply, 3), resp3);
    });
  }

  it("gives out each reply once, in buffers that stay as they are", () => {
    const writer = new ReplyWriter();
    writer.write("first", 2);
    const first = writer.take();
    writer.write("other", 2);
    const other = writer.take();
    assert.equal(first.toString("latin1"), "$5\r\nfirst\r\n");
    assert.equal(other.toString("latin1"), "$5\r\nother\r\n");
    assert.equal(writer.take().length, 0);
  });

  it("begins anew in the same buffer, or leaves it to who reads it still", () => {
    const writer = new ReplyWriter();
    writer.write("first", 2);
    const taken = writer.bytes();
    writer.reset(true);
    assert.equal(writer.length, 0);
    writer.write("other", 2);
    assert.equal(writer.bytes().buffer, taken.buffer);
    const held = writer.bytes();
    writer.reset(false);
    writer.write("third", 2);
    assert.equal(held.toString("latin1"), "$5\r\nother\r\n");
    assert.equal(writer.bytes().toString("latin1"), "$5\r\nthird\r\n");
    writer.write("x".repeat(300_000), 2);
    const large = writer.bytes().buffer;
    writer.reset(true);
    writer.write(1, 2);
    assert.notEqual(writer.bytes().buffer, large, "a giant buffer is not kept");
  });

  it("writes every length", () => {
    for (let length = 0; length < 1_100; length += 1) {
      const text = "x".repeat(length);
      const expected = `$${length}\r\n${text}\r\n`;
      assert.equal(encoded(text, 2), expected);
      assert.equal(encoded(new Bytes(Buffer.from(text), 0, length), 3), expected);
      assert.equal(encoded(length, 2), `:${length}\r\n`);
    }
  });

  it("gives out a large reply, and goes on", () => {
    const writer = new ReplyWriter();
    const text = "x".repeat(300_000);
    writer.write(text, 2);
    const large = writer.take();
    writer.write(1, 2);
    assert.equal(writer.take().toString("latin1"), ":1\r\n");
    assert.equal(large.toString("latin1"), `$300000\r\n${text}\r\n`);
  });
});

describe("ReplyParser", () => {
  for (const [name, input, expected] of READ) {
    it(`reads ${name}, whole, byte by byte and split at every point`, () => {
      const bytes = Buffer.from(input, "latin1");
      assert.deepEqual(parse([bytes]), expected);
      assert.deepEqual(parse(eachByte(bytes)), expected);
      const step = bytes.length > 1000 ? 997 : 1;
      for (let at = 0; at <= bytes.length; at += step) {
        assert.deepEqual(parse([bytes.subarray(0, at), bytes.subarray(at)]), expected);
      }
    });
  }

  it("reads back any reply, in any pieces", () => {
    fc.assert(
      fc.property(
        fc.array(replies, { maxLength: 4 }),
        fc.integer({ min: 1, max: 30 }),
        (all, size) => {
          const writer = new ReplyWriter();
          for (const reply of all) writer.write(reply, "exact");
          const bytes = writer.take();
          const pieces: Buffer[] = [];
          for (let at = 0; at < bytes.length; at += size)
            pieces.push(bytes.subarray(at, at + size));
          assert.deepEqual(parse(pieces), all);
        },
      ),
    );
  });

  it("reads as many replies as were written, in RESP2 and RESP3", () => {
    fc.assert(
      fc.property(
        fc.array(replies, { maxLength: 4 }),
        fc.constantFrom<ReplyForm>(2, 3),
        (all, form) => {
          const writer = new ReplyWriter();
          for (const reply of all) writer.write(reply, form);
          assert.equal(parse(eachByte(writer.take())).length, all.length);
        },
      ),
    );
  });

  it("decodes exactly one reply", () => {
    assert.deepEqual(decodeReply(Buffer.from("*1\r\n:1\r\n")), [1]);
    assert.throws(() => decodeReply(Buffer.from("*1\r\n:1\r")), /incomplete reply/);
    assert.throws(() => decodeReply(Buffer.from(":1\r\n:2\r\n")), /more than one reply/);
    assert.throws(() => decodeReply(Buffer.from("?\r\n")), /unexpected type/);
  });
});
