import assert from "node:assert/strict";
import { test } from "node:test";
import { longestGap, median, successesOf } from "./gaps.ts";

test("the longest gap that begins in a span", () => {
  const times = [0, 10, 20, 500, 510, 2_000];
  const cases: readonly (readonly [number, number, number])[] = [
    [0, 2_000, 1_490],
    [0, 20, 10],
    [20, 400, 480],
    [21, 22, 479],
    [100, 499, 400],
    [501, 509, 9],
    [2_100, 2_300, 200],
    [3_000, 3_000, 0],
  ];
  for (const [from, to, gap] of cases)
    assert.equal(longestGap(times, from, to), gap, `${from}-${to}`);
  assert.equal(longestGap([], 5, 25), 20);
  assert.equal(longestGap([30], 5, 25), 25, "a gap lasts until the next success");
});

test("the median", () => {
  assert.equal(median([]), undefined);
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
});

test("only writes count for a group, everything for a node", () => {
  const base = { id: 1, session: 1, node: "n1", invokedAt: 0, outcome: "ok" } as const;
  const successes = successesOf(
    [
      { ...base, answeredAt: 2, action: { kind: "get", key: "k" }, result: null },
      { ...base, answeredAt: 1, action: { kind: "set", key: "k", value: "v" }, result: "OK" },
      { ...base, answeredAt: 3, action: { kind: "set", key: "x", value: "v" }, result: "OK" },
    ],
    (key) => (key === "k" ? "shard 1" : undefined),
  );
  assert.deepEqual([...successes.byGroup], [["shard 1", [1]]]);
  assert.deepEqual([...successes.byNode], [["n1", [1, 2, 3]]]);
});
