/** How each data command finds its shard or shards. */

import type { DataCommand } from "../commands/spec.ts";
import { dataCommands } from "../commands/table.ts";

/** How the answers of several shards become one. */
export type Merge = "values" | "sum" | "ok" | "concatenation";

/**
 * - `keys`: all of its keys are in one shard, which runs it.
 * - `split`: its keys may be in several shards; each gets its part.
 * - `every-shard`: has no key and runs on all shards.
 * - `any-shard`: has no key; shards are asked one after the other until one has something.
 * - `scan`: has no key but a cursor, which names the shard.
 */
export type Way =
  | { readonly kind: "keys" }
  | { readonly kind: "split"; readonly merge: Exclude<Merge, "concatenation"> }
  | { readonly kind: "every-shard"; readonly merge: Exclude<Merge, "values"> }
  | { readonly kind: "any-shard" }
  | { readonly kind: "scan" };

/** A command with what the router has to know of it. */
export interface Route {
  readonly command: DataCommand;
  readonly isWrite: boolean;
  readonly way: Way;
  /** The common case: its first argument is the only key. */
  readonly hasOneKey: boolean;
}

const BY_KEYS: Way = { kind: "keys" };
const SUM: Way = { kind: "split", merge: "sum" };
const EVERY_OK: Way = { kind: "every-shard", merge: "ok" };

const WAYS: ReadonlyMap<string, Way> = new Map<string, Way>([
  ["mget", { kind: "split", merge: "values" }],
  ["mset", { kind: "split", merge: "ok" }],
  ["del", SUM],
  ["unlink", SUM],
  ["exists", SUM],
  ["touch", SUM],
  ["dbsize", { kind: "every-shard", merge: "sum" }],
  ["keys", { kind: "every-shard", merge: "concatenation" }],
  ["flushall", EVERY_OK],
  ["flushdb", EVERY_OK],
  ["randomkey", { kind: "any-shard" }],
  ["scan", { kind: "scan" }],
]);

const routes = new Map<DataCommand, Route>();
for (const command of dataCommands) {
  const way = WAYS.get(command.name) ?? BY_KEYS;
  routes.set(command, {
    command,
    isWrite: command.flags.includes("write"),
    way,
    hasOneKey: way.kind === "keys" && command.firstKey === 1 && command.lastKey === 1,
  });
}

/** @returns the route of a command of the table, undefined for any other. */
export function routeOf(command: DataCommand): Route | undefined {
  return routes.get(command);
}
