import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Histogram } from "./histogram.ts";

test("quantiles are exact to one part in a hundred", () => {
  void fc.assert(
    fc.property(
      fc.array(fc.double({ min: 1, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 }),
      (latencies) => {
        const histogram = new Histogram();
        for (const us of latencies) histogram.record(us);
        const sorted = [...latencies].sort((a, b) => a - b);
        const { count, p50, p99, p999, max } = histogram.summary();
        assert.equal(count, latencies.length);
        assert.equal(max, sorted.at(-1));
        for (const [share, quantile] of [
          [0.5, p50],
          [0.99, p99],
          [0.999, p999],
        ] as const) {
          const exact = sorted[Math.ceil(sorted.length * share) - 1] as number;
          assert.ok(Math.abs(quantile - exact) <= 0.2 + exact / 100, `${quantile} for ${exact}`);
        }
      },
    ),
  );
});

test("what was recorded can be cleared", () => {
  const histogram = new Histogram();
  histogram.record(5);
  histogram.clear();
  assert.deepEqual(histogram.summary(), { count: 0, p50: 0, p99: 0, p999: 0, max: 0 });
});
