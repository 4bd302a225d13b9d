import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reader } from "./dialect.ts";
import { EtcdDialect } from "./etcd.ts";
import { NatsDialect } from "./nats.ts";
import { RespDialect } from "./resp.ts";

interface Case {
  readonly name: string;
  readonly reader: (respond: (bytes: Buffer) => void) => Reader;
  readonly bytes: Buffer;
  readonly replies: number;
  readonly misses?: number;
  readonly errors?: number;
  readonly shortWaits?: number;
  readonly responses?: readonly string[];
}

const resp = new RespDialect({ parts: [], valueBytes: 64, wait: { replicas: 2, per: "write" } });
const etcd = new EtcdDialect({ valueBytes: 64 });
const nats = new NatsDialect({ valueBytes: 64 });

const PING_PAYLOAD = "0102030405060708";

const CASES: readonly Case[] = [
  respCase("simple strings", "+OK\r\n+PONG\r\n", 2),
  respCase("bulk strings", "$5\r\na\r\nbc\r\n$0\r\n\r\n", 2),
  { ...respCase("what is not there", "$-1\r\n*-1\r\n$1\r\nx\r\n", 3), misses: 1 },
  respCase("nested arrays", "*2\r\n*2\r\n$1\r\na\r\n:2\r\n+OK\r\n*0\r\n", 2),
  { ...respCase("a WAIT that fell short", ":2\r\n:1\r\n:3\r\n", 3), shortWaits: 1 },
  { ...respCase("an error", "-MOVED 12 127.0.0.1:7\r\n+OK\r\n", 2), errors: 1 },
  {
    name: "etcd: settings, a call, a call that fails, a ping",
    reader: (respond) => etcd.reader(respond),
    bytes: Buffer.from(
      [
        "000000040000000000",
        // Headers, a message and trailers of stream 1; trailers alone of stream 3.
        "00000101040000000188",
        "0000050000000000010000000000",
        "00000101050000000188",
        "00000101050000000388",
        `000008060000000000${PING_PAYLOAD}`,
      ].join(""),
      "hex",
    ),
    replies: 3,
    errors: 1,
    responses: ["000000040100000000", `000008060100000000${PING_PAYLOAD}`],
  },
  natsCase("the greeting", 'INFO {"a":1}\r\nPONG\r\n', 1),
  natsCase("an acknowledgement", message('{"stream":"KV_b","seq":12}'), 1),
  { ...natsCase("a refusal", message('{"error":{}}'), 1), errors: 1 },
  natsCase("a value", messageWithHeaders("NATS/1.0\r\nNats-A: 1\r\n\r\n", "v1"), 1),
  {
    ...natsCase("no value", messageWithHeaders("NATS/1.0 404 Not Found\r\n\r\n", ""), 1),
    misses: 1,
  },
  {
    ...natsCase("a ping", "PING\r\nPONG\r\n", 1),
    responses: [Buffer.from("PONG\r\n").toString("hex")],
  },
];

for (const each of CASES) {
  test(`replies are counted however they are cut: ${each.name}`, () => {
    const { bytes } = each;
    for (let cut = 0; cut <= bytes.length; cut += 1) check(each, [cut]);
    check(
      each,
      Array.from(bytes, (_, index) => index),
    );
  });
}

test("a reader tells what the first error was", () => {
  const reader = resp.reader();
  const bytes = Buffer.from("-ERR one\r\n-ERR two\r\n");
  assert.equal(reader.consume(bytes, bytes.length), 2);
  assert.equal(reader.firstError, "ERR one");
});

test("what no reply can begin with is an error", () => {
  assert.throws(() => resp.reader().consume(Buffer.from("hello\r\n"), 7), /begin with/);
  assert.throws(() => nats.reader(() => undefined).consume(Buffer.from("-ERR 'no'\r\n"), 11), /no/);
});

/** Feeds a case in pieces and compares all counts. */
function check(each: Case, cuts: readonly number[]): void {
  const responses: string[] = [];
  const reader = each.reader((bytes) => responses.push(bytes.toString("hex")));
  let replies = 0;
  let from = 0;
  for (const cut of [...cuts, each.bytes.length]) {
    const piece = Buffer.from(each.bytes.subarray(from, cut));
    replies += reader.consume(piece, piece.length);
    // The buffer is used again at once.
    piece.fill(0x7f);
    from = cut;
  }
  const { misses, errors, shortWaits } = reader;
  assert.deepEqual(
    { replies, misses, errors, shortWaits, responses },
    {
      replies: each.replies,
      misses: each.misses ?? 0,
      errors: each.errors ?? 0,
      shortWaits: each.shortWaits ?? 0,
      responses: each.responses ?? [],
    },
    `cut at ${cuts.join(", ")}`,
  );
}

function respCase(name: string, text: string, replies: number): Case {
  return { name: `RESP: ${name}`, reader: () => resp.reader(), bytes: Buffer.from(text), replies };
}

function natsCase(name: string, text: string, replies: number): Case {
  return {
    name: `NATS: ${name}`,
    reader: (respond) => nats.reader(respond),
    bytes: Buffer.from(text),
    replies,
  };
}

function message(payload: string): string {
  return `MSG _INBOX.1 1 ${payload.length}\r\n${payload}\r\n`;
}

function messageWithHeaders(headers: string, payload: string): string {
  const lengths = `${headers.length} ${headers.length + payload.length}`;
  return `HMSG _INBOX.1 1 ${lengths}\r\n${headers}${payload}\r\n`;
}
