import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { allocate, memoryOf } from "../kit/memory.ts";
import { createRing, RingReader, RingWriter } from "./ring.ts";

function offer(writer: RingWriter, text: string): boolean {
  return writer.offer(memoryOf(Buffer.from(text, "latin1")), text.length);
}

function take(reader: RingReader): string | undefined {
  const length = reader.nextBytes;
  if (length === undefined) return undefined;
  // Not at the beginning, so that an offset that is forgotten shows.
  const target = allocate(length + 3);
  reader.take(target, 3);
  return target.bytes.toString("latin1", 3);
}

/** What one end of a ring does. */
type Step =
  | { readonly kind: "offer"; readonly text: string }
  | { readonly kind: "take" }
  | { readonly kind: "sleep" }
  | { readonly kind: "wait" };

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("offer" as const),
        text: fc.string({ minLength: 0, maxLength: 60, size: "max" }).map((text) => text),
      }),
    },
    { weight: 3, arbitrary: fc.constant<Step>({ kind: "take" }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: "sleep" }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: "wait" }) },
  ),
  { maxLength: 200, size: "max" },
);

/** Bytes that a frame takes of a ring. */
function roomOf(text: string): number {
  return 4 + Math.ceil(text.length / 4) * 4;
}

describe("Ring", () => {
  it("is a queue of frames that refuses what it has no room for, and rings whoever waits", () => {
    fc.assert(
      fc.property(fc.constantFrom(64, 128), steps, (bytes, script: readonly Step[]) => {
        const shared = createRing(bytes);
        const writer = new RingWriter(shared);
        const reader = new RingReader(shared);
        const model: string[] = [];
        let isAsleep = false;
        let isWaiting = false;
        for (const step of script) {
          const used = model.reduce((sum, text) => sum + roomOf(text), 0);
          switch (step.kind) {
            case "offer": {
              const hasRoom = used + roomOf(step.text) <= bytes;
              assert.equal(offer(writer, step.text), hasRoom);
              if (!hasRoom) break;
              model.push(step.text);
              assert.equal(writer.mustWake(), isAsleep);
              isAsleep = false;
              break;
            }
            case "take":
              assert.equal(take(reader), model.shift());
              assert.equal(reader.mustWake(), isWaiting);
              isWaiting = false;
              break;
            case "sleep":
              assert.equal(reader.sleep(), model.length === 0);
              isAsleep = model.length === 0;
              break;
            case "wait":
              writer.waitForRoom();
              isWaiting = true;
              break;
          }
          assert.equal(writer.isEmpty, model.length === 0);
        }
      }),
    );
  });

  it("goes on when its positions begin anew after 2^32 bytes", () => {
    const shared = createRing(64);
    // Where the positions are.
    const words = new Int32Array(shared, 0, 64);
    words.fill(-32, 0, 1);
    words.fill(-32, 16, 17);
    const writer = new RingWriter(shared);
    const reader = new RingReader(shared);
    for (let round = 0; round < 20; round += 1) {
      assert.ok(offer(writer, `frame ${round}`));
      assert.ok(offer(writer, `and ${round}`));
      assert.equal(take(reader), `frame ${round}`);
      assert.equal(take(reader), `and ${round}`);
    }
  });

  it("wakes a reader that changes its mind only once", () => {
    const shared = createRing(64);
    const writer = new RingWriter(shared);
    const reader = new RingReader(shared);
    assert.ok(reader.sleep());
    reader.wake();
    offer(writer, "a");
    assert.ok(!writer.mustWake());
    take(reader);
    assert.ok(reader.sleep());
    offer(writer, "b");
    assert.ok(writer.mustWake());
    assert.ok(!writer.mustWake());
  });

  it("gives another thread every frame once, in order and whole", async (t) => {
    const count = 20_000;
    const shared = createRing(512);
    const reader = new RingReader(shared);
    const script = `
      import { workerData } from "node:worker_threads";
      import { RingWriter } from ${JSON.stringify(new URL("./ring.js", import.meta.url).href)};
      import { memoryOf } from ${JSON.stringify(new URL("../kit/memory.js", import.meta.url).href)};
      const writer = new RingWriter(workerData);
      for (let n = 0; n < ${count}; n += 1) {
        const bytes = Buffer.from(String(n).repeat(1 + (n % 40)));
        while (!writer.offer(memoryOf(bytes), bytes.length));
      }
    `;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      workerData: shared,
    });
    t.after(() => worker.terminate());
    for (let n = 0; n < count; ) {
      const frame = take(reader);
      if (frame === undefined) {
        // The other thread may need this one's processor.
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      assert.equal(frame, String(n).repeat(1 + (n % 40)));
      n += 1;
    }
  });
});
