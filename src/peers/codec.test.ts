import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Bytes } from "../data/bytes.ts";
import { Command } from "../data/command.ts";
import { type Effect, VALUE_BYTES_MAX } from "../data/effect.ts";
import { effectsOf } from "../data/effect-writer.ts";
import { Effects } from "../data/effects.ts";
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
import type { Configuration } from "../replica/configuration.ts";
import type { Entry, Stamp } from "../replica/entry.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import { Issuers } from "../replica/issuers.ts";
import type { Heartbeat, Message, ShardBeat } from "../replica/messages.ts";
import type { Request } from "../replica/ports.ts";
import { FRAME_BYTES_MAX, FrameDecoder, FrameEncoder } from "./codec.ts";
import { PeerProtocolError } from "./errors.ts";

const natural = fc.oneof(
  fc.nat(300),
  fc.constantFrom(127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1),
  fc.maxSafeNat(),
);
const time = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(-1, 0, 1.5),
);
const shard = fc.nat(16_383);
/** Any bytes, sometimes beyond what the writer copies by a loop. */
const binary = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));
const node = fc.constantFrom("n1", "n2", "a-long-node-name");
const flag = fc.boolean();

const reply: fc.Arbitrary<Reply> = fc.letrec<{ reply: Reply }>((tie) => ({
  reply: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<Reply>(null, true, false, OK, NULL_ARRAY, 0, -0, 1.5, -1, 2 ** 60),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    binary,
    binary.map((text) => new Status(text)),
    fc.tuple(binary, binary).map(([code, message]) => new Refusal(code, message)),
    fc.double().map((value) => new DoubleReply(value)),
    binary.map((text) => new VerbatimReply(text)),
    fc.array(tie("reply"), { maxLength: 4 }),
    fc.array(tie("reply"), { maxLength: 4 }).map((items) => new SetReply(items)),
    fc.array(tie("reply"), { maxLength: 4 }).map((items) => new PushReply(items)),
    fc
      .array(fc.tuple(tie("reply"), tie("reply")), { maxLength: 3 })
      .map((entries) => new MapReply(entries)),
  ),
})).reply;

const effect: fc.Arbitrary<Effect> = fc.oneof(
  fc.record({
    kind: fc.constant("set" as const),
    key: binary,
    value: binary,
    expireAtMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
  }),
  fc.record({ kind: fc.constant("delete" as const), key: binary }),
  fc.record({ kind: fc.constant("expire" as const), key: binary, expireAtMs: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant("append" as const), key: binary, bytes: binary }),
  fc.record({
    kind: fc.constant("overwrite" as const),
    key: binary,
    offset: fc.nat({ max: VALUE_BYTES_MAX - 1_000 }),
    bytes: binary,
  }),
  fc.constant({ kind: "flush" } as const),
);

/** A counter, and one below which all are done: at most as many apart as can be in flight. */
const counters = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 50 }), fc.nat({ max: 2 ** 24 - 1 }))
  .map(([doneBelow, more]) => ({ doneBelow, counter: doneBelow + more }));

const stamp: fc.Arbitrary<Stamp> = fc
  .tuple(fc.record({ node, incarnation: fc.nat({ max: 2 ** 48 - 1 }) }), counters)
  .map(([origin, numbers]) => ({ ...origin, ...numbers }));

const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    seq: natural,
    epoch: natural,
    stamp: fc.option(stamp, { nil: undefined }),
    reply,
    effects: fc.array(effect, { maxLength: 4 }).map(effectsOf),
    form: fc.constant(undefined),
  }),
  fc
    .record({ seq: natural, epoch: natural, stamp, key: binary, value: binary, isStub: flag })
    .map(({ seq, epoch, stamp, key, value, isStub }) => ({
      seq,
      epoch,
      stamp,
      reply: OK,
      effects: isStub ? Effects.NONE : effectsOf([{ kind: "set", key, value, expireAtMs: 0 }]),
      form: isStub ? ("stub" as const) : ("plain" as const),
    })),
);
const entries: fc.Arbitrary<EntryBatch> = fc
  .tuple(fc.array(entry, { maxLength: 4 }), fc.integer({ min: 1, max: 2 ** 52 }))
  .map(([all, firstSeq]) =>
    EntryBatch.of(all.map((each, index) => ({ ...each, seq: firstSeq + index }))),
  );

const beat: fc.Arbitrary<ShardBeat> = fc.record({
  shard,
  epoch: fc.nat(3),
  echoes: flag,
  ackSeq: fc.nat(3),
  commitSeq: fc.oneof(fc.nat(3), natural),
  startedEpoch: fc.nat(3),
  ready: flag,
  lacksDisk: flag,
});

const configuration: fc.Arbitrary<Configuration> = fc
  .record({
    version: fc.integer({ min: 1, max: 1e6 }),
    clusterId: fc.constantFrom("c", "cluster-7"),
  })
  .map((some) => ({
    format: 1,
    ...some,
    settings: {
      replication: "sync",
      minInSync: 1,
      replicas: 2,
      shardCount: 1,
      heartbeatMs: 50,
      leaseMs: 300,
      driftBound: 0.001,
      durability: "none",
      flushMs: 1_000,
      heartbeatChannel: "tcp",
    },
    nodes: [
      {
        id: "n1",
        host: "127.0.0.1",
        zone: "",
        peerPort: 1,
        respPort: 2,
        httpPort: 3,
        incarnation: 2 ** 47,
      },
    ],
    shards: [
      {
        id: 0,
        firstSlot: 0,
        lastSlot: 16_383,
        replicas: ["n1"],
        epoch: 4,
        primary: "n1",
        inSync: [{ node: "n1", incarnation: 2 ** 47, since: 3 }],
      },
    ],
  }));

const head = { shard, epoch: natural };

const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({
    commands: fc.array(fc.array(binary, { minLength: 1, maxLength: 5 }).map(Command.from), {
      maxLength: 3,
    }),
    isTransaction: flag,
    isWrite: flag,
    watched: fc.array(fc.record({ key: binary, version: natural }), { maxLength: 3 }),
  }),
  fc
    .record({ name: fc.constantFrom("set", "SET", "del", ""), others: fc.array(binary) })
    .map(({ name, others }) => ({
      commands: [Command.of(name, ...others)],
      isTransaction: false,
      isWrite: true,
      watched: [],
    })),
);

const messages: { [K in Message["kind"]]: fc.Arbitrary<Extract<Message, { kind: K }>> } = {
  heartbeat: fc.record({
    kind: fc.constant("heartbeat"),
    fromIncarnation: natural,
    toIncarnation: natural,
    sentAtMs: time,
    echoMs: time,
    wallMs: time,
    version: natural,
    shards: fc.array(beat, { maxLength: 20 }),
  }),
  append: fc.record({
    kind: fc.constant("append"),
    ...head,
    entries,
    commitSeq: natural,
    ackSeq: natural,
    appliesBelow: natural,
    wallMs: time,
  }),
  "epoch-start": fc.record({
    kind: fc.constant("epoch-start"),
    ...head,
    startSeq: natural,
    fromSeq: natural,
    wallMs: time,
  }),
  acks: fc.record({
    kind: fc.constant("acks"),
    acks: fc.array(fc.record({ ...head, seq: natural }), { maxLength: 4 }),
  }),
  position: fc.record({
    kind: fc.constant("position"),
    ...head,
    isListed: fc.boolean(),
    isUsable: fc.boolean(),
    isFresh: fc.boolean(),
    lastSeq: natural,
    lastEpoch: natural,
    startedEpoch: natural,
  }),
  fetch: fc.record({ kind: fc.constant("fetch"), ...head, fromSeq: natural }),
  tail: fc.record({ kind: fc.constant("tail"), ...head, entries }),
  forward: fc
    .tuple(counters, fc.record({ kind: fc.constant("forward" as const), ...head, request }))
    .map(([numbers, forward]) => ({ ...forward, ...numbers })),
  answer: fc.record({ kind: fc.constant("answer"), ...head, counter: natural, reply }),
  redirect: fc.record({ kind: fc.constant("redirect"), ...head, counter: natural }),
  "fetch-configuration": fc.record({ kind: fc.constant("fetch-configuration") }),
  configuration: fc.record({ kind: fc.constant("configuration"), configuration }),
  "swap-request": fc.record({ kind: fc.constant("swap-request"), id: natural, configuration }),
  "swap-answer": fc.record({
    kind: fc.constant("swap-answer"),
    id: natural,
    outcome: fc.constantFrom("done", "conflict", "unknown"),
    configuration: fc.option(configuration, { nil: undefined }),
  }),
  "feed-start": fc.record({
    kind: fc.constant("feed-start"),
    ...head,
    copyId: natural,
    fromSeq: natural,
    wallMs: time,
  }),
  "copy-start": fc.record({
    kind: fc.constant("copy-start"),
    ...head,
    copyId: natural,
    seq: natural,
    epochs: fc.array(fc.record({ epoch: natural, firstSeq: natural }), { maxLength: 3 }),
    commitSeq: natural,
    wallMs: time,
    stamps: fc.array(
      fc
        .tuple(counters, fc.record({ node, incarnation: natural, seq: natural, reply }))
        .map(([{ doneBelow, counter }, { node, incarnation, seq, reply }]) => ({
          node,
          incarnation,
          doneBelow,
          ordered: [{ counter, seq, reply }],
        })),
      { maxLength: 3 },
    ),
  }),
  "copy-chunk": fc.record({
    kind: fc.constant("copy-chunk"),
    ...head,
    copyId: natural,
    index: natural,
    isLast: flag,
    records: fc.array(
      fc.record({ key: binary, value: binary, expireAtMs: fc.maxSafeNat(), seq: natural }),
      { maxLength: 5 },
    ),
  }),
  "copy-ack": fc.record({
    kind: fc.constant("copy-ack"),
    ...head,
    copyId: natural,
    index: natural,
  }),
};
const anyMessage = fc.oneof(...(Object.values(messages) as fc.Arbitrary<Message>[]));

function encode(list: readonly Message[]): Buffer {
  const encoder = new FrameEncoder();
  for (const message of list) encoder.append(message);
  return Buffer.from(encoder.bytes());
}

function decode(chunks: readonly Buffer[], decoder = new FrameDecoder()): Message[] {
  const out: Message[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk, 0, chunk.length, (message) => {
      out.push(message);
      return true;
    });
  }
  return out;
}

/** `deepEqual` that ignores how fast-check makes its records (without a prototype), and in what buffer a command is. */
function assertSame(actual: unknown, expected: unknown): void {
  assert.deepEqual(plain(actual), plain(expected));
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof EntryBatch || value instanceof Effects) return [...value].map(plain);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Command) return { tag: "Command", args: value.texts() };
  const prototype = Object.getPrototypeOf(value);
  const tag =
    prototype === null || prototype === Object.prototype ? "" : prototype.constructor.name;
  return {
    tag,
    fields: Object.entries(value)
      .map(([name, field]) => [name, plain(field)])
      .sort(),
  };
}

describe("peer codec", () => {
  for (const [kind, arbitrary] of Object.entries(messages)) {
    it(`gives back every ${kind}`, () => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<Message>, (message) => {
          assertSame(decode([encode([message])]), [message]);
        }),
        { numRuns: 150 },
      );
    });
  }

  it("gives back bytes as a string", () => {
    fc.assert(
      fc.property(binary, (text) => {
        const bytes = Buffer.from(`<${text}>`, "latin1");
        const answer = { kind: "answer", shard: 1, epoch: 2, counter: 3 } as const;
        const [decoded] = decode([
          encode([{ ...answer, reply: new Bytes(bytes, 1, bytes.length - 1) }]),
        ]);
        assert.deepEqual(decoded, { ...answer, reply: text });
      }),
    );
  });

  it("decodes a batch whatever the split", () => {
    fc.assert(
      fc.property(
        fc.array(anyMessage, { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
        (list, sizes) => {
          const bytes = encode(list);
          const chunks: Buffer[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length] as number;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          assertSame(decode(chunks), list);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("refuses a stamp that nobody can have in flight, for memory is taken up to it", () => {
    const commands = [Command.of("get", "k")];
    const request = { commands, watched: [], isTransaction: false, isWrite: false };
    const stamp = { counter: 2 ** 40, doneBelow: 1 };
    const forward = { kind: "forward", shard: 0, epoch: 1, ...stamp, request } as const;
    assert.throws(() => decode([encode([forward])]), { code: "malformed" });
  });

  it("never throws anything but PeerProtocolError at random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        // Half of them as the payload of a proper frame, so that they get past the length.
        const framed = Buffer.alloc(bytes.length + 4);
        framed.writeUInt32LE(bytes.length, 0);
        framed.set(bytes, 4);
        for (const input of [Buffer.from(bytes), framed]) expectOnlyProtocolErrors(input);
      }),
      { numRuns: 2000 },
    );
  });

  it("never throws anything but PeerProtocolError at flipped bits", () => {
    fc.assert(
      fc.property(
        anyMessage,
        fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
        (message, flips) => {
          const bytes = encode([message]);
          for (const flip of flips) {
            const at = (flip >>> 3) % bytes.length;
            bytes[at] = (bytes[at] as number) ^ (1 << (flip & 7));
          }
          expectOnlyProtocolErrors(bytes);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("refuses a frame that claims more than the bound before it comes", () => {
    const header = Buffer.alloc(4);
    header.writeUInt32LE(FRAME_BYTES_MAX + 1, 0);
    assert.throws(() => decode([header]), { name: "PeerProtocolError", code: "frame-too-large" });
  });

  it("refuses a list that claims more items than there are bytes", () => {
    // A tail of shard 0, epoch 1, from seq 1 on, with 2^40 entries.
    const payload = Buffer.from([7, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    const header = Buffer.alloc(4);
    header.writeUInt32LE(payload.length, 0);
    assert.throws(() => decode([header, payload]), { code: "malformed" });
  });

  it("refuses replies that nest without end", () => {
    // An answer of shard 0, epoch 1, counter 1; then lists of one item, and no end of them.
    const payload = Buffer.from([9, 0, 1, 1, ...Array<number[]>(5000).fill([16, 1]).flat(), 0]);
    const header = Buffer.alloc(4);
    header.writeUInt32LE(payload.length, 0);
    const bytes = Buffer.concat([header, payload]);
    assert.throws(() => decode([bytes]), { code: "malformed" });
  });

  it("leaves the batch whole when a message is too large", () => {
    const encoder = new FrameEncoder(1000);
    const small: Message = { kind: "acks", acks: [{ shard: 1, epoch: 2, seq: 3 }] };
    encoder.append(small);
    assert.throws(
      () =>
        encoder.append({ kind: "answer", shard: 1, epoch: 2, counter: 3, reply: "x".repeat(1000) }),
      { code: "frame-too-large" },
    );
    encoder.append(small);
    assertSame(decode([encoder.bytes()]), [small, small]);
  });

  it("makes many small messages one frame, and gives a large one its own", () => {
    const framesOf = (list: readonly Message[]): number => {
      const bytes = encode(list);
      let frames = 0;
      for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) frames += 1;
      return frames;
    };
    const small: Message = { kind: "acks", acks: [{ shard: 1, epoch: 2, seq: 3 }] };
    const large: Message = {
      kind: "answer",
      shard: 1,
      epoch: 2,
      counter: 3,
      reply: "x".repeat(50_000),
    };
    assert.equal(framesOf(Array<Message>(1_000).fill(small)), 1);
    assert.equal(framesOf([large, large, small, small]), 3);
  });

  it("says what a frame has said before only once, and again in the next", () => {
    const write = (key: string): Message => ({
      kind: "forward",
      shard: 1,
      epoch: 2,
      counter: 300,
      doneBelow: 299,
      request: {
        commands: [Command.of("SET", key, "value")],
        isTransaction: false,
        isWrite: true,
        watched: [],
      },
    });
    const [one, other] = [write("a"), write("b")];
    const alone = encode([one]).length;
    // Neither a length for the frame nor the name, with its own.
    assert.equal(encode([one, other]).length, 2 * alone - 4 - 4);
    const encoder = new FrameEncoder();
    encoder.append(one);
    encoder.reset(true);
    encoder.append(other);
    assertSame(decode([encoder.bytes()]), [other]);
  });

  it("refuses what leans on something that was never said", () => {
    const untold = {
      // A write of shard 1, epoch 2, counter 3, with one argument behind a name that none before it had.
      "the name of a command": [21, 1, 2, 3, 0, 2, 1, 0x61],
      // An append of shard 1, epoch 2, from seq 5 on, of nothing, at the time of the one before it.
      "a time": [2, 1, 2, 5, 0, 1 | 2 | 4 | 8, 1],
      // A tail of shard 1, epoch 2, seq 5: one entry of epoch 2, whose stamp is of the process with the number 7.
      "who has a number": [7, 1, 2, 5, 1, 1 | 2, 7, 2, 3, 0, 0, 0],
    };
    for (const payload of Object.values(untold)) {
      const header = Buffer.alloc(4);
      header.writeUInt32LE(payload.length, 0);
      assert.throws(() => decode([header, Buffer.from(payload)]), { code: "malformed" });
    }
  });

  it("tells again what was told in a message that was taken back", () => {
    const encoder = new FrameEncoder(500);
    const entries = (valueBytes: number): EntryBatch =>
      EntryBatch.of(
        [
          {
            seq: 1,
            epoch: 2,
            stamp: { node: "n1", incarnation: 5, counter: 1, doneBelow: 1 },
            reply: OK,
            effects: effectsOf([
              { kind: "set", key: "key", value: "v".repeat(valueBytes), expireAtMs: 0 },
            ]),
            form: "plain",
          },
        ],
        issuers,
      );
    const issuers = new Issuers();
    const tail = (valueBytes: number): Message => ({
      kind: "tail",
      shard: 1,
      epoch: 2,
      entries: entries(valueBytes),
    });
    assert.throws(() => encoder.append(tail(1_000)), { code: "frame-too-large" });
    // It fits in beside the first no more, but alone.
    for (const bytes of [100, 400]) encoder.append(tail(bytes));
    assertSame(decode([encoder.bytes()]), [tail(100), tail(400)]);
  });

  it("decodes a large frame from many small chunks in linear time", () => {
    const value = "v".repeat(8_000_000);
    const bytes = encode([{ kind: "answer", shard: 1, epoch: 2, counter: 3, reply: value }]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 512) chunks.push(bytes.subarray(at, at + 512));
    const [message] = decode(chunks);
    assert.ok(message?.kind === "answer" && message.reply === value);
  });

  it("stops within a batch when told to", () => {
    const bytes = encode([{ kind: "fetch-configuration" }, { kind: "fetch-configuration" }]);
    let seen = 0;
    new FrameDecoder().push(bytes, 0, bytes.length, () => {
      seen++;
      return false;
    });
    assert.equal(seen, 1);
  });

  it("keeps an idle heartbeat of 16 shards within 150 bytes", () => {
    const bytes = encode([idleHeartbeat(16)]).length;
    assert.ok(bytes <= 150, `${bytes} bytes`);
    // Both ways, to and from two peers, with what TCP/IP adds: well below 100 kbit/s.
    const bitsPerSecond = (bytes + 54) * 8 * 2 * 2 * 20;
    assert.ok(bitsPerSecond < 140_000, `${bitsPerSecond} bit/s`);
    assert.ok((bytes * 8 * 2 * 20) / 1000 < 50, "payload sent, kbit/s");
  });
});

function expectOnlyProtocolErrors(bytes: Buffer): void {
  try {
    decode([bytes]);
  } catch (error) {
    if (!(error instanceof PeerProtocolError)) throw error;
  }
}

/** What a node says that has run for long and has nothing to do. */
function idleHeartbeat(shardCount: number): Heartbeat {
  return {
    kind: "heartbeat",
    fromIncarnation: 2 ** 48 - 1,
    toIncarnation: 2 ** 48 - 2,
    sentAtMs: 123_456_789.123,
    echoMs: 123_456_788.321,
    wallMs: 1_763_768_000_000,
    version: 1234,
    shards: Array.from({ length: shardCount }, (_, index) => ({
      shard: index,
      epoch: 12 + (index % 2),
      echoes: true,
      ackSeq: 100_000_000 + index,
      commitSeq: 100_000_000 + index,
      startedEpoch: 12 + (index % 2),
      ready: false,
      lacksDisk: false,
    })),
  };
}
