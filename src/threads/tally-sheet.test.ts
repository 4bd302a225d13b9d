import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeMetrics } from "../node/metrics.ts";
import { noCounts } from "../server/counters.ts";
import { memoryCounts, sumReports } from "../server/node-wide.ts";
import { TallySheet } from "./tally-sheet.ts";

test("what a thread has counted is given away once, and added to the node's", async () => {
  const sheet = new TallySheet([0.05, 1]);
  assert.deepEqual(sheet.take(), { commands: [], latencies: [0, 0, 0], latencySumMs: 0 });
  const get = sheet.tallyOf("get");
  assert.equal(sheet.tallyOf("get"), get);
  sheet.tallyOf("set");
  get.answered(false, 0.05);
  get.answered(true, 0.5);
  get.answered(false, 7);
  assert.deepEqual(sheet.take(), {
    commands: [{ command: "get", ok: 2, errors: 1 }],
    latencies: [1, 1, 1],
    latencySumMs: 7.55,
  });
  assert.deepEqual(sheet.take(), { commands: [], latencies: [0, 0, 0], latencySumMs: 0 });

  const metrics = new NodeMetrics({
    status: () => undefined,
    links: () => [],
    clients: () => 0,
    disk: () => undefined,
  });
  metrics.tallyOf("get").answered(false, 1_000);
  const counted = { commands: [{ command: "get", ok: 2, errors: 1 }], latencySumMs: 8_000 };
  const latencies = new Array<number>(17).fill(0);
  latencies[0] = 2;
  latencies[16] = 1;
  metrics.add({ ...counted, latencies });
  const { body } = await metrics.text();
  for (const line of [
    'hothot_commands_total{command="get",outcome="ok"} 3',
    'hothot_commands_total{command="get",outcome="error"} 1',
    'hothot_command_seconds_bucket{le="0.00005"} 2',
    'hothot_command_seconds_bucket{le="5"} 3',
    'hothot_command_seconds_bucket{le="+Inf"} 4',
    "hothot_command_seconds_sum 9",
  ]) {
    assert.ok(body.split("\n").includes(line), line);
  }
});

test("the reports of several servers add up", () => {
  const memory = { ...memoryCounts(), heapUsed: 10 };
  const one = { counters: { ...noCounts(), commands: 3, inputBytes: 5 }, memory };
  const other = { counters: { ...noCounts(), commands: 4 }, memory: { ...memory, heapUsed: 1 } };
  const sum = sumReports([one, other]);
  assert.deepEqual(sum.counters, { ...noCounts(), commands: 7, inputBytes: 5 });
  assert.equal(sum.memory.heapUsed, 11);
  assert.equal(one.counters.commands, 3, "nothing of a report is changed");
});
