/** What is known of a command without running it: the rows of `COMMAND`, and what the router needs. */

import type { Command } from "../data/command.ts";
import type { Keyspace } from "../data/keyspace.ts";
import type { Reply } from "../data/reply.ts";

export type CommandFlag =
  | "write"
  | "readonly"
  | "denyoom"
  | "admin"
  | "fast"
  | "loading"
  | "stale"
  | "noscript"
  | "random"
  | "no_auth"
  | "no_multi"
  | "allow_busy"
  | "movablekeys";

export interface CommandSpec {
  /** Lower case. */
  readonly name: string;
  /** Number of arguments, the name included; negative for "at least". */
  readonly arity: number;
  readonly flags: readonly CommandFlag[];
  /** Position of the first key, 0 for none. */
  readonly firstKey: number;
  /** Position of the last key, negative from the end. */
  readonly lastKey: number;
  readonly keyStep: number;
  /** ACL categories with the at sign, such as `@string`. */
  readonly categories: readonly string[];
  readonly summary: string;
  readonly since: string;
  readonly group: string;
  readonly complexity: string;
  readonly subcommands?: readonly CommandSpec[];
}

/** A command on data. `run` checks its arguments before it changes anything; what it changes goes through `keyspace`. */
export interface DataCommand extends CommandSpec {
  /** How many arguments the router may add behind the client's, such as a random number; none if absent. */
  readonly addedArguments?: number;
  /** @param args the number of them has been checked against `arity`. */
  readonly run: (keyspace: Keyspace, args: Command) => Reply;
}
