/** The string commands. */

import { type Keyspace, VALUE_BYTES_MAX } from "../data/keyspace.ts";
import { MapReply, OK, Refusal, type Reply } from "../data/reply.ts";
import { ALL_KEYS, type Args, arg, KEYS_AND_VALUES, ONE_KEY, TWO_KEYS } from "./arguments.ts";
import {
  MILLISECONDS,
  parsePositiveExpireTime,
  SECONDS,
  type TimeUnit,
  timeOptions,
} from "./expire-time.ts";
import { addIntegers, type Integer, negateInteger, parseInteger } from "./integer.ts";
import { addLongDoubles, formatLongDouble, parseLongDouble } from "./long-double.ts";
import { longestCommon } from "./longest-common.ts";
import {
  DECREMENT_OVERFLOW,
  INCREMENT_OVERFLOW,
  LCS_LENGTH_AND_INDEXES,
  LCS_TOO_BIG,
  NAN_OR_INFINITY,
  NOT_A_FLOAT,
  NOT_AN_INTEGER,
  OFFSET_OUT_OF_RANGE,
  SYNTAX_ERROR,
  VALUE_TOO_LONG,
  wrongArity,
} from "./refusals.ts";
import type { DataCommand } from "./spec.ts";

export const stringCommands: readonly DataCommand[] = [
  {
    name: "append",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Appends to the value of a key, which is created if missing.",
    since: "2.0.0",
    group: "string",
    complexity: "O(M) with M bytes appended",
    run: append,
  },
  {
    name: "decr",
    arity: 2,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Subtracts one from the integer that a key holds; a missing key holds 0.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: decr,
  },
  {
    name: "decrby",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Subtracts a number from the integer that a key holds; a missing key holds 0.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: decrBy,
  },
  {
    name: "get",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@read", "@string", "@fast"],
    summary: "Tells the value of a key.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: get,
  },
  {
    name: "getdel",
    arity: 2,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Tells the value of a key and deletes the key.",
    since: "6.2.0",
    group: "string",
    complexity: "O(1)",
    run: getDel,
  },
  {
    name: "getex",
    arity: -2,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Tells the value of a key and sets or removes its end.",
    since: "6.2.0",
    group: "string",
    complexity: "O(1)",
    run: getEx,
  },
  {
    name: "getrange",
    arity: 4,
    flags: ["readonly"],
    ...ONE_KEY,
    categories: ["@read", "@string", "@slow"],
    summary: "Tells a part of the value of a key.",
    since: "2.4.0",
    group: "string",
    complexity: "O(N) with N bytes told",
    run: getRange,
  },
  {
    name: "getset",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Sets the value of a key and tells the one before.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: getSet,
  },
  {
    name: "incr",
    arity: 2,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Adds one to the integer that a key holds; a missing key holds 0.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: incr,
  },
  {
    name: "incrby",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Adds a number to the integer that a key holds; a missing key holds 0.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: incrBy,
  },
  {
    name: "incrbyfloat",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Adds to the floating-point number that a key holds; a missing key holds 0.",
    since: "2.6.0",
    group: "string",
    complexity: "O(1)",
    run: incrByFloat,
  },
  {
    name: "lcs",
    arity: -3,
    flags: ["readonly"],
    ...TWO_KEYS,
    categories: ["@read", "@string", "@slow"],
    summary: "Finds the longest common subsequence of the values of two keys.",
    since: "7.0.0",
    group: "string",
    complexity: "O(N*M) with values of N and M bytes",
    run: lcs,
  },
  {
    name: "mget",
    arity: -2,
    flags: ["readonly", "fast"],
    ...ALL_KEYS,
    categories: ["@read", "@string", "@fast"],
    summary: "Tells the values of several keys.",
    since: "1.0.0",
    group: "string",
    complexity: "O(N) with N keys",
    run: mGet,
  },
  {
    name: "mset",
    arity: -3,
    flags: ["write", "denyoom"],
    ...KEYS_AND_VALUES,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the values of several keys.",
    since: "1.0.1",
    group: "string",
    complexity: "O(N) with N keys",
    run: mSet,
  },
  {
    name: "msetnx",
    arity: -3,
    flags: ["write", "denyoom"],
    ...KEYS_AND_VALUES,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the values of several keys if none of them exists.",
    since: "1.0.1",
    group: "string",
    complexity: "O(N) with N keys",
    run: mSetNx,
  },
  {
    name: "psetex",
    arity: 4,
    flags: ["write", "denyoom"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the value of a key and its time to live in milliseconds.",
    since: "2.6.0",
    group: "string",
    complexity: "O(1)",
    run: pSetEx,
  },
  {
    name: "set",
    arity: -3,
    flags: ["write", "denyoom"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the value of a key, on conditions and with an end if asked to.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: set,
  },
  {
    name: "setex",
    arity: 4,
    flags: ["write", "denyoom"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@slow"],
    summary: "Sets the value of a key and its time to live in seconds.",
    since: "2.0.0",
    group: "string",
    complexity: "O(1)",
    run: setEx,
  },
  {
    name: "setnx",
    arity: 3,
    flags: ["write", "denyoom", "fast"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@fast"],
    summary: "Sets the value of a key if it does not exist.",
    since: "1.0.0",
    group: "string",
    complexity: "O(1)",
    run: setNx,
  },
  {
    name: "setrange",
    arity: 4,
    flags: ["write", "denyoom"],
    ...ONE_KEY,
    categories: ["@write", "@string", "@slow"],
    summary: "Overwrites a part of the value of a key, which is created if missing.",
    since: "2.2.0",
    group: "string",
    complexity: "O(N) with N bytes in the new value",
    run: setRange,
  },
  {
    name: "strlen",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@read", "@string", "@fast"],
    summary: "Tells how many bytes the value of a key has.",
    since: "2.2.0",
    group: "string",
    complexity: "O(1)",
    run: strLen,
  },
  {
    name: "substr",
    arity: 4,
    flags: ["readonly"],
    ...ONE_KEY,
    categories: ["@read", "@string", "@slow"],
    summary: "Tells a part of the value of a key; an old name of GETRANGE.",
    since: "1.0.0",
    group: "string",
    complexity: "O(N) with N bytes told",
    run: getRange,
  },
];

// --- Whole values ------------------------------------------------------------------------------------------------------

function get(keyspace: Keyspace, args: Args): Reply {
  return keyspace.getBytes(args.buffer, args.start(1), args.end(1)) ?? null;
}

function strLen(keyspace: Keyspace, args: Args): Reply {
  return keyspace.valueBytes(arg(args, 1)) ?? 0;
}

function set(keyspace: Keyspace, args: Args): Reply {
  if (args.count === 3) {
    const { buffer } = args;
    keyspace.setBytes(buffer, args.start(1), args.end(1), buffer, args.start(2), args.end(2));
    return OK;
  }
  const key = arg(args, 1);
  const value = arg(args, 2);
  const options = parseSetOptions(args);
  if (options === undefined) return SYNTAX_ERROR;
  const expireAtMs = endOf(options, "set", keyspace.wallMs);
  if (expireAtMs instanceof Refusal) return expireAtMs;

  const old = options.get || options.condition !== undefined ? keyspace.value(key) : undefined;
  const isWanted =
    options.condition === undefined || (options.condition === "XX") === (old !== undefined);
  if (isWanted) {
    if (options.keepTtl) keyspace.setKeepingExpiry(key, value);
    else setUntil(keyspace, key, value, expireAtMs ?? 0);
  }
  if (options.get) return old ?? null;
  return isWanted ? OK : null;
}

function setNx(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  if (keyspace.exists(key)) return 0;
  keyspace.set(key, arg(args, 2), 0);
  return 1;
}

function setEx(keyspace: Keyspace, args: Args): Reply {
  return setWithTtl(keyspace, args, { name: "setex", unit: SECONDS });
}

function pSetEx(keyspace: Keyspace, args: Args): Reply {
  return setWithTtl(keyspace, args, { name: "psetex", unit: MILLISECONDS });
}

function setWithTtl(
  keyspace: Keyspace,
  args: Args,
  { name, unit }: { name: string; unit: TimeUnit },
): Reply {
  const context = { unit, command: name, wallMs: keyspace.wallMs };
  const expireAtMs = parsePositiveExpireTime(arg(args, 2), context);
  if (expireAtMs instanceof Refusal) return expireAtMs;
  keyspace.set(arg(args, 1), arg(args, 3), expireAtMs);
  return OK;
}

/** A key that would be past its end at once is not stored at all. */
function setUntil(keyspace: Keyspace, key: string, value: string, expireAtMs: number): void {
  if (expireAtMs !== 0 && expireAtMs <= keyspace.wallMs) keyspace.delete(key);
  else keyspace.set(key, value, expireAtMs);
}

function getSet(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const old = keyspace.value(key) ?? null;
  keyspace.set(key, arg(args, 2), 0);
  return old;
}

function getDel(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const old = keyspace.value(key) ?? null;
  keyspace.delete(key);
  return old;
}

function getEx(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const options = parseGetExOptions(args);
  if (options === undefined) return SYNTAX_ERROR;
  const value = keyspace.value(key);
  if (value === undefined) return null;
  const expireAtMs = endOf(options, "getex", keyspace.wallMs);
  if (expireAtMs instanceof Refusal) return expireAtMs;
  if (expireAtMs !== undefined) {
    if (expireAtMs <= keyspace.wallMs) keyspace.delete(key);
    else keyspace.expire(key, expireAtMs);
  } else if (options.persist && keyspace.expireAtMs(key) !== 0) {
    keyspace.expire(key, 0);
  }
  return value;
}

interface TimeOption {
  readonly name: string;
  readonly unit: TimeUnit;
  readonly text: string;
}

interface SetOptions {
  condition: "NX" | "XX" | undefined;
  get: boolean;
  keepTtl: boolean;
  time: TimeOption | undefined;
}

/** @returns undefined if the options are none or exclude each other. */
function parseSetOptions(args: Args): SetOptions | undefined {
  const options: SetOptions = { condition: undefined, get: false, keepTtl: false, time: undefined };
  for (let i = 3; i < args.count; i++) {
    const name = arg(args, i).toUpperCase();
    if (name === "NX" || name === "XX") {
      if (options.condition !== undefined && options.condition !== name) return undefined;
      options.condition = name;
    } else if (name === "GET") {
      options.get = true;
    } else if (name === "KEEPTTL") {
      if (options.time !== undefined) return undefined;
      options.keepTtl = true;
    } else {
      i++;
      const time = parseTimeOption(name, args.at(i), options.time);
      if (time === undefined || options.keepTtl) return undefined;
      options.time = time;
    }
  }
  return options;
}

interface GetExOptions {
  persist: boolean;
  time: TimeOption | undefined;
}

/** @returns undefined if the options are none or exclude each other. */
function parseGetExOptions(args: Args): GetExOptions | undefined {
  const options: GetExOptions = { persist: false, time: undefined };
  for (let i = 2; i < args.count; i++) {
    const name = arg(args, i).toUpperCase();
    if (name === "PERSIST") {
      if (options.time !== undefined) return undefined;
      options.persist = true;
    } else {
      i++;
      const time = parseTimeOption(name, args.at(i), options.time);
      if (time === undefined || options.persist) return undefined;
      options.time = time;
    }
  }
  return options;
}

/** One option with a time. It may be given twice, the later counts; but not after another one. */
function parseTimeOption(
  name: string,
  text: string | undefined,
  before: TimeOption | undefined,
): TimeOption | undefined {
  const unit = timeOptions.get(name);
  if (unit === undefined || text === undefined) return undefined;
  if (before !== undefined && before.name !== name) return undefined;
  return { name, unit, text };
}

/** The end that the options ask for, ms since 1970; undefined if they ask for none. */
function endOf(
  options: { readonly time: TimeOption | undefined },
  command: string,
  wallMs: number,
): number | Refusal | undefined {
  if (options.time === undefined) return undefined;
  const { unit, text } = options.time;
  return parsePositiveExpireTime(text, { unit, command, wallMs });
}

// --- Several keys ------------------------------------------------------------------------------------------------------

function mGet(keyspace: Keyspace, args: Args): Reply {
  const values: (string | null)[] = [];
  for (let i = 1; i < args.count; i++) values.push(keyspace.value(arg(args, i)) ?? null);
  return values;
}

function mSet(keyspace: Keyspace, args: Args): Reply {
  if (args.count % 2 === 0) return wrongArity("mset");
  setAll(keyspace, args);
  return OK;
}

function mSetNx(keyspace: Keyspace, args: Args): Reply {
  if (args.count % 2 === 0) return wrongArity("msetnx");
  for (let i = 1; i < args.count; i += 2) {
    if (keyspace.exists(arg(args, i))) return 0;
  }
  setAll(keyspace, args);
  return 1;
}

function setAll(keyspace: Keyspace, args: Args): void {
  for (let i = 1; i < args.count; i += 2) keyspace.set(arg(args, i), arg(args, i + 1), 0);
}

// --- Parts of values ---------------------------------------------------------------------------------------------------

function append(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const bytes = arg(args, 2);
  if ((keyspace.valueBytes(key) ?? 0) + bytes.length > VALUE_BYTES_MAX) return VALUE_TOO_LONG;
  return keyspace.append(key, bytes);
}

function setRange(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const offset = parseInteger(arg(args, 2));
  const bytes = arg(args, 3);
  if (offset === undefined) return NOT_AN_INTEGER;
  if (offset < 0) return OFFSET_OUT_OF_RANGE;
  if (bytes === "") return keyspace.valueBytes(key) ?? 0;
  if (typeof offset === "bigint" || offset + bytes.length > VALUE_BYTES_MAX) return VALUE_TOO_LONG;
  return keyspace.overwrite(key, offset, bytes);
}

function getRange(keyspace: Keyspace, args: Args): Reply {
  const first = parseInteger(arg(args, 2));
  const last = parseInteger(arg(args, 3));
  if (first === undefined || last === undefined) return NOT_AN_INTEGER;
  const value = keyspace.value(arg(args, 1));
  if (value === undefined) return "";
  if (first < 0 && last < 0 && first > last) return "";
  // What is no safe integer lies far outside of the value, however inexact it becomes here.
  const from = position(Number(first), value.length);
  const to = position(Number(last), value.length);
  return value.slice(from, to + 1);
}

/** An index that may count from the end, as one from the start; what lies before the start is the start, as in Redis. */
function position(index: number, bytes: number): number {
  return Math.max(index < 0 ? index + bytes : index, 0);
}

// --- Numbers -----------------------------------------------------------------------------------------------------------

function incr(keyspace: Keyspace, args: Args): Reply {
  return increment(keyspace, args, 1);
}

function decr(keyspace: Keyspace, args: Args): Reply {
  return increment(keyspace, args, -1);
}

function incrBy(keyspace: Keyspace, args: Args): Reply {
  const delta = parseInteger(arg(args, 2));
  return delta === undefined ? NOT_AN_INTEGER : increment(keyspace, args, delta);
}

function decrBy(keyspace: Keyspace, args: Args): Reply {
  const amount = parseInteger(arg(args, 2));
  if (amount === undefined) return NOT_AN_INTEGER;
  const delta = negateInteger(amount);
  return delta === undefined ? DECREMENT_OVERFLOW : increment(keyspace, args, delta);
}

function increment(keyspace: Keyspace, args: Args, delta: Integer): Reply {
  if (typeof delta === "number") {
    const sum = keyspace.addBytes(args.buffer, args.start(1), args.end(1), delta);
    if (sum !== undefined) return sum;
  }
  // What is no plain small integer, or becomes none.
  const key = arg(args, 1);
  const value = keyspace.value(key);
  const before = value === undefined ? 0 : parseInteger(value);
  if (before === undefined) return NOT_AN_INTEGER;
  const after = addIntegers(before, delta);
  if (after === undefined) return INCREMENT_OVERFLOW;
  keyspace.setKeepingExpiry(key, String(after));
  return after;
}

function incrByFloat(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const before = parseLongDouble(keyspace.value(key) ?? "0");
  const delta = parseLongDouble(arg(args, 2));
  if (before === undefined || delta === undefined) return NOT_A_FLOAT;
  const after = addLongDoubles(before, delta);
  if (after === undefined) return NAN_OR_INFINITY;
  const text = formatLongDouble(after);
  keyspace.setKeepingExpiry(key, text);
  return text;
}

// --- LCS ---------------------------------------------------------------------------------------------------------------

interface LcsOptions {
  len: boolean;
  idx: boolean;
  withMatchLen: boolean;
  minMatchLen: Integer;
}

function lcs(keyspace: Keyspace, args: Args): Reply {
  const a = keyspace.value(arg(args, 1)) ?? "";
  const b = keyspace.value(arg(args, 2)) ?? "";
  const options = parseLcsOptions(args);
  if (options instanceof Refusal) return options;
  if (options.len && options.idx) return LCS_LENGTH_AND_INDEXES;
  const common = longestCommon(a, b);
  if (common === undefined) return LCS_TOO_BIG;
  if (options.len) return common.text.length;
  if (!options.idx) return common.text;

  const matches: Reply[] = [];
  for (const { aFirst, aLast, bFirst, bLast } of common.runs) {
    const length = aLast - aFirst + 1;
    if (length < options.minMatchLen) continue;
    const ranges: Reply[] = [
      [aFirst, aLast],
      [bFirst, bLast],
    ];
    if (options.withMatchLen) ranges.push(length);
    matches.push(ranges);
  }
  return new MapReply([
    ["matches", matches],
    ["len", common.text.length],
  ]);
}

function parseLcsOptions(args: Args): LcsOptions | Refusal {
  const options: LcsOptions = { len: false, idx: false, withMatchLen: false, minMatchLen: 0 };
  for (let i = 3; i < args.count; i++) {
    switch (arg(args, i).toUpperCase()) {
      case "LEN":
        options.len = true;
        break;
      case "IDX":
        options.idx = true;
        break;
      case "WITHMATCHLEN":
        options.withMatchLen = true;
        break;
      case "MINMATCHLEN": {
        i++;
        const text = args.at(i);
        if (text === undefined) return SYNTAX_ERROR;
        const length = parseInteger(text);
        if (length === undefined) return NOT_AN_INTEGER;
        options.minMatchLen = length;
        break;
      }
      default:
        return SYNTAX_ERROR;
    }
  }
  return options;
}
