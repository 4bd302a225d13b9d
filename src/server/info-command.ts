/** INFO: what this node is and does, in Redis's sections and one of our own. */

import { type Reply, VerbatimReply } from "../data/reply.ts";
import type { ShardStatus } from "../replica/surface.ts";
import { answerLater } from "./answer-later.ts";
import type { Args, Context, Host, ServerCommand } from "./client.ts";
import { REDIS_VERSION } from "./connection-commands.ts";
import { defineCommand } from "./define-command.ts";
import type { NodeReport } from "./node-wide.ts";

/** What the sections are made of. */
interface Subject extends NodeReport {
  readonly host: Host;
}

type Fields = readonly (readonly [name: string, value: string | number])[];

const SECTIONS: readonly {
  readonly name: string;
  readonly fields: (subject: Subject) => Fields;
}[] = [
  { name: "Server", fields: serverFields },
  { name: "Clients", fields: clientsFields },
  { name: "Memory", fields: memoryFields },
  { name: "Stats", fields: statsFields },
  { name: "Replication", fields: replicationFields },
  { name: "Cluster", fields: () => [["cluster_enabled", 0]] },
  { name: "Hothot", fields: hothotFields },
  { name: "Keyspace", fields: keyspaceFields },
];

const EVERYTHING: readonly string[] = ["all", "everything", "default"];
const KIB = 1024;

export const infoCommand: ServerCommand = defineCommand({
  name: "info",
  arity: -1,
  flags: ["loading", "stale"],
  categories: ["@slow", "@dangerous"],
  summary: "Tells about this node: [section ...].",
  group: "server",
  run: info,
});

function info(args: Args, context: Context): Reply | undefined {
  const wanted = args.slice(1).map((name) => name.toLowerCase());
  const isAll = wanted.length === 0 || wanted.some((name) => EVERYTHING.includes(name));
  const sections = SECTIONS.filter(({ name }) => isAll || wanted.includes(name.toLowerCase()));
  const { host } = context;
  answerLater(context, (take) =>
    host.nodeWide.report((report) => {
      const texts = sections.map(({ name, fields }) => {
        const lines = fields({ host, ...report }).map(([field, value]) => `${field}:${value}\r\n`);
        return `# ${name}\r\n${lines.join("")}`;
      });
      take(new VerbatimReply(texts.join("\r\n")));
    }),
  );
  return undefined;
}

function serverFields({ host }: Subject): Fields {
  const seconds = Math.floor((Date.now() - host.startedAtMs) / 1000);
  return [
    ["redis_version", REDIS_VERSION],
    ["hothot_version", host.version],
    ["redis_mode", "standalone"],
    ["os", `${process.platform} ${process.arch}`],
    ["arch_bits", 64],
    ["node_version", process.version],
    ["process_id", process.pid],
    ["tcp_port", host.port],
    ["server_time_usec", Date.now() * 1000],
    ["uptime_in_seconds", seconds],
    ["uptime_in_days", Math.floor(seconds / 86_400)],
  ];
}

function clientsFields({ host }: Subject): Fields {
  return [
    ["connected_clients", host.nodeWide.connections],
    ["cluster_connections", 0],
    ["maxclients", host.settings.maxClients],
    ["blocked_clients", 0],
  ];
}

function memoryFields({ memory }: Subject): Fields {
  const { heapUsed, heapTotal, external, arrayBuffers } = memory;
  const { rss } = process.memoryUsage();
  const used = heapUsed + external;
  return [
    ["used_memory", used],
    ["used_memory_human", `${(used / KIB / KIB).toFixed(2)}M`],
    ["used_memory_rss", rss],
    ["heap_used", heapUsed],
    ["heap_total", heapTotal],
    ["external_memory", external],
    ["buffer_memory", arrayBuffers],
    ["maxmemory", 0],
    ["maxmemory_policy", "noeviction"],
  ];
}

function statsFields({ counters }: Subject): Fields {
  return [
    ["total_connections_received", counters.connections],
    ["total_commands_processed", counters.commands],
    ["total_net_input_bytes", counters.inputBytes],
    ["total_net_output_bytes", counters.outputBytes],
    ["rejected_connections", counters.rejectedConnections],
    ["total_error_replies", counters.refusals],
    ["protocol_errors", counters.protocolErrors],
    ["client_output_buffer_limit_disconnections", counters.outputLimitDisconnections],
  ];
}

/** Redis's words for a node that takes writes; that every node does is told by our own section. */
function replicationFields({ configuration }: Subject): Fields {
  return [
    ["role", "master"],
    ["connected_slaves", 0],
    ["hothot_replication", configuration?.settings.replication ?? "unknown"],
  ];
}

function hothotFields({ host, status, configuration }: Subject): Fields {
  const settings = configuration?.settings;
  const fields: (readonly [string, string | number])[] = [
    ["node_id", status.nodeId],
    ["incarnation", status.incarnation],
    ["cluster_id", configuration?.clusterId ?? ""],
    ["configuration_version", status.version],
    ["ready", status.isReady ? 1 : 0],
    ["drained", status.isDrained ? 1 : 0],
    ["operations", status.operations],
    ["threads", host.nodeWide.threads],
    ["nodes", configuration?.nodes.length ?? 0],
    ["shards", configuration?.shards.length ?? 0],
    ["replicas", settings?.replicas ?? 0],
    ["min_in_sync", settings?.minInSync ?? 0],
    ["replication_mode", settings?.replication ?? "unknown"],
    ["replication_promise", promiseOf(settings?.replication)],
  ];
  for (const [name, count] of Object.entries(status.counters)) fields.push([name, Number(count)]);
  for (const peer of status.peers) {
    const state = peer.connected ? "up" : "down";
    fields.push([`peer_${peer.node}`, `link=${state},silent_ms=${peer.silentMs ?? -1}`]);
  }
  for (const shard of status.shards) fields.push([`shard_${shard.shard}`, describeShard(shard)]);
  return fields;
}

function promiseOf(replication: "sync" | "async" | undefined): string {
  switch (replication) {
    case "sync":
      return "an acknowledged write is on every in-sync replica; every answer is linearizable";
    case "async":
      return "an acknowledged write may be lost when a node fails, and a read may miss it or see what is lost later";
    default:
      return "none before the first configuration";
  }
}

function describeShard(shard: ShardStatus): string {
  return [
    `slots=${shard.firstSlot}-${shard.lastSlot}`,
    `role=${shard.role}`,
    `epoch=${shard.epoch}`,
    `primary=${shard.primary}`,
    `in_sync=${shard.inSync.join("|")}`,
    `serves=${shard.serves ? 1 : 0}`,
    `lease=${shard.hasLease ? 1 : 0}`,
    `seq=${shard.lastSeq}`,
    `commit_seq=${shard.commitSeq}`,
    `lag=${shard.lag}`,
    `keys=${shard.keys}`,
    `log_bytes=${shard.logBytes}`,
  ].join(",");
}

/** Of the shards that this node holds a copy of. */
function keyspaceFields({ status }: Subject): Fields {
  const keys = status.shards.reduce((sum, shard) => sum + shard.keys, 0);
  return keys === 0 ? [] : [["db0", `keys=${keys}`]];
}
