import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CoreEvent, Failover } from "../replica/surface.ts";
import { linesOf } from "./event-lines.ts";

const failover = (shard: number, gapMs: number): Failover => ({
  shard,
  epoch: 2,
  removed: ["n3"],
  oldPrimary: "n3",
  newPrimary: "n1",
  detectionMs: 300,
  reconfigurationMs: 20,
  gapMs,
  atWallMs: 1,
});

describe("log lines of events", () => {
  it("say what befell many shards at once in one line", () => {
    const events: CoreEvent[] = [0, 1, 2].flatMap((shard): CoreEvent[] => [
      { kind: "suspected", node: "n3", shards: [shard], silentMs: 370 },
      { kind: "epoch", shard, epoch: 2, primary: "n1", inSync: ["n1"], removed: ["n3"] },
      { kind: "failover", failover: failover(shard, 400 + shard) },
      { kind: "copy", shard, learner: "n3", step: shard === 2 ? "done" : "begun" },
    ]);
    const lines = linesOf(events);
    assert.deepEqual(
      lines.map((line) => line.text),
      [
        "n3 is silent",
        "new epochs without n3",
        "failed over from n3, gap at most 402 ms",
        "copying to n3",
        "n3 holds a full copy",
      ],
    );
    assert.deepEqual(lines[0]?.fields["shards"], [0, 1, 2]);
    assert.deepEqual(lines[3]?.fields["shards"], [0, 1]);
  });

  it("keep apart what differs, and warn of what needs a look", () => {
    const lines = linesOf([
      { kind: "suspected", node: "n2", shards: [0], silentMs: 370 },
      { kind: "suspected", node: "n3", shards: [0], silentMs: 380 },
      { kind: "swap", outcome: "done", reason: "a" },
      { kind: "swap", outcome: "unknown", reason: "b" },
      { kind: "evicting", shard: 1, node: "n2", why: "it lags" },
      { kind: "warning", text: "odd" },
    ]);
    assert.deepEqual(
      lines.map((line) => `${line.level} ${line.text}`),
      [
        "warn n2 is silent",
        "warn n3 is silent",
        "warn n2 is to be removed: it lags",
        "info swap (a): done",
        "warn swap (b): unknown",
        "warn odd",
      ],
    );
  });

  it("say nothing of nothing", () => {
    assert.deepEqual(linesOf([]), []);
  });
});
