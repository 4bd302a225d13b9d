import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { createLane, type LaneMemory, ReceivingEnd, SendingEnd } from "./lane.ts";

/** Bytes from which on a frame is too large for the ring. */
const LARGE = 300_000;

interface Way {
  readonly sending: SendingEnd;
  readonly receiving: ReceivingEnd;
  /** Bells for the one who receives, and for the one who sends. */
  readonly rung: { receiver: number; sender: number };
  close(): void;
}

function createWay(): Way {
  const lane = createLane();
  const rung = { receiver: 0, sender: 0 };
  const ends: LaneMemory[] = [lane.sending, lane.receiving];
  return {
    sending: new SendingEnd(lane.sending, () => {
      rung.receiver += 1;
    }),
    receiving: new ReceivingEnd(lane.receiving, () => {
      rung.sender += 1;
    }),
    rung,
    close: () => {
      for (const { large } of ends) large.close();
    },
  };
}

function wayOf(t: TestContext): Way {
  const way = createWay();
  t.after(() => way.close());
  return way;
}

function send(way: Way, bytes: Buffer): void {
  way.sending.writer.raw(bytes, 0, bytes.length);
  way.sending.send();
}

function taken({ receiving }: Way): Buffer | undefined {
  if (!receiving.take()) return undefined;
  return receiving.page.subarray(receiving.start, receiving.end);
}

/** A frame that tells its number in each byte. */
function frameOf(number: number, bytes: number): Buffer {
  return Buffer.alloc(bytes, (number % 250) + 1);
}

describe("a way between two threads", () => {
  it("carries frames of any size in order, through whatever it has no room for", () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: 200 }),
      fc.constantFrom(8_192, 8_193, 65_536, 262_144, 262_145, LARGE),
    );
    const step = fc.oneof(
      fc.record({ kind: fc.constant("send" as const), size }),
      fc.constant({ kind: "take" as const, size: 0 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (script) => {
        const way = createWay();
        const wanted: Buffer[] = [];
        const found: Buffer[] = [];
        for (const { kind, size: bytes } of script) {
          if (kind === "send") {
            const frame = frameOf(wanted.length, bytes);
            wanted.push(frame);
            send(way, frame);
          } else {
            const before = way.rung.sender;
            const frame = taken(way);
            if (frame !== undefined) found.push(frame);
            if (way.rung.sender > before) way.sending.sendWaiting();
          }
        }
        // What waits always goes on by the bells alone.
        for (;;) {
          const frame = taken(way);
          if (frame === undefined) break;
          found.push(frame);
          if (way.sending.isFull) {
            assert.ok(way.rung.sender > 0, "who waits for room is told of it");
            way.sending.sendWaiting();
          }
        }
        way.close();
        assert.ok(!way.sending.isFull);
        assert.ok(Buffer.concat(found).equals(Buffer.concat(wanted)));
        assert.deepEqual(
          found.map(({ length }) => length),
          wanted.map(({ length }) => length),
        );
      }),
      { numRuns: 25 },
    );
  });

  it("leaves what it has given alone", (t) => {
    const way = wayOf(t);
    const frames: Buffer[] = [];
    for (let number = 0; number < 3_000; number += 1) {
      send(way, frameOf(number, 100));
      const frame = taken(way);
      assert.ok(frame !== undefined);
      frames.push(frame);
    }
    for (const [number, frame] of frames.entries()) assert.ok(frame.equals(frameOf(number, 100)));
  });

  it("says that it is full until there is room, and rings for it", (t) => {
    const way = wayOf(t);
    let sent = 0;
    for (; !way.sending.isFull; sent += 1) send(way, frameOf(sent, 60_000));
    assert.equal(way.rung.sender, 0);
    assert.ok(taken(way)?.equals(frameOf(0, 60_000)));
    assert.equal(way.rung.sender, 1);
    assert.ok(way.sending.sendWaiting());
    assert.ok(!way.sending.isFull);
    for (let number = 1; number < sent; number += 1) {
      assert.ok(taken(way)?.equals(frameOf(number, 60_000)));
    }
    assert.equal(taken(way), undefined);
    assert.equal(way.rung.sender, 1);
  });

  it("has only one frame under way that is larger than its ring", (t) => {
    const way = wayOf(t);
    send(way, frameOf(0, LARGE));
    assert.ok(!way.sending.isFull);
    send(way, frameOf(1, 4 * LARGE));
    assert.ok(way.sending.isFull);
    send(way, frameOf(2, 10));
    assert.ok(taken(way)?.equals(frameOf(0, LARGE)));
    assert.ok(!way.sending.isFull || way.sending.sendWaiting());
    assert.ok(taken(way)?.equals(frameOf(1, 4 * LARGE)));
    assert.ok(taken(way)?.equals(frameOf(2, 10)));
  });

  it("rings only for who sleeps", (t) => {
    const way = wayOf(t);
    send(way, frameOf(0, 10));
    assert.equal(way.rung.receiver, 0);
    assert.ok(!way.receiving.sleep());
    taken(way);
    assert.ok(way.receiving.sleep());
    send(way, frameOf(1, 10));
    send(way, frameOf(2, 10));
    assert.equal(way.rung.receiver, 1);
    taken(way);
    taken(way);
    assert.ok(way.receiving.sleep());
    send(way, frameOf(3, LARGE));
    assert.equal(way.rung.receiver, 2);
  });
});
