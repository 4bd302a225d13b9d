/** What `hothot up` and `hothot init` ask about a cluster's settings, and how the answers go together. */

import { type Command, Option } from "commander";
import { DEFAULT_SETTINGS } from "../register/placement.ts";
import type { Settings } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { parseCount } from "./options.ts";

/** The settings as given; every value checked by itself, not yet together. */
export interface ClusterFlags {
  readonly shards: number;
  readonly replicas?: number;
  readonly replication: "sync" | "async";
  readonly minInSync: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly heartbeatChannel: Settings["heartbeatChannel"];
  readonly durability?: Settings["durability"];
  readonly flushMs: number;
}

/**
 * Adds the options of `ClusterFlags` to a command.
 * @param nodesMax most nodes that a cluster of this command can have.
 */
export function addClusterOptions(command: Command, nodesMax: number): Command {
  return command
    .option("--shards <count>", "number of shards", parseCount(1, 1024), 16)
    .option(
      "--replicas <count>",
      "copies of each shard (default: 3, or one per node)",
      parseCount(1, nodesMax),
    )
    .addOption(
      new Option(
        "--replication <mode>",
        "what an answer to a write waits for: all in-sync copies, or the primary alone",
      )
        .choices(["sync", "async"])
        .default("sync"),
    )
    .option(
      "--min-in-sync <count>",
      "copies in sync below which writes are refused",
      parseCount(1, nodesMax),
      1,
    )
    .option("--heartbeat-ms <ms>", "time between heartbeats", parseCount(5, 10_000), 50)
    .option(
      "--lease-ms <ms>",
      "how long a heartbeat's echo lets a node serve",
      parseCount(50, 60_000),
      300,
    )
    .addOption(
      new Option("--heartbeat-channel <channel>", "what heartbeats between nodes go over")
        .choices(["udp", "tcp"])
        .default(DEFAULT_SETTINGS.heartbeatChannel),
    )
    .addOption(
      new Option(
        "--durability <kind>",
        "what an acknowledged write has come to: the disk of every in-sync copy, their disks within --flush-ms, or their memory",
      ).choices(["fsync", "async", "none"]),
    )
    .option(
      "--flush-ms <ms>",
      "time between two flushes with --durability async",
      parseCount(1, 600_000),
      DEFAULT_SETTINGS.flushMs,
    );
}

/**
 * @param nodeCount number of the cluster's nodes.
 * @throws CliError if the settings do not go together.
 */
export function settingsOf(flags: ClusterFlags, nodeCount: number): Settings {
  const replicas = flags.replicas ?? Math.min(3, nodeCount);
  if (replicas > nodeCount) {
    throw new CliError(`--replicas ${replicas} needs as many nodes; there are ${nodeCount}.`);
  }
  if (flags.minInSync > replicas) {
    throw new CliError(
      `--min-in-sync ${flags.minInSync} can never be met with ${replicas} copies of a shard.`,
    );
  }
  if (flags.leaseMs < 2 * flags.heartbeatMs) {
    throw new CliError(
      "--lease-ms has to be at least twice --heartbeat-ms, or no lease would hold.",
    );
  }
  return {
    ...DEFAULT_SETTINGS,
    replication: flags.replication,
    minInSync: flags.minInSync,
    replicas,
    shardCount: flags.shards,
    heartbeatMs: flags.heartbeatMs,
    leaseMs: flags.leaseMs,
    heartbeatChannel: flags.heartbeatChannel,
    durability: flags.durability ?? DEFAULT_SETTINGS.durability,
    flushMs: flags.flushMs,
  };
}
