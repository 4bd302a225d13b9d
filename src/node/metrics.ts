/** The node's metrics in the text format of Prometheus. Names and meanings are part of the product: dashboards read them. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { Refusal, type Reply } from "../data/reply.ts";
import {
  type CoreCounters,
  type CoreEvent,
  type FeedStatus,
  type NodeStatus,
  remainingMs,
} from "../replica/surface.ts";
import { LatencyHistogram } from "./latency-histogram.ts";

/** What metrics read when they are asked for. */
export interface MetricsSources {
  /** Undefined before the node has its core. */
  readonly status: () => NodeStatus | undefined;
  readonly links: () => readonly {
    readonly node: string;
    readonly data: boolean;
    readonly heartbeat: boolean;
    readonly queuedBytes: number;
    readonly sentBytes: number;
  }[];
  /** Open RESP connections. */
  readonly clients: () => number;
  /** Of the durable copy; undefined where there is none. */
  readonly disk: () =>
    | {
        readonly pendingBytes: number;
        readonly bytesWritten: number;
        readonly batches: number;
        readonly lastFlushMs: number;
        readonly checkpointAgeMs: number;
        readonly failure: string | undefined;
      }
    | undefined;
}

/** From 50 µs to 5 s: a local read is at the one end, a command that waited for a failover at the other. */
export const LATENCY_SECONDS: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  5,
];
const FAILOVER_SECONDS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.8, 1, 2, 5, 10];

const CORE_COUNTERS: Readonly<Record<keyof CoreCounters, string>> = {
  forwarded: "Operations sent to the primary at another node.",
  ordered: "Log entries that this node ordered as a primary.",
  committed: "Log entries that this node saw committed.",
  localReads: "Reads answered from this node's own copy at once.",
  waitingReads: "Reads that waited for a write to be committed.",
  suspicions: "Members that this node found silent.",
  failovers: "Unplanned changes of a shard's epoch that this node saw.",
  epochs: "Epochs that this node installed.",
  resent: "Operations sent again after a reset or a new epoch.",
};

/** Answers to clients' commands that were counted elsewhere. */
export interface CommandCounts {
  readonly commands: readonly {
    /** Its name in lower case. */
    readonly command: string;
    readonly ok: number;
    readonly errors: number;
  }[];
  /** Answers by their latency: for each of `LATENCY_SECONDS` one count of what is not above it, and one for the rest. */
  readonly latencies: readonly number[];
  readonly latencySumMs: number;
}

/** Counts the answers to one command. Called for every command, so it looks nothing up by name. */
export class CommandTally {
  ok = 0;
  errors = 0;
  readonly #latencies: LatencyHistogram;

  constructor(latencies: LatencyHistogram) {
    this.#latencies = latencies;
  }

  /** @param ms from the command's arrival to its answer. */
  answered(isRefusal: boolean, ms: number): void {
    if (isRefusal) this.errors += 1;
    else this.ok += 1;
    this.#latencies.observe(ms);
  }
}

/**
 * The lag of the loop is the time between two firings of a timer of so many ms, so it tells a stall by up to as much too long, and an idle
 * loop has this lag. The library's own value, 10, hides what a stall of some ms is; 2 would cost an idle node 1 % of a core.
 */
const LOOP_LAG_STEP_MS = 5;

export class NodeMetrics {
  readonly registry = new Registry();
  readonly #sources: MetricsSources;
  readonly #commands = new Map<string, CommandTally>();
  readonly #commandSeconds: LatencyHistogram;
  readonly #commitSeconds: LatencyHistogram;
  readonly #failedWrites: Counter<"code">;
  readonly #detectionSeconds: Histogram;
  readonly #gapSeconds: Histogram;
  readonly #reconfigurationSeconds: Histogram;
  readonly #registerFailures: Counter<"what">;
  readonly #fullCopies: Counter<"learner" | "step">;
  readonly #clockJumps: Counter;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    const registers = [this.registry];
    collectDefaultMetrics({
      register: this.registry,
      eventLoopMonitoringPrecision: LOOP_LAG_STEP_MS,
    });
    const commands = this.#commands;
    new Counter({
      name: "hothot_commands_total",
      help: "Commands answered, by name and outcome (ok, error).",
      labelNames: ["command", "outcome"],
      registers,
      collect() {
        this.reset();
        for (const [command, { ok, errors }] of commands) {
          if (ok > 0) this.inc({ command, outcome: "ok" }, ok);
          if (errors > 0) this.inc({ command, outcome: "error" }, errors);
        }
      },
    });
    this.#commandSeconds = new LatencyHistogram({
      name: "hothot_command_seconds",
      help: "From a command's arrival to its answer.",
      bounds: LATENCY_SECONDS,
      registry: this.registry,
    });
    this.#commitSeconds = new LatencyHistogram({
      name: "hothot_commit_seconds",
      help: "From a write's submission at this node to its answer, which comes after its commit.",
      bounds: LATENCY_SECONDS,
      registry: this.registry,
    });
    this.#failedWrites = new Counter({
      name: "hothot_refused_writes_total",
      help: "Writes answered with an error, by its code.",
      labelNames: ["code"],
      registers,
    });
    this.#detectionSeconds = new Histogram({
      name: "hothot_failover_detection_seconds",
      help: "T_F: from the failed node's last heartbeat to the suspicion, where this node proposed.",
      buckets: FAILOVER_SECONDS,
      registers,
    });
    this.#gapSeconds = new Histogram({
      name: "hothot_failover_gap_seconds",
      help: "T_C: from a shard's last commit in the old epoch to the first moment served in the new.",
      buckets: FAILOVER_SECONDS,
      registers,
    });
    this.#reconfigurationSeconds = new Histogram({
      name: "hothot_failover_reconfiguration_seconds",
      help: "From the suspicion to the new epoch's installation.",
      buckets: FAILOVER_SECONDS,
      registers,
    });
    this.#registerFailures = new Counter({
      name: "hothot_register_failures_total",
      help: "Reads and swaps of the configuration register without a clear answer.",
      labelNames: ["what"],
      registers,
    });
    this.#fullCopies = new Counter({
      name: "hothot_full_copies_total",
      help: "Full copies of shards that this node began, and that arrived whole (begun, done); no catching up from the log.",
      labelNames: ["learner", "step"],
      registers,
    });
    this.#clockJumps = new Counter({
      name: "hothot_clock_jumps_total",
      help: "Jumps of the wall clock against the monotonic one; each ends all leases of the node.",
      registers,
    });
    this.#addGauges();
    this.#addFeedGauges();
    this.#addDiskGauges();
    this.#addCoreCounters();
  }

  /** What `/metrics` answers, and its content type. */
  async text(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  /** What counts the answers to a command of clients, whatever protocol it came by. The caller keeps it. */
  tallyOf(command: string): CommandTally {
    let tally = this.#commands.get(command);
    if (tally === undefined) {
      tally = new CommandTally(this.#commandSeconds);
      this.#commands.set(command, tally);
    }
    return tally;
  }

  /** Adds what another thread has counted. */
  add({ commands, latencies, latencySumMs }: CommandCounts): void {
    for (const { command, ok, errors } of commands) {
      const tally = this.tallyOf(command);
      tally.ok += ok;
      tally.errors += errors;
    }
    this.#commandSeconds.add(latencies, latencySumMs);
  }

  written(ms: number, reply: Reply): void {
    if (reply instanceof Refusal) this.#failedWrites.inc({ code: reply.code });
    else this.#commitSeconds.observe(ms);
  }

  event(event: CoreEvent): void {
    if (event.kind === "copy") {
      this.#fullCopies.inc({ learner: event.learner, step: event.step });
      return;
    }
    if (event.kind !== "failover") return;
    const { detectionMs, reconfigurationMs, gapMs } = event.failover;
    if (detectionMs !== undefined) this.#detectionSeconds.observe(detectionMs / 1000);
    this.#reconfigurationSeconds.observe(reconfigurationMs / 1000);
    this.#gapSeconds.observe(gapMs / 1000);
  }

  registerFailed(what: "read" | "swap"): void {
    this.#registerFailures.inc({ what });
  }

  clockJumped(): void {
    this.#clockJumps.inc();
  }

  /** Registers a gauge that is filled anew at each scrape. */
  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    fill: (set: (labels: Readonly<Record<Label, string | number>>, value: number) => void) => void,
  ): void {
    new Gauge<Label>({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect() {
        this.reset();
        fill((labels, value) => this.set(labels, value));
      },
    });
  }

  #addGauges(): void {
    const { status, links, clients } = this.#sources;
    const perShard = (
      name: string,
      help: string,
      value: (shard: NodeStatus["shards"][number]) => number,
    ): void => {
      this.#gauge(`hothot_shard_${name}`, help, ["shard"], (set) => {
        for (const shard of status()?.shards ?? []) set({ shard: shard.shard }, value(shard));
      });
    };
    perShard("epoch", "Epoch of the shard as this node knows it.", (shard) => shard.epoch);
    perShard("primary", "1 if this node is the shard's primary.", (shard) =>
      shard.role === "primary" ? 1 : 0,
    );
    perShard("serves", "1 if this node may answer reads of the shard.", (shard) =>
      shard.serves ? 1 : 0,
    );
    perShard("in_sync", "Members of the shard's in-sync set.", (shard) => shard.inSync.length);
    perShard("lag_entries", "Log entries that are not committed yet.", (shard) => shard.lag);
    perShard("keys", "Keys in this node's copy.", (shard) => shard.keys);
    perShard("log_bytes", "Bytes of the log kept in memory.", (shard) => shard.logBytes);
    this.#gauge("hothot_node_ready", "1 if the node serves all its shards.", [], (set) =>
      set({}, status()?.isReady === true ? 1 : 0),
    );
    this.#gauge("hothot_operations_in_flight", "Operations without an answer.", [], (set) =>
      set({}, status()?.operations ?? 0),
    );
    this.#gauge("hothot_clients", "Open RESP connections.", [], (set) => set({}, clients()));
    this.#gauge(
      "hothot_configuration_version",
      "Version of the configuration that the node has.",
      [],
      (set) => set({}, status()?.version ?? 0),
    );
    this.#gauge(
      "hothot_peer_link_up",
      "1 if the connection to the peer is up.",
      ["peer", "channel"],
      (set) => {
        for (const link of links()) {
          set({ peer: link.node, channel: "data" }, link.data ? 1 : 0);
          set({ peer: link.node, channel: "heartbeat" }, link.heartbeat ? 1 : 0);
        }
      },
    );
    this.#gauge(
      "hothot_peer_queued_bytes",
      "Bytes that wait to be sent to the peer.",
      ["peer"],
      (set) => {
        for (const link of links()) set({ peer: link.node }, link.queuedBytes);
      },
    );
    new Counter({
      name: "hothot_peer_sent_bytes_total",
      help: "Bytes of frames sent to the peer.",
      labelNames: ["peer"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const link of links()) this.inc({ peer: link.node }, link.sentBytes);
      },
    });
    this.#gauge(
      "hothot_peer_silence_seconds",
      "Since the peer's last heartbeat.",
      ["peer"],
      (set) => {
        for (const peer of status()?.peers ?? []) {
          if (peer.silentMs !== undefined) set({ peer: peer.node }, peer.silentMs / 1000);
        }
      },
    );
  }

  #addFeedGauges(): void {
    const { status } = this.#sources;
    const perFeed = (name: string, help: string, value: (feed: FeedStatus) => number): void => {
      this.#gauge(`hothot_feed_${name}`, help, ["shard", "learner"], (set) => {
        for (const { shard, feeds } of status()?.shards ?? []) {
          for (const feed of feeds) set({ shard, learner: feed.learner }, value(feed));
        }
      });
    };
    perFeed(
      "sent_bytes",
      "Bytes of keys and values copied to the learner.",
      (feed) => feed.bytesSent,
    );
    perFeed("sent_slots", "Slots that the learner was sent.", (feed) => feed.slotsSent);
    perFeed("slots", "Slots of the shard.", (feed) => feed.slots);
    perFeed("bytes_per_second", "Rate of the copy to the learner since it began.", (feed) =>
      feed.sinceMs > 0 ? (feed.bytesSent * 1000) / feed.sinceMs : 0,
    );
    perFeed(
      "remaining_seconds",
      "Time that the copy still takes at its rate so far.",
      (feed) => remainingMs(feed) / 1000,
    );
    this.#gauge(
      "hothot_copies_waiting",
      "Full copies that wait for their turn at this node.",
      [],
      (set) => set({}, status()?.copiesWaiting ?? 0),
    );
  }

  #addDiskGauges(): void {
    const { disk } = this.#sources;
    const gauge = (
      name: string,
      help: string,
      value: (status: NonNullable<ReturnType<typeof disk>>) => number,
    ): void => {
      this.#gauge(`hothot_disk_${name}`, help, [], (set) => {
        const found = disk();
        if (found !== undefined) set({}, value(found));
      });
    };
    gauge("pending_bytes", "Bytes that wait to be written.", (found) => found.pendingBytes);
    gauge("written_bytes", "Bytes written since the start.", (found) => found.bytesWritten);
    gauge("batches", "Batches written since the start.", (found) => found.batches);
    gauge(
      "last_flush_seconds",
      "Time of the last batch that was synced.",
      (found) => found.lastFlushMs / 1000,
    );
    gauge(
      "checkpoint_age_seconds",
      "Age of the oldest checkpoint of a shard.",
      (found) => found.checkpointAgeMs / 1000,
    );
    gauge("failed", "1 if the disk failed and nothing is written.", (found) =>
      found.failure === undefined ? 0 : 1,
    );
  }

  #addCoreCounters(): void {
    for (const [field, help] of Object.entries(CORE_COUNTERS)) {
      const { status } = this.#sources;
      const words = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      new Counter({
        name: `hothot_${words}_total`,
        help,
        registers: [this.registry],
        collect() {
          // The core counts; the library only takes increments.
          this.reset();
          this.inc(status()?.counters[field as keyof CoreCounters] ?? 0);
        },
      });
    }
  }
}
