/** Checks a configuration document that came from outside (the register, a peer, a file) before anything trusts it. */

import {
  type Configuration,
  type Member,
  NODES_MAX,
  type NodeRecord,
  type Settings,
  type ShardRecord,
  SLOT_COUNT,
} from "./configuration.ts";

/** The document is not one that this program understands. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  readonly code: "malformed" | "newer-format";

  constructor(code: "malformed" | "newer-format", message: string) {
    super(message);
    this.code = code;
  }
}

const FORMAT = 1;
const INCARNATION_END = 2 ** 48;
/** Short, because stamps carry it; and safe in addresses, file names and log lines. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;
const CLUSTER_ID = /^[\x21-\x7e]{1,128}$/;
const REPLICATIONS = ["sync", "async"] as const;
const DURABILITIES = ["fsync", "async", "none"] as const;
const CHANNELS = ["udp", "tcp"] as const;
/** As a name, or nothing. */
const ZONE = /^[A-Za-z0-9_.-]{0,64}$/;

/**
 * @param value what `JSON.parse` gave.
 * @returns a fresh document with exactly the known fields.
 * @throws ConfigurationError naming the first thing that is wrong.
 */
export function parseConfiguration(value: unknown): Configuration {
  const document = object(value, "the configuration");
  const format = document["format"];
  if (typeof format === "number" && format > FORMAT) {
    throw new ConfigurationError(
      "newer-format",
      `the configuration has format ${format}, this program knows up to ${FORMAT}`,
    );
  }
  if (format !== FORMAT) throw malformed("format", "must be 1");
  const clusterId = text(document["clusterId"], "clusterId", CLUSTER_ID);
  const version = integer(document["version"], "version", 1);
  const settings = parseSettings(document["settings"]);
  const nodes = list(document["nodes"], "nodes").map(parseNode);
  if (nodes.length === 0 || nodes.length > NODES_MAX) {
    throw malformed("nodes", `must be 1 to ${NODES_MAX}`);
  }
  const ids = new Set(nodes.map((node) => node.id));
  if (ids.size !== nodes.length) throw malformed("nodes", "has one id twice");
  const shards = list(document["shards"], "shards").map((shard, index) =>
    parseShard(shard, index, ids),
  );
  checkSlots(shards, settings);
  return { format: FORMAT, clusterId, version, settings, nodes, shards };
}

function parseSettings(value: unknown): Settings {
  const settings = object(value, "settings");
  const driftBound = settings["driftBound"];
  if (typeof driftBound !== "number" || !(driftBound >= 0 && driftBound < 1)) {
    throw malformed("settings.driftBound", "must be from 0 to below 1");
  }
  return {
    replication: oneOf(settings["replication"], "settings.replication", REPLICATIONS),
    minInSync: integer(settings["minInSync"], "settings.minInSync", 1),
    replicas: integer(settings["replicas"], "settings.replicas", 1),
    shardCount: integer(settings["shardCount"], "settings.shardCount", 1, SLOT_COUNT),
    heartbeatMs: positive(settings["heartbeatMs"], "settings.heartbeatMs"),
    leaseMs: positive(settings["leaseMs"], "settings.leaseMs"),
    driftBound,
    durability: oneOf(settings["durability"], "settings.durability", DURABILITIES),
    flushMs: positive(settings["flushMs"], "settings.flushMs"),
    heartbeatChannel: oneOf(settings["heartbeatChannel"], "settings.heartbeatChannel", CHANNELS),
  };
}

function parseNode(value: unknown, index: number): NodeRecord {
  const at = `nodes[${index}]`;
  const node = object(value, at);
  const host = node["host"];
  if (typeof host !== "string" || host === "" || host.length > 255) {
    throw malformed(`${at}.host`, "must be a host name or address");
  }
  return {
    id: text(node["id"], `${at}.id`, NAME),
    host,
    zone: text(node["zone"], `${at}.zone`, ZONE),
    peerPort: integer(node["peerPort"], `${at}.peerPort`, 0, 65_535),
    respPort: integer(node["respPort"], `${at}.respPort`, 0, 65_535),
    httpPort: integer(node["httpPort"], `${at}.httpPort`, 0, 65_535),
    incarnation: incarnation(node["incarnation"], `${at}.incarnation`),
  };
}

function parseShard(value: unknown, index: number, ids: ReadonlySet<string>): ShardRecord {
  const at = `shards[${index}]`;
  const shard = object(value, at);
  if (shard["id"] !== index) throw malformed(`${at}.id`, `must be ${index}`);
  const known = (name: unknown, path: string): string => {
    const id = text(name, path, NAME);
    if (!ids.has(id)) throw malformed(path, `names no node: ${id}`);
    return id;
  };
  const replicas = list(shard["replicas"], `${at}.replicas`).map((name) =>
    known(name, `${at}.replicas`),
  );
  if (replicas.length === 0 || new Set(replicas).size !== replicas.length) {
    throw malformed(`${at}.replicas`, "must be different nodes, at least one");
  }
  const inSync = list(shard["inSync"], `${at}.inSync`).map((item): Member => {
    const member = object(item, `${at}.inSync`);
    return {
      node: known(member["node"], `${at}.inSync.node`),
      incarnation: incarnation(member["incarnation"], `${at}.inSync.incarnation`),
      since: integer(member["since"], `${at}.inSync.since`, 0),
    };
  });
  if (new Set(inSync.map((member) => member.node)).size !== inSync.length) {
    throw malformed(`${at}.inSync`, "has one node twice");
  }
  return {
    id: index,
    firstSlot: integer(shard["firstSlot"], `${at}.firstSlot`, 0, SLOT_COUNT - 1),
    lastSlot: integer(shard["lastSlot"], `${at}.lastSlot`, 0, SLOT_COUNT - 1),
    replicas,
    epoch: integer(shard["epoch"], `${at}.epoch`, 0),
    primary: known(shard["primary"], `${at}.primary`),
    inSync,
  };
}

/** Every slot is in exactly one shard. Shards that were divided from others are numbered behind them. */
function checkSlots(shards: readonly ShardRecord[], settings: Settings): void {
  if (shards.length < settings.shardCount) {
    throw malformed("shards", `must be ${settings.shardCount} or more`);
  }
  let next = 0;
  for (const shard of [...shards].sort((a, b) => a.firstSlot - b.firstSlot)) {
    if (shard.firstSlot !== next || shard.lastSlot < shard.firstSlot) {
      throw malformed(`shards[${shard.id}]`, "leaves a gap, or overlaps another");
    }
    next = shard.lastSlot + 1;
  }
  if (next !== SLOT_COUNT) throw malformed("shards", "do not cover all slots");
}

function oneOf<T extends string>(value: unknown, path: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw malformed(path, `must be one of ${choices.join(", ")}`);
  return found;
}

function object(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed(path, "must be an object");
  }
  return value as Readonly<Record<string, unknown>>;
}

function list(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(path, "must be a list");
  return value;
}

function integer(value: unknown, path: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
    throw malformed(path, `must be an integer from ${min} to ${max}`);
  }
  return value;
}

function positive(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
    throw malformed(path, "must be a number above 0");
  }
  return value;
}

function incarnation(value: unknown, path: string): number {
  return integer(value, path, 0, INCARNATION_END - 1);
}

function text(value: unknown, path: string, pattern: RegExp): string {
  if (typeof value !== "string" || !pattern.test(value)) {
    throw malformed(path, `must match ${pattern}`);
  }
  return value;
}

function malformed(path: string, problem: string): ConfigurationError {
  return new ConfigurationError("malformed", `${path} ${problem}`);
}
