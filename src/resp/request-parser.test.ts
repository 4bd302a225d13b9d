import assert from "node:assert/strict";
import { describe, it } from "node:test";

import fc from "fast-check";

import { ProtocolError } from "./protocol-error.ts";
import { encodeRequest } from "./reply-writer.ts";
import { INLINE_BYTES_MAX, RequestParser } from "./request-parser.ts";

type Parsed = readonly string[] | string;

/** What the parser makes of the pieces: commands, and the text of the error that ended it. */
function parse(pieces: readonly Buffer[], isRestricted = false): Parsed[] {
  const parser = new RequestParser();
  parser.isRestricted = isRestricted;
  const parsed: Parsed[] = [];
  for (const piece of pieces) {
    parser.push(piece);
    for (let next = parser.next(); next !== undefined; next = parser.next()) {
      if (next instanceof ProtocolError) return [...parsed, next.message];
      parsed.push(next.texts());
    }
  }
  return parsed;
}

function textsOf(next: ReturnType<RequestParser["next"]>): readonly string[] | undefined {
  assert.ok(!(next instanceof ProtocolError));
  return next?.texts();
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function eachByte(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

const CASES: readonly [name: string, input: string, expected: readonly Parsed[]][] = [
  ["one command", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", [["GET", "a"]]],
  ["two commands", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", [["PING"], ["QUIT"]]],
  ["an empty argument", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", [["GET", ""]]],
  ["an empty last argument and more", "*1\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", [[""], ["x"]]],
  ["line ends inside", "*2\r\n$4\r\nE\r\nO\r\n$2\r\n\r\n\r\n", [["E\r\nO", "\r\n"]]],
  ["all byte values", `*1\r\n$3\r\n\x00\x80\xff\r\n`, [["\x00\x80\xff"]]],
  ["empty and negative arrays", "*0\r\n*-1\r\n*-10\r\n*1\r\n$1\r\nx\r\n", [["x"]]],
  ["inline", "PING\r\nset a  b\n\r\n\n  get\ta \r\n", [["PING"], ["set", "a", "b"], ["get", "a"]]],
  ["inline after array", "*1\r\n$1\r\nx\r\nPING\r\n", [["x"], ["PING"]]],
  ["inline, an empty argument", `set a ""\r\n`, [["set", "a", ""]]],
  ["inline double quotes", `a "b c\\n\\x41\\"\\\\\\q" d\r\n`, [["a", 'b c\nA"\\q', "d"]]],
  ["inline single quotes", `a 'b "c\\' \\n'\r\n`, [["a", `b "c' \\n`]]],
  ["inline quote in the middle", `a b"c d"\r\n`, [["a", "bc d"]]],
  ["inline, bad hex", `"\\xzz"\r\n`, [["xzz"]]],
  ["unbalanced double", `a "b\r\n`, ["Protocol error: unbalanced quotes in request"]],
  ["unbalanced single", "a 'b\r\n", ["Protocol error: unbalanced quotes in request"]],
  ["text after a quote", `a "b"c\r\n`, ["Protocol error: unbalanced quotes in request"]],
  ["no number of arguments", "*\r\n", ["Protocol error: invalid multibulk length"]],
  ["letters for a number", "*abc\r\n", ["Protocol error: invalid multibulk length"]],
  ["a leading zero", "*01\r\n", ["Protocol error: invalid multibulk length"]],
  ["a plus", "*+1\r\n", ["Protocol error: invalid multibulk length"]],
  ["minus alone", "*-\r\n", ["Protocol error: invalid multibulk length"]],
  ["minus zero", "*-0\r\n", ["Protocol error: invalid multibulk length"]],
  ["too many arguments", "*1048577\r\n", ["Protocol error: invalid multibulk length"]],
  ["2^64 arguments", "*18446744073709551616\r\n", ["Protocol error: invalid multibulk length"]],
  ["as many as allowed", "*1048576\r\n$1\r\na\r\n", []],
  ["no dollar", "PING\r\n*1\r\nPING\r\n", [["PING"], "Protocol error: expected '$', got 'P'"]],
  ["a nested array", "*1\r\n*1\r\n", ["Protocol error: expected '$', got '*'"]],
  ["null argument", "*1\r\n$-1\r\n", ["Protocol error: invalid bulk length"]],
  ["no length", "*1\r\n$\r\n", ["Protocol error: invalid bulk length"]],
  [
    "a longer argument than announced",
    "*1\r\n$4\r\nPINGxx",
    ["Protocol error: expected a line end"],
  ],
  ["a header without a line feed", "*1\rx", ["Protocol error: expected a line end"]],
  ["600 MB announced", "*1\r\n$629145600\r\n", ["Protocol error: invalid bulk length"]],
  [
    "nothing after an error",
    "*x\r\n*1\r\n$1\r\nx\r\n",
    ["Protocol error: invalid multibulk length"],
  ],
  [
    "an endless inline request",
    "x".repeat(INLINE_BYTES_MAX + 1),
    ["Protocol error: too big inline request"],
  ],
  [
    "an endless count",
    `*${"1".repeat(INLINE_BYTES_MAX + 1)}`,
    ["Protocol error: too big mbulk count string"],
  ],
  [
    "an endless length",
    `*1\r\n$${"1".repeat(INLINE_BYTES_MAX + 1)}`,
    ["Protocol error: too big bulk count string"],
  ],
];

describe("RequestParser", () => {
  for (const [name, input, expected] of CASES) {
    it(`reads ${name}, whole, byte by byte and split at every point`, () => {
      const bytes = bytesOf(input);
      assert.deepEqual(parse([bytes]), expected);
      assert.deepEqual(parse(eachByte(bytes)), expected);
      const step = bytes.length > 1000 ? 997 : 1;
      for (let at = 0; at <= bytes.length; at += step) {
        assert.deepEqual(parse([bytes.subarray(0, at), bytes.subarray(at)]), expected);
      }
    });
  }

  it("holds strangers to lower limits until they have authenticated", () => {
    const many = bytesOf("*11\r\n");
    const long = bytesOf("*1\r\n$16385\r\n");
    assert.deepEqual(parse([many], true), ["Protocol error: unauthenticated multibulk length"]);
    assert.deepEqual(parse([long], true), ["Protocol error: unauthenticated bulk length"]);
    assert.deepEqual(parse([many]), []);
    assert.deepEqual(parse([long]), []);
    const allowed = encodeRequest(Array.from({ length: 10 }, () => "x".repeat(16_384)));
    assert.equal(parse([allowed], true).length, 1);
  });

  it("judges the bulk length by its own bound", () => {
    const parser = new RequestParser();
    parser.bulkBytesMax = 3;
    parser.push(bytesOf("*2\r\n$3\r\nabc\r\n$4\r\n"));
    const error = parser.next();
    assert.ok(error instanceof ProtocolError);
    assert.equal(error.message, "Protocol error: invalid bulk length");
  });

  it("reserves nothing for a large argument that was only announced", () => {
    const before = process.memoryUsage();
    const parsers = Array.from({ length: 100 }, () => {
      const parser = new RequestParser();
      parser.push(bytesOf("*2\r\n$3\r\nSET\r\n$500000000\r\nabc"));
      assert.equal(parser.next(), undefined);
      return parser;
    });
    const after = process.memoryUsage();
    assert.equal(parsers.length, 100);
    assert.ok(after.arrayBuffers - before.arrayBuffers < 10_000_000);
    assert.ok(after.heapUsed - before.heapUsed < 50_000_000);
  });

  it("gathers a large argument from small pieces", () => {
    const value = "0123456789abcdef".repeat(1 << 19);
    const bytes = encodeRequest(["SET", "k", value]);
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 100) pieces.push(bytes.subarray(at, at + 100));
    assert.deepEqual(parse(pieces), [["SET", "k", value]]);
  });

  it("gives commands one by one, and tells whether bytes are left", () => {
    const parser = new RequestParser();
    assert.equal(parser.hasBytesLeft, false);
    parser.push(bytesOf("PING\r\nPING\r\n"));
    parser.push(bytesOf("*1\r\n$1"));
    assert.deepEqual(textsOf(parser.next()), ["PING"]);
    parser.push(bytesOf("\r\nx\r\n"));
    assert.deepEqual(textsOf(parser.next()), ["PING"]);
    assert.equal(parser.hasBytesLeft, true);
    assert.deepEqual(textsOf(parser.next()), ["x"]);
    assert.equal(parser.hasBytesLeft, false);
  });

  it("takes a whole command as pieces of its chunk, and any other in memory of its own", () => {
    const parser = new RequestParser();
    const chunk = encodeRequest(["SET", "key", "value"]);
    parser.push(chunk);
    parser.push(chunk.subarray(0, 20));
    parser.push(chunk.subarray(20));
    parser.push(chunk);
    const commands = Array.from({ length: 3 }, () => {
      const next = parser.next();
      assert.ok(next !== undefined && !(next instanceof ProtocolError));
      return next;
    });
    assert.deepEqual(
      commands.map(({ buffer }) => buffer === chunk),
      [true, false, true],
    );
    assert.deepEqual(
      commands.map((command) => command.texts()),
      commands.map(() => ["SET", "key", "value"]),
    );
    assert.equal(parser.next(), undefined);
  });

  it("takes any part of a buffer, and nothing around it", () => {
    for (const [, input, expected] of CASES) {
      if (input.length > 1000) continue;
      const buffer = bytesOf(`*1\r\n${input}\n9\r\nx\r\n`);
      const parser = new RequestParser();
      const parsed: Parsed[] = [];
      for (let at = 4; at < 4 + input.length; at += 7) {
        parser.push(buffer, at, Math.min(at + 7, 4 + input.length));
      }
      for (let next = parser.next(); next !== undefined; next = parser.next()) {
        parsed.push(next instanceof ProtocolError ? next.message : next.texts());
        if (next instanceof ProtocolError) break;
      }
      assert.deepEqual(parsed, expected);
      const whole = new RequestParser();
      whole.push(buffer, 4, 4 + input.length);
      const first = whole.next();
      const shown = first instanceof ProtocolError ? first.message : first?.texts();
      assert.deepEqual(shown, expected[0]);
    }
  });

  it("reads back any commands in any pieces", () => {
    const binary = fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => Buffer.from(bytes).toString("latin1"));
    const command = fc.array(binary, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (commands, sizes) => {
          const bytes = Buffer.concat(commands.map(encodeRequest));
          const pieces: Buffer[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1;
            pieces.push(bytes.subarray(at, at + size));
            at += size;
          }
          assert.deepEqual(parse(pieces), commands);
        },
      ),
    );
  });

  it("never throws, whatever it is fed", () => {
    const token = fc.constantFrom("*", "$", "\r\n", "1", "3", "-1", '"', "'", "x", " ", "\n", "\r");
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
        const bytes = bytesOf(tokens.join(""));
        assert.deepEqual(parse(eachByte(bytes)), parse([bytes]));
      }),
    );
  });
});
