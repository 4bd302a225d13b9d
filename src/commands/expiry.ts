/** The commands about the end of keys. */

import type { Keyspace } from "../data/keyspace.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import { type Args, arg, ONE_KEY } from "./arguments.ts";
import {
  MILLISECONDS,
  parseExpireTime,
  SECONDS,
  type TimeUnit,
  UNIX_MILLISECONDS,
  UNIX_SECONDS,
} from "./expire-time.ts";
import { EXPIRE_GT_LT_CONFLICT, EXPIRE_NX_CONFLICT, unsupportedOption } from "./refusals.ts";
import type { DataCommand } from "./spec.ts";

/** What TTL and its like answer for a key without an end. */
const NO_END = -1;
/** What they answer for a missing key. */
const NO_KEY = -2;

export const expiryCommands: readonly DataCommand[] = [
  {
    name: "expire",
    arity: -3,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Sets the time to live of a key in seconds.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(log N) with N keys that have an end",
    run: expire,
  },
  {
    name: "expireat",
    arity: -3,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Sets the end of a key as a Unix time in seconds.",
    since: "1.2.0",
    group: "generic",
    complexity: "O(log N) with N keys that have an end",
    run: expireAt,
  },
  {
    name: "expiretime",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Tells the end of a key as a Unix time in seconds.",
    since: "7.0.0",
    group: "generic",
    complexity: "O(1)",
    run: expireTime,
  },
  {
    name: "persist",
    arity: 2,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Takes the end from a key.",
    since: "2.2.0",
    group: "generic",
    complexity: "O(log N) with N keys that have an end",
    run: persist,
  },
  {
    name: "pexpire",
    arity: -3,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Sets the time to live of a key in milliseconds.",
    since: "2.6.0",
    group: "generic",
    complexity: "O(log N) with N keys that have an end",
    run: pExpire,
  },
  {
    name: "pexpireat",
    arity: -3,
    flags: ["write", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@write", "@fast"],
    summary: "Sets the end of a key as a Unix time in milliseconds.",
    since: "2.6.0",
    group: "generic",
    complexity: "O(log N) with N keys that have an end",
    run: pExpireAt,
  },
  {
    name: "pexpiretime",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Tells the end of a key as a Unix time in milliseconds.",
    since: "7.0.0",
    group: "generic",
    complexity: "O(1)",
    run: pExpireTime,
  },
  {
    name: "pttl",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Tells how many milliseconds a key has to live.",
    since: "2.6.0",
    group: "generic",
    complexity: "O(1)",
    run: pTtl,
  },
  {
    name: "ttl",
    arity: 2,
    flags: ["readonly", "fast"],
    ...ONE_KEY,
    categories: ["@keyspace", "@read", "@fast"],
    summary: "Tells how many seconds a key has to live.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    run: ttl,
  },
];

function expire(keyspace: Keyspace, args: Args): Reply {
  return setEnd(keyspace, args, { command: "expire", unit: SECONDS });
}

function pExpire(keyspace: Keyspace, args: Args): Reply {
  return setEnd(keyspace, args, { command: "pexpire", unit: MILLISECONDS });
}

function expireAt(keyspace: Keyspace, args: Args): Reply {
  return setEnd(keyspace, args, { command: "expireat", unit: UNIX_SECONDS });
}

function pExpireAt(keyspace: Keyspace, args: Args): Reply {
  return setEnd(keyspace, args, { command: "pexpireat", unit: UNIX_MILLISECONDS });
}

function setEnd(
  keyspace: Keyspace,
  args: Args,
  { command, unit }: { command: string; unit: TimeUnit },
): Reply {
  const key = arg(args, 1);
  const conditions = parseConditions(args);
  if (conditions instanceof Refusal) return conditions;
  const { wallMs } = keyspace;
  const expireAtMs = parseExpireTime(arg(args, 2), { unit, command, wallMs });
  if (expireAtMs instanceof Refusal) return expireAtMs;

  const beforeMs = keyspace.expireAtMs(key);
  if (beforeMs === undefined || !areMet(conditions, beforeMs, expireAtMs)) return 0;
  if (expireAtMs <= wallMs) keyspace.delete(key);
  else keyspace.expire(key, expireAtMs);
  return 1;
}

interface Conditions {
  nx: boolean;
  xx: boolean;
  gt: boolean;
  lt: boolean;
}

function parseConditions(args: Args): Conditions | Refusal {
  const conditions: Conditions = { nx: false, xx: false, gt: false, lt: false };
  for (let i = 3; i < args.count; i++) {
    const option = arg(args, i);
    switch (option.toUpperCase()) {
      case "NX":
        conditions.nx = true;
        break;
      case "XX":
        conditions.xx = true;
        break;
      case "GT":
        conditions.gt = true;
        break;
      case "LT":
        conditions.lt = true;
        break;
      default:
        return unsupportedOption(option);
    }
  }
  const { nx, xx, gt, lt } = conditions;
  if (nx && (xx || gt || lt)) return EXPIRE_NX_CONFLICT;
  if (gt && lt) return EXPIRE_GT_LT_CONFLICT;
  return conditions;
}

/** A key without an end (`beforeMs` 0) counts as one that ends after all others. */
function areMet({ nx, xx, gt, lt }: Conditions, beforeMs: number, afterMs: number): boolean {
  const hasEnd = beforeMs !== 0;
  if (nx && hasEnd) return false;
  if (xx && !hasEnd) return false;
  if (gt && (!hasEnd || afterMs <= beforeMs)) return false;
  return !(lt && hasEnd && afterMs >= beforeMs);
}

function persist(keyspace: Keyspace, args: Args): Reply {
  const key = arg(args, 1);
  const beforeMs = keyspace.expireAtMs(key);
  if (beforeMs === undefined || beforeMs === 0) return 0;
  keyspace.expire(key, 0);
  return 1;
}

function ttl(keyspace: Keyspace, args: Args): Reply {
  return timeOf(keyspace, args, (endMs) => toSeconds(endMs - keyspace.wallMs));
}

function pTtl(keyspace: Keyspace, args: Args): Reply {
  return timeOf(keyspace, args, (endMs) => endMs - keyspace.wallMs);
}

function expireTime(keyspace: Keyspace, args: Args): Reply {
  return timeOf(keyspace, args, toSeconds);
}

function pExpireTime(keyspace: Keyspace, args: Args): Reply {
  return timeOf(keyspace, args, (endMs) => endMs);
}

function timeOf(keyspace: Keyspace, args: Args, answer: (endMs: number) => number): Reply {
  const endMs = keyspace.expireAtMs(arg(args, 1));
  if (endMs === undefined) return NO_KEY;
  return endMs === 0 ? NO_END : answer(endMs);
}

/** As Redis rounds: half a second counts as one. */
function toSeconds(ms: number): number {
  return Math.floor((ms + 500) / 1000);
}
