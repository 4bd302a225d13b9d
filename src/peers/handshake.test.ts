import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { PeerProtocolError } from "./errors.ts";
import { encodeGreeting, GreetingDecoder, Handshake, type Identity } from "./handshake.ts";
import { ClusterSecret } from "./secret.ts";
import { helloOf } from "./testing.ts";

const secret = new ClusterSecret(Buffer.alloc(32, 7), "c1");
const identity = (nodeId: string): Identity => ({
  clusterId: "c1",
  nodeId,
  incarnation: nodeId === "n1" ? 11 : 22,
  versions: { lowest: 1, highest: 1 },
  features: [],
  secret,
});
const dials = { node: "n2", channel: "data" } as const;
const dialler = (): Handshake =>
  new Handshake({ role: "dialler", identity: identity("n1"), dials, wallMs: 1 });
const acceptor = (): Handshake =>
  new Handshake({ role: "acceptor", identity: identity("n2"), wallMs: 1 });

describe("a handshake", () => {
  it("comes to the same end however the stream is cut", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (piece) => {
        const [a, b] = [dialler(), acceptor()];
        let toB: Buffer[] = [a.begin()];
        let [aDone, bDone] = [false, false];
        for (let round = 0; round < 3; round++) {
          const toA: Buffer[] = [];
          for (const bytes of piecesOf(toB, piece)) {
            const { send, done } = b.push(bytes);
            toA.push(...send);
            if (done !== undefined) {
              bDone = true;
              assert.equal(done.hello.nodeId, "n1");
            }
          }
          toB = [];
          for (const bytes of piecesOf(toA, piece)) {
            const { send, done } = a.push(bytes);
            toB.push(...send);
            if (done !== undefined) aDone = true;
          }
        }
        assert.deepEqual([aDone, bDone], [true, true]);
      }),
      { numRuns: 50 },
    );
  });

  it("with a change to any byte of either hello is none", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (place, flip) => {
        const [a, b] = [dialler(), acceptor()];
        const hello = a.begin();
        const changed = Buffer.from(hello);
        const at = place % hello.length;
        changed.writeUInt8(changed.readUInt8(at) ^ flip, at);
        try {
          for (const bytes of b.push(changed).send) {
            assert.equal(a.push(bytes).done, undefined);
          }
        } catch (error) {
          assert.ok(error instanceof PeerProtocolError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("ends in an error of its own at any bytes, or waits for more", () => {
    const words = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((json) => greetingOf(json)),
      fc
        .tuple(fc.constantFrom(...Object.keys(helloOf("n1", "n2"))), fc.jsonValue())
        .map(([key, value]) =>
          greetingOf(JSON.stringify({ ...helloOf("n1", "n2"), [key]: value })),
        ),
      fc.constant(encodeGreeting({ kind: "confirm" })),
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 4 }), fc.boolean(), (chunks, isDialler) => {
        const handshake = isDialler ? dialler() : acceptor();
        if (isDialler) handshake.begin();
        try {
          for (const chunk of chunks) assert.equal(handshake.push(chunk).done, undefined);
        } catch (error) {
          assert.ok(error instanceof PeerProtocolError, String(error));
          assert.doesNotThrow(() => handshake.refuse(error));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("that was refused is not gone on with", () => {
    const { secret: _none, ...withoutSecret } = identity("n2");
    const refusals = [{ clusterId: "c2" }, { expects: "n3" }, { wireMin: 2, wireMax: 3 }];
    for (const wrong of refusals) {
      const side = new Handshake({ role: "acceptor", identity: withoutSecret, wallMs: 1 });
      const hello = encodeGreeting({ ...helloOf("n1", "n2"), ...wrong });
      const confirm = encodeGreeting({ kind: "confirm" });
      assert.throws(() => side.push(Buffer.concat([hello, confirm])), PeerProtocolError);
      for (let i = 0; i < 3; i++) {
        assert.deepEqual(side.push(confirm), { send: [], done: undefined });
      }
    }
  });

  it("is given up at a word longer than any, before its bytes have come", () => {
    const decoder = new GreetingDecoder();
    decoder.push(Buffer.from("HOTHOT\xff\xff", "latin1"));
    assert.throws(() => decoder.next(), { code: "malformed" });
  });
});

function greetingOf(json: string): Buffer {
  const body = Buffer.from(json);
  const head = Buffer.from("HOTHOT\0\0", "latin1");
  head.writeUInt16LE(Math.min(body.length, 0xffff), 6);
  return Buffer.concat([head, body]);
}

function piecesOf(buffers: readonly Buffer[], bytes: number): Buffer[] {
  const whole = Buffer.concat(buffers);
  const pieces: Buffer[] = [];
  for (let at = 0; at < whole.length; at += bytes) pieces.push(whole.subarray(at, at + bytes));
  return pieces;
}
