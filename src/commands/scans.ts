/**
 * The commands on all keys of a shard. The router runs them on every shard, or walks the shards, and merges the answers.
 * Keys past their time are left out but not deleted; only DBSIZE counts them, as in Redis.
 */

import type { Keyspace } from "../data/keyspace.ts";
import { OK, Refusal, type Reply } from "../data/reply.ts";
import { globMatches } from "../kit/glob.ts";
import { type Args, arg, NO_KEYS } from "./arguments.ts";
import { parseInteger } from "./integer.ts";
import { INVALID_CURSOR, NOT_AN_INTEGER, SYNTAX_ERROR } from "./refusals.ts";
import type { DataCommand } from "./spec.ts";

/** SCAN stops at the end of the slot in which it has seen so many keys, unless it is told another number. */
const SCAN_COUNT_DEFAULT = 10;
const CURSOR_MAX = 2n ** 64n - 1n;

export const scanCommands: readonly DataCommand[] = [
  {
    name: "dbsize",
    arity: 1,
    flags: ["readonly", "fast"],
    ...NO_KEYS,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Counts all keys.",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    run: dbSize,
  },
  {
    name: "flushall",
    arity: -1,
    flags: ["write"],
    ...NO_KEYS,
    categories: ["@keyspace", "@write", "@slow", "@dangerous"],
    summary: "Deletes all keys of all databases, of which there is one.",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) with N keys",
    run: flush,
  },
  {
    name: "flushdb",
    arity: -1,
    flags: ["write"],
    ...NO_KEYS,
    categories: ["@keyspace", "@write", "@slow", "@dangerous"],
    summary: "Deletes all keys.",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) with N keys",
    run: flush,
  },
  {
    name: "keys",
    arity: 2,
    flags: ["readonly"],
    ...NO_KEYS,
    categories: ["@keyspace", "@read", "@slow", "@dangerous"],
    summary: "Lists the keys that match a pattern.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) with N keys",
    run: keys,
  },
  {
    name: "randomkey",
    arity: 1,
    flags: ["readonly"],
    ...NO_KEYS,
    categories: ["@keyspace", "@read", "@slow"],
    summary: "Tells some key.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(S+M) with S slots, and M keys in the slot of the key",
    addedArguments: 1,
    run: randomKey,
  },
  {
    name: "scan",
    arity: -2,
    flags: ["readonly"],
    ...NO_KEYS,
    categories: ["@keyspace", "@read", "@slow"],
    summary: "Lists the keys some at a time.",
    since: "2.8.0",
    group: "generic",
    complexity: "O(1) for a call, O(N) for all calls with N keys",
    run: scan,
  },
];

function dbSize(keyspace: Keyspace): Reply {
  keyspace.noteAll();
  return keyspace.size;
}

/** In whatever way it is asked for, it is done when it is answered. */
function flush(keyspace: Keyspace, args: Args): Reply {
  const way = args.at(1)?.toUpperCase();
  const isKnown = way === undefined || way === "SYNC" || way === "ASYNC";
  if (args.count > 2 || !isKnown) return SYNTAX_ERROR;
  keyspace.flush();
  return OK;
}

function keys(keyspace: Keyspace, args: Args): Reply {
  const pattern = arg(args, 1);
  const found: string[] = [];
  keyspace.noteAll();
  for (let slot = keyspace.firstSlot; slot <= keyspace.lastSlot; slot++) {
    for (const key of keyspace.keysOfSlot(slot)) if (globMatches(pattern, key)) found.push(key);
  }
  return found;
}

/**
 * A shard has no randomness of its own, so the router adds an argument that no client sends: a random integer from 0 on,
 * from which the key follows. Without it, it is 0.
 */
function randomKey(keyspace: Keyspace, args: Args): Reply {
  const random = parseInteger(args.at(1) ?? "0");
  if (typeof random !== "number" || random < 0) return NOT_AN_INTEGER;
  keyspace.noteAll();
  if (keyspace.size === 0) return null;

  let skip = random % keyspace.size;
  let slot = keyspace.firstSlot;
  for (; skip >= keyspace.sizeOfSlot(slot); slot++) skip -= keyspace.sizeOfSlot(slot);
  // Whoever is past their time is passed over, and at worst all are: once round, and the first slot again from its start.
  const slotCount = keyspace.lastSlot - keyspace.firstSlot + 1;
  for (let step = 0; step <= slotCount; step++) {
    for (const key of keyspace.keysOfSlot(slot)) {
      if (skip <= 0) return key;
      skip--;
    }
    skip = 0;
    slot = slot === keyspace.lastSlot ? keyspace.firstSlot : slot + 1;
  }
  return null;
}

interface ScanOptions {
  pattern: string | undefined;
  count: number;
  type: string | undefined;
}

/**
 * The cursor is the slot to go on with. Whole slots are listed at a time, so a key that exists all the while is listed
 * exactly once, whatever else happens. At the end of the shard the cursor is the first slot of the next; it is for the
 * router to say 0 at the end of the last.
 */
function scan(keyspace: Keyspace, args: Args): Reply {
  const cursor = parseCursor(arg(args, 1));
  if (cursor === undefined) return INVALID_CURSOR;
  const options = parseScanOptions(args);
  if (options instanceof Refusal) return options;

  keyspace.noteAll();
  const found: string[] = [];
  let slot = Math.max(cursor, keyspace.firstSlot);
  for (let seen = 0; slot <= keyspace.lastSlot && seen < options.count; slot++) {
    seen += keyspace.sizeOfSlot(slot);
    if (options.type !== undefined && options.type !== "string") continue;
    for (const key of keyspace.keysOfSlot(slot)) {
      if (options.pattern === undefined || globMatches(options.pattern, key)) found.push(key);
    }
  }
  return [String(Math.min(slot, keyspace.lastSlot + 1)), found];
}

/** @returns what fits into 64 bits unsigned, as a number, 0 for nothing at all; undefined for anything else. */
function parseCursor(text: string): number | undefined {
  if (!/^\d*$/.test(text) || BigInt(text.slice(0, 64)) > CURSOR_MAX) return undefined;
  return Number(text);
}

function parseScanOptions(args: Args): ScanOptions | Refusal {
  const options: ScanOptions = {
    pattern: undefined,
    count: SCAN_COUNT_DEFAULT,
    type: undefined,
  };
  for (let i = 2; i < args.count; i += 2) {
    const text = args.at(i + 1);
    if (text === undefined) return SYNTAX_ERROR;
    switch (arg(args, i).toUpperCase()) {
      case "MATCH":
        options.pattern = text;
        break;
      case "COUNT": {
        const count = parseInteger(text);
        if (count === undefined) return NOT_AN_INTEGER;
        if (count < 1) return SYNTAX_ERROR;
        options.count = Number(count);
        break;
      }
      case "TYPE":
        options.type = text.toLowerCase();
        break;
      default:
        return SYNTAX_ERROR;
    }
  }
  return options;
}
