/** The commands that work on keys whatever they hold, and on all keys of a shard. */

import type { Keyspace } from "../data/keyspace.ts";
import type { Reply } from "../data/reply.ts";
import type { DataCommand } from "./spec.ts";

type Args = readonly string[];

function del(keyspace: Keyspace, args: Args): Reply {
  let count = 0;
  for (let i = 1; i < args.length; i++) {
    const key = args[i];
    if (key !== undefined && keyspace.delete(key)) count++;
  }
  return count;
}

export const keyCommands: readonly DataCommand[] = [
  {
    name: "del",
    arity: -2,
    flags: ["write"],
    firstKey: 1,
    lastKey: -1,
    keyStep: 1,
    categories: ["@keyspace", "@write", "@slow"],
    summary: "Deletes keys.",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) with N keys",
    run: del,
  },
];
