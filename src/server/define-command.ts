/** Builds the specs of the server's commands, which have no keys. */

import type { CommandFlag, CommandSpec } from "../commands/spec.ts";
import type { Reply } from "../data/reply.ts";
import type { Args, Context, InTransaction, ServerCommand } from "./client.ts";

/** What differs between the server's commands. */
export interface Definition {
  readonly name: string;
  readonly arity: number;
  readonly flags?: readonly CommandFlag[];
  readonly categories?: readonly string[];
  readonly summary: string;
  readonly since?: string;
  readonly group?: string;
  readonly inTransaction?: InTransaction;
  readonly subcommands?: readonly CommandSpec[];
  readonly run: (args: Args, context: Context) => Reply | undefined;
}

/** One subcommand of a command with its row of COMMAND. */
export interface Subcommand {
  readonly spec: CommandSpec;
  readonly run: (args: Args, context: Context) => Reply | undefined;
}

const CONNECTION_FLAGS: readonly CommandFlag[] = ["noscript", "loading", "stale"];

export function defineCommand(definition: Definition): ServerCommand {
  return {
    ...specOf(definition),
    inTransaction: definition.inTransaction ?? "refuse",
    run: definition.run,
  };
}

/** @param definition its `name` is the whole one, such as `client|id`. */
export function defineSubcommand(definition: Definition): Subcommand {
  return { spec: specOf(definition), run: definition.run };
}

function specOf(definition: Definition): CommandSpec {
  const spec = {
    name: definition.name,
    arity: definition.arity,
    flags: definition.flags ?? CONNECTION_FLAGS,
    firstKey: 0,
    lastKey: 0,
    keyStep: 0,
    categories: definition.categories ?? ["@slow", "@connection"],
    summary: definition.summary,
    since: definition.since ?? "1.0.0",
    group: definition.group ?? "connection",
    complexity: "O(1)",
  };
  return definition.subcommands === undefined
    ? spec
    : { ...spec, subcommands: definition.subcommands };
}
