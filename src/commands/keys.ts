/** The commands that work on named keys, whatever these hold. */

import type { Keyspace } from "../data/keyspace.ts";
import { OK, Refusal, type Reply, Status } from "../data/reply.ts";
import { ALL_KEYS, type Args, arg, ONE_KEY, TWO_KEYS } from "./arguments.ts";
import { parseInteger } from "./integer.ts";
import {
  DB_OUT_OF_32_BITS,
  DB_OUT_OF_RANGE,
  NO_SUCH_KEY,
  NOT_AN_INTEGER,
  SAME_OBJECT,
  SYNTAX_ERROR,
} from "./refusals.ts";
import type { DataCommand } from "./spec.ts";

const INT32_MAX = 2 ** 31 - 1;
const INT32_MIN = -(2 ** 31);

const TYPE_STRING = new Status("string");
const TYPE_NONE = new Status("none");

export const keyCommands: readonly DataCommand[] = [
  {
    name: "copy",
    arity: -3,
    flags: ["write", "denyoom"],
    ...TWO_KEYS,
    categories: ["@keyspace", "@write", "@slow"],
    summary: "Copies a key with its value and its end to another key.",
    since: "6.2.0",
    group: "generic",
    complexity: "O(1)",
    run: copy,
  },
  {
    name: "del",
    arity: -2,
    flags: ["write"],
    ...ALL_KEYS,
    categories: ["@keyspace", "@write", "@slow"],
    summary: "Deletes keys.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) with N keys",
    run: del,
  },
  {
    name: "exists",
    arity: -2,
    flags: ["readonly", "fast"],
    ...ALL_KEYS,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Counts how many of the named keys exist.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) with N keys",
    run: exists,
  },
  {
    name: "rename",
    arity: 3,
    flags: ["write"],
    ...TWO_KEYS,
    categories: ["@keyspace", "@write", "@slow"],
    summary: "Gives a key another name, replacing the key that had it.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    run: rename,
  },
  {
    name: "renamenx",
    arity: 3,
    flags: ["write", "fast"],
    ...TWO_KEYS,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Gives a key another name unless a key has it.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    run: renameNx,
  },
  {
    name: "touch",
    arity: -2,
    flags: ["readonly", "fast"],
    ...ALL_KEYS,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Counts how many of the named keys exist; nothing else happens to them.",
    since: "3.2.1",
    group: "generic",
    complexity: "O(N) with N keys",
    run: exists,
  },
  {
    name: "type",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Tells the type of the value of a key.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    run: type,
  },
  {
    name: "unlink",
    arity: -2,
    flags: ["write", "fast"],
    ...ALL_KEYS,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Deletes keys; here the same as DEL.",
    since: "4.0.0",
    group: "generic",
    complexity: "O(N) with N keys",
    run: del,
  },
  {
    name: "watch",
    arity: -2,
    flags: ["noscript", "loading", "stale", "fast", "allow_busy"],
    ...ALL_KEYS,
    categories: ["@fast", "@transaction"],
    summary: "Makes the next transaction depend on keys staying as they are.",
    since: "2.2.0",
    group: "transactions",
    complexity: "O(N) with N keys",
    run: watch,
  },
];

function del(keyspace: Keyspace, args: Args): Reply {
  let count = 0;
  for (let i = 1; i < args.count; i++) if (keyspace.delete(arg(args, i))) count++;
  return count;
}

function exists(keyspace: Keyspace, args: Args): Reply {
  let count = 0;
  for (let i = 1; i < args.count; i++) {
    if (keyspace.existsBytes(args.buffer, args.start(i), args.end(i))) count++;
  }
  return count;
}

function type(keyspace: Keyspace, args: Args): Reply {
  return keyspace.exists(arg(args, 1)) ? TYPE_STRING : TYPE_NONE;
}

function rename(keyspace: Keyspace, args: Args): Reply {
  const from = arg(args, 1);
  if (!keyspace.exists(from)) return NO_SUCH_KEY;
  move(keyspace, from, arg(args, 2));
  return OK;
}

function renameNx(keyspace: Keyspace, args: Args): Reply {
  const from = arg(args, 1);
  const to = arg(args, 2);
  if (!keyspace.exists(from)) return NO_SUCH_KEY;
  if (from === to || keyspace.exists(to)) return 0;
  move(keyspace, from, to);
  return 1;
}

/** Two effects, each whole in itself: a replica may have the slot of one key and not yet that of the other. */
function move(keyspace: Keyspace, from: string, to: string): void {
  if (from === to) return;
  duplicate(keyspace, from, to);
  keyspace.delete(from);
}

function duplicate(keyspace: Keyspace, from: string, to: string): void {
  keyspace.set(to, keyspace.value(from) ?? "", keyspace.expireAtMs(from) ?? 0);
}

function copy(keyspace: Keyspace, args: Args): Reply {
  const from = arg(args, 1);
  const to = arg(args, 2);
  const doesReplace = parseCopyOptions(args);
  if (doesReplace instanceof Refusal) return doesReplace;
  if (from === to) return SAME_OBJECT;
  if (!keyspace.exists(from)) return 0;
  if (keyspace.exists(to) && !doesReplace) return 0;
  duplicate(keyspace, from, to);
  return 1;
}

/** @returns whether the destination may be replaced. */
function parseCopyOptions(args: Args): boolean | Refusal {
  let doesReplace = false;
  for (let i = 3; i < args.count; i++) {
    const name = arg(args, i).toUpperCase();
    const text = args.at(i + 1);
    if (name === "REPLACE") {
      doesReplace = true;
    } else if (name === "DB" && text !== undefined) {
      i++;
      const database = parseInteger(text);
      if (database === undefined) return NOT_AN_INTEGER;
      if (database > INT32_MAX || database < INT32_MIN) return DB_OUT_OF_32_BITS;
      if (database !== 0) return DB_OUT_OF_RANGE;
    } else {
      return SYNTAX_ERROR;
    }
  }
  return doesReplace;
}

/** Answers each key's version, for the router to keep until EXEC. A client gets OK for it. */
function watch(keyspace: Keyspace, args: Args): Reply {
  const versions: number[] = [];
  for (let i = 1; i < args.count; i++) versions.push(keyspace.version(arg(args, i)));
  return versions;
}
