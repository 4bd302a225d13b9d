import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeStatus, shardStatus } from "../../test/support/node-status.ts";
import { OK, Refusal } from "../data/reply.ts";
import { NodeMetrics } from "./metrics.ts";

const STATUS = nodeStatus({
  incarnation: 5,
  version: 12,
  operations: 3,
  copiesWaiting: 2,
  shards: [
    shardStatus({
      epoch: 4,
      inSync: ["n1", "n2"],
      lastSeq: 10,
      commitSeq: 8,
      lag: 2,
      keys: 7,
      logBytes: 99,
      feeds: [
        {
          learner: "n3",
          kind: "copy",
          slotsSent: 4_096,
          slots: 16_384,
          bytesSent: 3_000,
          keysSent: 25,
          keys: 100,
          sinceMs: 2_000,
          isFed: false,
        },
      ],
    }),
  ],
  peers: [{ node: "n2", connected: true, silentMs: 25 }],
  counters: {
    forwarded: 11,
    ordered: 12,
    committed: 13,
    localReads: 14,
    waitingReads: 15,
    suspicions: 16,
    failovers: 17,
    epochs: 18,
    resent: 19,
  },
});

/** The samples as a map from `name{labels}` to value. */
async function scrape(metrics: NodeMetrics): Promise<Map<string, number>> {
  const { body } = await metrics.text();
  const samples = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

function metricsOfNothing(): NodeMetrics {
  return new NodeMetrics({
    status: () => undefined,
    links: () => [],
    clients: () => 0,
    disk: () => undefined,
  });
}

describe("metrics", () => {
  it("show what the core and the links say, the same at each scrape", async () => {
    const metrics = new NodeMetrics({
      status: () => STATUS,
      links: () => [{ node: "n2", data: true, heartbeat: false, queuedBytes: 5, sentBytes: 7 }],
      clients: () => 4,
      disk: () => ({
        pendingBytes: 5,
        bytesWritten: 6,
        batches: 7,
        lastFlushMs: 8,
        checkpointAgeMs: 9_000,
        failure: undefined,
      }),
    });
    for (let i = 0; i < 2; i++) {
      const samples = await scrape(metrics);
      const expected: Record<string, number> = {
        hothot_forwarded_total: 11,
        hothot_local_reads_total: 14,
        hothot_epochs_total: 18,
        'hothot_shard_lag_entries{shard="0"}': 2,
        'hothot_shard_epoch{shard="0"}': 4,
        'hothot_shard_primary{shard="0"}': 1,
        'hothot_peer_link_up{peer="n2",channel="data"}': 1,
        'hothot_peer_link_up{peer="n2",channel="heartbeat"}': 0,
        'hothot_peer_sent_bytes_total{peer="n2"}': 7,
        'hothot_peer_silence_seconds{peer="n2"}': 0.025,
        hothot_node_ready: 1,
        hothot_clients: 4,
        hothot_disk_pending_bytes: 5,
        hothot_disk_written_bytes: 6,
        hothot_disk_batches: 7,
        hothot_disk_last_flush_seconds: 0.008,
        hothot_disk_checkpoint_age_seconds: 9,
        hothot_disk_failed: 0,
        'hothot_feed_sent_bytes{shard="0",learner="n3"}': 3_000,
        'hothot_feed_bytes_per_second{shard="0",learner="n3"}': 1_500,
        'hothot_feed_remaining_seconds{shard="0",learner="n3"}': 6,
        'hothot_feed_sent_slots{shard="0",learner="n3"}': 4_096,
        'hothot_feed_slots{shard="0",learner="n3"}': 16_384,
        hothot_copies_waiting: 2,
      };
      for (const [name, value] of Object.entries(expected)) {
        assert.equal(samples.get(name), value, name);
      }
      assert.ok((samples.get("process_resident_memory_bytes") ?? 0) > 0);
      assert.ok(samples.has("nodejs_eventloop_lag_seconds"));
    }
  });

  it("tell a loop that stalled from one that did not", async () => {
    const metrics = metricsOfNothing();
    const lagMs = async (name: string): Promise<number> => {
      const samples = await scrape(metrics);
      return (samples.get(`nodejs_eventloop_lag_${name}_seconds`) ?? Number.NaN) * 1_000;
    };
    await sleep(100);
    const shortest = await lagMs("min");
    assert.ok(shortest < 9, `a loop that mostly waits: ${shortest} ms`);
    // After each scrape it begins with the next firing.
    await sleep(20);
    const until = performance.now() + 50;
    while (performance.now() < until);
    await sleep(20);
    const longest = await lagMs("max");
    assert.ok(longest >= 45, `a stall of 50 ms: ${longest} ms`);
  });

  it("count commands, commits, refusals and failovers", async () => {
    const metrics = metricsOfNothing();
    metrics.tallyOf("set").answered(false, 0.2);
    metrics.tallyOf("set").answered(false, 300);
    metrics.tallyOf("get").answered(true, 100);
    metrics.written(4, OK);
    metrics.written(4, new Refusal("TRYAGAIN", "no"));
    metrics.clockJumped();
    metrics.registerFailed("swap");
    metrics.event({
      kind: "failover",
      failover: {
        shard: 0,
        epoch: 2,
        removed: ["n2"],
        oldPrimary: "n2",
        newPrimary: "n1",
        detectionMs: 310,
        reconfigurationMs: 12,
        gapMs: 420,
        atWallMs: 1,
      },
    });
    metrics.event({ kind: "copy", shard: 1, learner: "n3", step: "begun" });
    const samples = await scrape(metrics);
    assert.equal(samples.get('hothot_full_copies_total{learner="n3",step="begun"}'), 1);
    assert.equal(samples.get('hothot_commands_total{command="set",outcome="ok"}'), 2);
    assert.equal(samples.get('hothot_commands_total{command="get",outcome="error"}'), 1);
    assert.equal(samples.get("hothot_command_seconds_count"), 3);
    assert.equal(samples.get('hothot_command_seconds_bucket{le="0.0001"}'), 0);
    assert.equal(samples.get('hothot_command_seconds_bucket{le="0.00025"}'), 1);
    assert.equal(samples.get('hothot_command_seconds_bucket{le="0.1"}'), 2);
    assert.equal(samples.get('hothot_command_seconds_bucket{le="+Inf"}'), 3);
    assert.equal(samples.get("hothot_command_seconds_sum"), 0.4002);
    assert.equal(samples.get('hothot_commit_seconds_bucket{le="0.005"}'), 1);
    assert.equal(samples.get("hothot_commit_seconds_count"), 1);
    assert.equal(samples.get('hothot_refused_writes_total{code="TRYAGAIN"}'), 1);
    assert.equal(samples.get("hothot_failover_gap_seconds_sum"), 0.42);
    assert.equal(samples.get("hothot_failover_detection_seconds_sum"), 0.31);
    assert.equal(samples.get("hothot_clock_jumps_total"), 1);
    assert.equal(samples.get('hothot_register_failures_total{what="swap"}'), 1);
    assert.equal(samples.get("hothot_node_ready"), 0);
  });
});
