import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  DATAGRAM_BYTES_MAX,
  type Datagram,
  decodeDatagram,
  encodeDatagrams,
  HeartbeatAssembler,
  PARTS_MAX,
} from "./heartbeat-datagram.ts";
import { ReplayWindow } from "./replay-window.ts";
import { ClusterSecret } from "./secret.ts";

const secret = new ClusterSecret(Buffer.alloc(32, 7), "c1");
const route = { from: "n1", fromIncarnation: 2 ** 48 - 1, toIncarnation: 1, version: 3 };

function decoded(bytes: Buffer): Datagram {
  const datagram = decodeDatagram(bytes);
  assert.ok(datagram !== undefined);
  return datagram;
}

/** A frame of this many bytes, no two parts alike. */
function frameOf(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, i) => (i + Math.floor(i / 251)) & 0xff));
}

describe("heartbeat datagrams", () => {
  it("say what was given to them, and are never too long", () => {
    fc.assert(
      fc.property(fc.nat(20_000), fc.boolean(), fc.nat(1e9), (bytes, hasSecret, number) => {
        const frame = frameOf(bytes);
        const datagrams = encodeDatagrams(route, number + 1, frame, hasSecret ? secret : undefined);
        const assembler = new HeartbeatAssembler();
        const frames = datagrams.flatMap((each) => {
          assert.ok(each.length <= DATAGRAM_BYTES_MAX);
          const datagram = decoded(each);
          const { from, fromIncarnation, toIncarnation, version, signed } = datagram;
          assert.deepEqual({ from, fromIncarnation, toIncarnation, version }, route);
          assert.equal(signed !== undefined, hasSecret);
          if (signed !== undefined) assert.ok(secret.isTag(signed.bytes, signed.tag));
          return assembler.take(datagram) ?? [];
        });
        assert.deepEqual(frames, [frame]);
      }),
      { numRuns: 100 },
    );
  });

  it("do not pass with a single bit changed", () => {
    const [bytes = Buffer.alloc(0)] = encodeDatagrams(route, 5, frameOf(100), secret);
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        const at = Math.floor(bit / 8);
        changed.writeUInt8(changed.readUInt8(at) ^ (1 << (bit % 8)), at);
        const datagram = decodeDatagram(changed);
        // Dropped for its form, or for its tag; one without a tag is dropped where there is a secret.
        const { signed } = datagram ?? {};
        assert.ok(signed === undefined || !secret.isTag(signed.bytes, signed.tag));
      }),
    );
  });

  it("of any bytes are decoded to nothing or to something within bounds", () => {
    const start = fc.constantFrom(Buffer.from("HB"), Buffer.alloc(0));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 1400 }), (magic, rest) => {
        const datagram = decodeDatagram(Buffer.concat([magic, rest]));
        if (datagram === undefined) return;
        assert.ok(datagram.part <= datagram.parts && datagram.parts <= PARTS_MAX);
        assert.ok(datagram.number > datagram.part);
        assert.ok(datagram.payload.length <= DATAGRAM_BYTES_MAX);
      }),
      { numRuns: 1000 },
    );
  });

  it("give the heartbeat without any one of its parts", () => {
    for (const bytes of [1200, 2336, 3000, 8000]) {
      const frame = frameOf(bytes);
      const datagrams = encodeDatagrams(route, 1, frame, secret);
      for (const lost of datagrams) {
        const assembler = new HeartbeatAssembler();
        const came = datagrams.filter((each) => each !== lost);
        assert.deepEqual(
          came.flatMap((each) => assembler.take(decoded(each)) ?? []),
          [frame],
        );
      }
    }
  });

  it("give whole heartbeats only, whatever is lost, doubled or overtaken", () => {
    const sizes = fc.array(fc.nat(6000), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.nat(99)), (bytes, chance) => {
        const next = (): number => chance.next().value ?? 0;
        const frames = bytes.map(frameOf);
        let number = 1;
        const sent = frames.flatMap((frame) => {
          const datagrams = encodeDatagrams(route, number, frame, undefined);
          number += datagrams.length;
          return datagrams;
        });
        const lost = new Set(sent.filter(() => next() < 20));
        const arrived = sent
          .flatMap((each) => (lost.has(each) ? [] : next() < 20 ? [each, each] : [each]))
          .map((each, at) => ({ each, at: at + (next() < 20 ? 2 : 0) }))
          .sort((a, b) => a.at - b.at);
        const assembler = new HeartbeatAssembler();
        const whole = arrived.flatMap(({ each }) => assembler.take(decoded(each)) ?? []);
        const isWhole = (frame: Buffer): boolean => {
          const index = frames.indexOf(frame);
          const before = frames.slice(0, index);
          const count = (one: Buffer): number => encodeDatagrams(route, 1, one, undefined).length;
          const first = before.reduce((sum, one) => sum + count(one), 0);
          const own = sent.slice(first, first + count(frame));
          const lostCount = own.filter((each) => lost.has(each)).length;
          return lostCount <= (own.length === 1 ? 0 : 1);
        };
        const expected = frames.filter(isWhole);
        const byText = (a: Buffer, b: Buffer): number => Buffer.compare(a, b);
        assert.deepEqual([...whole].sort(byText), [...expected].sort(byText));
      }),
      { numRuns: 200 },
    );
  });

  it("hold few unfinished heartbeats of a peer", () => {
    const assembler = new HeartbeatAssembler();
    const all = Array.from({ length: 10 }, (_, i) =>
      encodeDatagrams(route, 1 + i * 4, frameOf(3000), undefined),
    );
    for (const [first] of all) if (first !== undefined) assembler.take(decoded(first));
    const finished = all.map(
      (each) => each.slice(1).map((part) => assembler.take(decoded(part)))[1] !== undefined,
    );
    assert.deepEqual(finished, [...new Array(6).fill(false), ...new Array(4).fill(true)]);
  });

  it("are none for what no number of them could carry", () => {
    assert.deepEqual(encodeDatagrams(route, 1, Buffer.alloc(PARTS_MAX * 1200), secret), []);
  });
});

describe("a replay window", () => {
  it("takes each number once, and nothing older than it remembers", () => {
    const numbers = fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.nat(40)), {
      maxLength: 400,
    });
    fc.assert(
      fc.property(numbers, (sequence) => {
        const window = new ReplayWindow(64);
        const seen = new Set<number>();
        let newest = 0;
        for (const number of sequence) {
          const expected = number >= 1 && number > newest - 64 && !seen.has(number);
          assert.equal(window.take(number), expected);
          newest = Math.max(newest, number);
          seen.add(number);
        }
      }),
      { numRuns: 500 },
    );
  });
});
