import assert from "node:assert/strict";
import { test } from "node:test";
import { flameGraphOf } from "./flame-graph.ts";
import { type CpuProfile, selfTimes, stacksOf } from "./stacks.ts";

function node(id: number, functionName: string, url: string, children: readonly number[] = []) {
  return { id, callFrame: { functionName, url, lineNumber: 1 }, children };
}

const PROFILE: CpuProfile = {
  nodes: [
    node(1, "(root)", "", [2, 6]),
    node(2, "turn", "file:///d/src/node/driver.js", [3, 4]),
    node(3, "apply", "file:///d/src/replica/shard.js", [5]),
    node(4, "", "file:///d/src/node/driver.js"),
    node(5, "set<T>", "file:///d/src/data/keyspace.js"),
    node(6, "(idle)", ""),
  ],
  samples: [2, 3, 5, 5, 4, 6],
  timeDeltas: [10, 20, 30, 5, 40, 1_000],
};

test("time is added up by stack, function and file, without the time of rest", () => {
  const root = stacksOf(PROFILE);
  assert.equal(root.totalUs, 105);
  assert.deepEqual(
    selfTimes(root, ({ file }) => file),
    [
      ["node/driver.js", 50],
      ["data/keyspace.js", 35],
      ["replica/shard.js", 20],
    ],
  );
  const turn = root.callees.get("turn node/driver.js");
  assert.equal(turn?.totalUs, 105);
  assert.equal(turn?.callees.get("apply replica/shard.js")?.totalUs, 55);
});

test("a flame graph has a box for each stack, as wide as its time, and is well-formed", () => {
  const svg = flameGraphOf(stacksOf(PROFILE), "SET & <GET>");
  const widths = [...svg.matchAll(/<title>([^<]*)<\/title><rect [^>]*width="([\d.]+)"/g)].map(
    ([, title, width]) => [title?.split(" ")[0], Number(width)] as const,
  );
  const widthOf = (name: string): number => widths.find(([each]) => each === name)?.[1] ?? 0;
  assert.equal(widths.length, 5);
  assert.ok(Math.abs(widthOf("set&lt;T&gt;") / widthOf("turn") - 35 / 105) < 0.01);
  assert.match(svg, /SET &amp; &lt;GET&gt;/);
});
