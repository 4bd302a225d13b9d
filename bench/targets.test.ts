import assert from "node:assert/strict";
import { test } from "node:test";
import { markdownOf } from "./report/markdown.ts";
import { chartOf } from "./report/svg.ts";
import type { SectionResult } from "./results.ts";
import type { Measurement } from "./runner.ts";
import { spreadOf } from "./statistics.ts";
import { belowFloors, judgeTargets } from "./targets.ts";

test("the median of an even number of rounds lies between the two in the middle", () => {
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
  assert.deepEqual(spreadOf([7]), { median: 7, min: 7, max: 7 });
});

test("a target is met or missed by the ratio of medians, and open where nothing was measured", () => {
  const targets = judgeTargets(
    [sectionWith({ hothot3: [90, 120, 110], "redis-wait2": [100] })],
    [],
  );
  const set = targets.find((target) => target.text.startsWith("SET, against Redis 1+2"));
  assert.deepEqual([set?.measured, set?.isMet], ["1.10", true]);
  const slower = judgeTargets([sectionWith({ hothot3: [90], "redis-wait2": [100] })], []);
  assert.equal(slower.find((target) => target.text === set?.text)?.isMet, false);
  const others = targets.filter((target) => target.text !== set?.text);
  assert.ok(others.every((target) => target.isMet === undefined && target.measured === undefined));
});

test("a target about what a study found is judged by its figures", () => {
  const study = {
    name: "memory",
    title: "",
    note: "",
    head: [],
    rows: [],
    figures: { "bytes hothot1": 120, "bytes redis": 180 },
    failures: [],
  };
  const [memory] = judgeTargets([], [study]).filter((target) => target.text.includes("memory"));
  assert.deepEqual([memory?.measured, memory?.isMet], ["0.67", true]);
});

test("continuous integration fails below a floor, for wrong answers, too many bytes, and for what was not measured", () => {
  const good = sectionWith({ hothot3: [90], "redis-wait2": [100] });
  assert.deepEqual(belowFloors([good]), []);
  const slow = sectionWith({ hothot3: [1], "redis-wait2": [100] });
  assert.match(belowFloors([slow]).join(), /hothot3 set: 0.01/);
  const wrong = sectionWith({ hothot3: [90], "redis-wait2": [100] }, { errors: 1 });
  assert.match(belowFloors([wrong]).join(), /wrong answers/);
  const sending = (bytesPerWrite: number): SectionResult => {
    const section = sectionWith({ hothot3: [90] }, { bytesPerWrite });
    return { ...section, results: section.results.map((each) => ({ ...each, cell: "set16" })) };
  };
  assert.deepEqual(belowFloors([sending(190)]), []);
  assert.match(belowFloors([sending(280)]).join(), /3.5 times key and value/);
  assert.deepEqual(belowFloors([{ ...good, failures: ["hothot3: did not start"] }]), [
    "hothot3: did not start",
  ]);
});

test("a report shows medians, ratios and marks", () => {
  const section = sectionWith(
    { hothot3: [90_000, 120_000, 110_000], "redis-wait2": [55_000] },
    { isDisturbed: true },
  );
  const text = markdownOf(
    {
      format: 1,
      origin: {
        startedAt: "2030-01-02T03:04:05.000Z",
        commit: "abc",
        isModified: false,
        machine: { processors: "2" },
        versions: {},
        options: {},
      },
      sections: [section],
      studies: [],
      targets: judgeTargets([section], []),
    },
    () => "chart.svg",
  );
  assert.match(text, /^# Benchmark of 2030-01-02, commit abc\n/);
  assert.match(text, /\| system hothot3 \| 110k \(90k–120k\) ⚠ \|/);
  assert.match(text, /\| system redis-wait2 \| 0.50 \|/);
  assert.match(text, /\| SET, against Redis 1\+2 WAIT 2 per write \| ≥ 1 \| 2.00 \| met \|/);
  assert.match(text, /!\[[^\]]+\]\(chart.svg\)/);
});

test("a chart has a bar for each system, in proportion", () => {
  const chart = chartOf(sectionWith({ hothot3: [100], "redis-wait2": [50] }));
  const widths = [...chart.matchAll(/<rect x="\d+" y="[^"]+" width="([\d.]+)"/g)].map(([, w]) =>
    Number(w),
  );
  assert.equal(widths.length, 2);
  assert.equal(widths[0], 2 * (widths[1] ?? 0));
});

function sectionWith(
  throughputs: Readonly<Record<string, readonly number[]>>,
  more: Partial<Measurement> = {},
): SectionResult {
  return {
    name: "replicated",
    title: "Replicated",
    systems: Object.keys(throughputs).map((name) => ({ name, title: `system ${name}` })),
    cells: [{ name: "set", title: "SET" }],
    setups: {},
    results: Object.entries(throughputs).map(([system, values]) => ({
      system,
      cell: "set",
      rounds: values.map((operationsPerSecond) => ({
        operationsPerSecond,
        latency: { count: 1, p50: 1, p99: 2, p999: 3, max: 4 },
        cpuUs: { n1: 1 },
        cpuUsInAll: 1,
        generatorCpuUs: 1,
        foreignShare: 0,
        isDisturbed: false,
        misses: 0,
        errors: 0,
        shortWaits: 0,
        ...more,
      })),
    })),
    failures: [],
  };
}
