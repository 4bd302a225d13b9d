import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RestartPolicy } from "./restart-policy.ts";

const WAITS = { firstMs: 500, longestMs: 30_000, soundMs: 60_000 };

test("waits double up to the longest, and start anew after a sound run", () => {
  const policy = new RestartPolicy(WAITS);
  const waits = [0, 10, 59_999, 3, 4, 5, 6, 7].map((ranMs) => policy.ended(ranMs).waitMs);
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.deepEqual(policy.ended(60_000), { waitMs: 500, endsInARow: 1 });
  assert.deepEqual(policy.ended(1), { waitMs: 1_000, endsInARow: 2 });
  policy.forget();
  assert.deepEqual(policy.ended(1), { waitMs: 500, endsInARow: 1 });
});

test("every end gets a start, after a wait within the bounds", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(120_000), { maxLength: 2_000 }), (runs) => {
      const policy = new RestartPolicy(WAITS);
      for (const ranMs of runs) {
        const { waitMs } = policy.ended(ranMs);
        assert.ok(waitMs >= WAITS.firstMs && waitMs <= WAITS.longestMs, String(waitMs));
      }
    }),
    { numRuns: 30 },
  );
});
