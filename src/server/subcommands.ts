/** Commands that are made of subcommands: finds the one that is meant, and checks its arguments. */

import { wrongArity } from "../commands/refusals.ts";
import { arityMatches } from "../commands/table.ts";
import { type Reply, Status } from "../data/reply.ts";
import type { Args, Context, ServerCommand } from "./client.ts";
import {
  type Definition,
  defineCommand,
  defineSubcommand,
  type Subcommand,
} from "./define-command.ts";
import { unknownSubcommand } from "./refusals.ts";

/** A command's definition without what follows from its subcommands. */
export type FamilyDefinition = Omit<Definition, "run" | "subcommands">;

/** @returns the command, with a HELP of its own. */
export function defineFamily(
  definition: FamilyDefinition,
  members: readonly Subcommand[],
): ServerCommand {
  const title = definition.name.toUpperCase();
  const help = defineSubcommand({
    name: `${definition.name}|help`,
    arity: 2,
    flags: ["loading", "stale"],
    summary: "Shows the subcommands.",
    since: "5.0.0",
    group: definition.group ?? "connection",
    run: () => helpLines(title, all),
  });
  const all = [...members, help];
  const byName = new Map(all.map((member) => [lastPart(member.spec.name), member]));
  return defineCommand({
    ...definition,
    subcommands: all.map(({ spec }) => spec),
    run: (args, context) => runSubcommand(title, byName, args, context),
  });
}

function lastPart(name: string): string {
  return name.slice(name.indexOf("|") + 1);
}

function runSubcommand(
  title: string,
  byName: ReadonlyMap<string, Subcommand>,
  args: Args,
  context: Context,
): Reply | undefined {
  const given = args[1] ?? "";
  const member = byName.get(given.toLowerCase());
  if (member === undefined) return unknownSubcommand(title, given);
  if (!arityMatches(member.spec, args.length)) return wrongArity(member.spec.name);
  return member.run(args, context);
}

function helpLines(title: string, members: readonly Subcommand[]): Reply {
  const lines = members.flatMap(({ spec }) => [
    new Status(lastPart(spec.name).toUpperCase()),
    new Status(`    ${spec.summary}`),
  ]);
  const heading = new Status(`${title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`);
  return [heading, ...lines];
}
