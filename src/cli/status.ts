/** `hothot status`: how a cluster stands, as its nodes tell it. */

import type { Command } from "commander";
import {
  type Failover,
  type NodeStatus,
  remainingMs,
  type ShardStatus,
} from "../replica/surface.ts";
import { type NodeView, viewCluster } from "./node-view.ts";
import { type Address, DEFAULT_DIR, parseAddress } from "./options.ts";
import { formatTable, printLine } from "./output.ts";

/** Failures of nodes that are listed; each may have changed many shards. */
const INCIDENTS_MAX = 10;
/** Failovers of one node that end within this time belong to one failure. */
const INCIDENT_MS_MAX = 2_000;

/** Adds the command `status`. */
export function addStatusCommand(program: Command): void {
  program
    .command("status")
    .description("show nodes, shards, leases and the last failovers")
    .option("--dir <path>", "state directory", DEFAULT_DIR)
    .option("--node <host:port>", "HTTP address of any node of a cluster elsewhere", parseAddress)
    .option("--json", "print everything that the nodes say")
    .action(
      async (options: { readonly dir: string; readonly node?: Address; readonly json?: true }) => {
        const nodes = await viewCluster(options);
        if (options.json === true) printLine(JSON.stringify({ nodes }, undefined, 2));
        else for (const line of describeCluster(nodes)) printLine(line);
        // A script may ask just for this: status 0 says that every node is ready.
        process.exitCode = nodes.every((node) => node.answer?.status.isReady === true) ? 0 : 2;
      },
    );
}

/** The whole report, line by line. */
export function describeCluster(nodes: readonly NodeView[]): string[] {
  return [
    ...describeNodes(nodes),
    "",
    ...describeShards(nodes),
    ...describeFeeds(nodes),
    ...describeWaiting(nodes),
    "",
    ...describeFailovers(nodes),
  ];
}

function describeNodes(nodes: readonly NodeView[]): string[] {
  const rows = nodes.map((node) => {
    const status = node.answer?.status;
    const address = [`${node.host}:${node.respPort}`, `http://${node.host}:${node.httpPort}`];
    if (status === undefined) return [node.id, node.trouble ?? "no answer", ...address];
    const led = status.shards.filter((shard) => shard.role === "primary").length;
    const serving = status.shards.filter((shard) => shard.serves).length;
    const keys = status.shards.reduce(
      (sum, shard) => sum + (shard.role === "primary" ? shard.keys : 0),
      0,
    );
    return [
      node.id,
      stateOf(status),
      ...address,
      String(led),
      `${serving}/${status.shards.filter((shard) => shard.role !== "none").length}`,
      String(keys),
      String(status.operations),
    ];
  });
  return formatTable(
    ["node", "state", "RESP", "HTTP", "primary of", "serves", "keys", "in flight"],
    rows,
  );
}

function stateOf({ lacksDisk, isDrained, isReady }: NodeStatus): string {
  // It may have left everything for that, or serve what it can.
  if (lacksDisk) return "disk failed";
  if (isDrained) return "drained";
  return isReady ? "ready" : "not ready";
}

/** How learners catch up, where any does. */
function describeFeeds(nodes: readonly NodeView[]): string[] {
  const rows = newestViews(nodes).flatMap(({ shard, copies }) =>
    copies.flatMap(({ node, shard: view }) =>
      view.epoch !== shard.epoch
        ? []
        : view.feeds.map((feed) => [
            String(shard.shard),
            feed.learner,
            node,
            feed.kind,
            `${feed.slotsSent}/${feed.slots}`,
            megabytes(feed.bytesSent),
            feed.sinceMs > 0 ? `${megabytes((feed.bytesSent * 1000) / feed.sinceMs)}/s` : "-",
            feed.slotsSent === feed.slots ? "-" : `${(remainingMs(feed) / 1000).toFixed(1)} s`,
          ]),
    ),
  );
  const waiting = nodes.reduce((sum, { answer }) => sum + (answer?.status.copiesWaiting ?? 0), 0);
  if (rows.length === 0 && waiting === 0) return [];
  const heads = ["shard", "learner", "from", "by", "slots", "sent", "rate", "left"];
  return [
    "",
    `Catching up (${waiting} full copies wait for their turn):`,
    ...formatTable(heads, rows),
  ];
}

/** What keeps shards from going on after all of their in-sync members have restarted. */
function describeWaiting(nodes: readonly NodeView[]): string[] {
  const lines = newestViews(nodes).flatMap(({ shard, copies }) => {
    const missing = new Set(
      copies
        .filter((copy) => copy.shard.epoch === shard.epoch)
        .flatMap((copy) => copy.shard.waitsFor),
    );
    const serves = copies.some((copy) => copy.shard.serves);
    return serves || missing.size === 0
      ? []
      : [`Shard ${shard.shard} waits for ${[...missing].sort().join(", ")}.`];
  });
  if (lines.length === 0) return [];
  return [
    "",
    ...lines,
    "Start these nodes, or, if one is gone for good: hothot recover --lost NODE",
  ];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function describeShards(nodes: readonly NodeView[]): string[] {
  const rows = newestViews(nodes).map(({ shard, copies }) => {
    const members = copies.filter((copy) => shard.inSync.includes(copy.node));
    const lag = Math.max(0, ...members.map((copy) => copy.shard.lag));
    const leases = members.filter((copy) => copy.shard.hasLease).map((copy) => copy.node);
    const learners = copies
      .filter((copy) => copy.shard.role === "learner")
      .map((copy) => copy.node);
    return [
      String(shard.shard),
      `${shard.firstSlot}-${shard.lastSlot}`,
      String(shard.epoch),
      shard.primary,
      shard.inSync.join(","),
      leases.join(",") || "none",
      learners.join(",") || "-",
      String(lag),
      String(shard.keys),
    ];
  });
  if (rows.length === 0) return ["No node tells of its shards."];
  return formatTable(
    ["shard", "slots", "epoch", "primary", "in sync", "leases", "learners", "lag", "keys"],
    rows,
  );
}

interface Copy {
  readonly node: string;
  readonly shard: ShardStatus;
}

/** Each shard as the node sees it that knows its newest epoch and has the most of it, with every node's own view. */
function newestViews(
  nodes: readonly NodeView[],
): { readonly shard: ShardStatus; readonly copies: readonly Copy[] }[] {
  const copies = new Map<number, Copy[]>();
  for (const node of nodes) {
    for (const shard of node.answer?.status.shards ?? []) {
      const list = copies.get(shard.shard) ?? [];
      list.push({ node: node.id, shard });
      copies.set(shard.shard, list);
    }
  }
  return [...copies.entries()]
    .sort(([a], [b]) => a - b)
    .flatMap(([, list]) => {
      const [newest] = [...list].sort(
        (a, b) => b.shard.epoch - a.shard.epoch || b.shard.commitSeq - a.shard.commitSeq,
      );
      return newest === undefined ? [] : [{ shard: newest.shard, copies: list }];
    });
}

interface Incident {
  readonly seenBy: string;
  readonly failovers: readonly Failover[];
}

function describeFailovers(nodes: readonly NodeView[]): string[] {
  const incidents = nodes
    .flatMap((node) => groupIncidents(node.id, node.answer?.status.failovers ?? []))
    .sort((a, b) => endOf(a) - endOf(b))
    .slice(-INCIDENTS_MAX);
  if (incidents.length === 0) return ["No failovers."];
  const rows = incidents.map(({ seenBy, failovers }) => {
    const detections = failovers.flatMap((each) =>
      each.detectionMs === undefined ? [] : [each.detectionMs],
    );
    return [
      new Date(Math.max(...failovers.map((each) => each.atWallMs))).toISOString(),
      [...new Set(failovers.flatMap((each) => each.removed))].join(",") || "-",
      seenBy,
      String(failovers.length),
      String(failovers.filter((each) => each.newPrimary !== each.oldPrimary).length),
      detections.length === 0 ? "-" : milliseconds(Math.max(...detections)),
      milliseconds(Math.max(...failovers.map((each) => each.reconfigurationMs))),
      milliseconds(Math.max(...failovers.map((each) => each.gapMs))),
    ];
  });
  return [
    "Last failovers (the longest time of their shards):",
    ...formatTable(
      ["at", "removed", "seen by", "shards", "moved", "T_F", "reconfiguration", "T_C"],
      rows,
    ),
  ];
}

/** Gathers the failovers of one node that one failure caused; they are listed in the order of their ends. */
function groupIncidents(seenBy: string, failovers: readonly Failover[]): Incident[] {
  const incidents: { seenBy: string; failovers: Failover[] }[] = [];
  for (const failover of failovers) {
    const last = incidents.at(-1);
    const first = last?.failovers[0];
    const belongs =
      first !== undefined &&
      failover.atWallMs - first.atWallMs <= INCIDENT_MS_MAX &&
      failover.removed.join() === first.removed.join();
    if (last !== undefined && belongs) last.failovers.push(failover);
    else incidents.push({ seenBy, failovers: [failover] });
  }
  return incidents;
}

function endOf(incident: Incident): number {
  return Math.max(...incident.failovers.map((each) => each.atWallMs));
}

function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}
