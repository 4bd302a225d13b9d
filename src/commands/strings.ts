/** The string commands. */

import type { Keyspace } from "../data/keyspace.ts";
import { OK, type Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { addIntegers, type Integer, parseInteger } from "./integer.ts";
import { INCREMENT_OVERFLOW, NOT_AN_INTEGER } from "./refusals.ts";
import type { DataCommand } from "./spec.ts";

type Args = readonly string[];

/** The argument at `index`, which the arity promises. */
function arg(args: Args, index: number): string {
  const value = args[index];
  assert(value !== undefined, "the arity has been checked");
  return value;
}

function get(keyspace: Keyspace, args: Args): Reply {
  return keyspace.value(arg(args, 1)) ?? null;
}

function set(keyspace: Keyspace, args: Args): Reply {
  keyspace.set(arg(args, 1), arg(args, 2), 0);
  return OK;
}

function incrementBy(keyspace: Keyspace, key: string, delta: Integer): Reply {
  const value = keyspace.value(key);
  const before = value === undefined ? 0 : parseInteger(value);
  if (before === undefined) return NOT_AN_INTEGER;
  const after = addIntegers(before, delta);
  if (after === undefined) return INCREMENT_OVERFLOW;
  keyspace.setKeepingExpiry(key, String(after));
  return after;
}

export const stringCommands: readonly DataCommand[] = [
  {
    name: "get",
    arity: 2,
    flags: ["readonly", "fast"],
    firstKey: 1,
    lastKey: 1,
    keyStep: 1,
    categories: ["@read", "@string", "@fast"],
    summary: "Tells the value of a key.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: get,
  },
  {
    name: "set",
    arity: -3,
    flags: ["write", "denyoom"],
    firstKey: 1,
    lastKey: 1,
    keyStep: 1,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the value of a key.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: set,
  },
  {
    name: "incr",
    arity: 2,
    flags: ["write", "denyoom", "fast"],
    firstKey: 1,
    lastKey: 1,
    keyStep: 1,
    categories: ["@write", "@string", "@fast"],
    summary: "Adds one to the integer that a key holds.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: (keyspace, args) => incrementBy(keyspace, arg(args, 1), 1),
  },
];
