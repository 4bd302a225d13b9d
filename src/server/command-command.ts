/** COMMAND and its subcommands: what this server's commands are. */

import type { CommandSpec } from "../commands/spec.ts";
import { arityMatches, dataCommands, findCommand, keyPlaces } from "../commands/table.ts";
import { MapReply, type Reply, SetReply, Status } from "../data/reply.ts";
import { globMatches } from "../kit/glob.ts";
import type { Args, Context, Host, ServerCommand } from "./client.ts";
import { defineCommand, defineSubcommand, type Subcommand } from "./define-command.ts";
import {
  INVALID_ARGUMENT_COUNT,
  INVALID_COMMAND,
  NO_KEY_ARGUMENTS,
  SYNTAX_ERROR,
} from "./refusals.ts";
import { defineFamily } from "./subcommands.ts";

const FLAGS = ["loading", "stale"] as const;

const subcommands: readonly Subcommand[] = [
  defineSubcommand({
    name: "command|count",
    arity: 2,
    flags: FLAGS,
    summary: "Counts the commands.",
    since: "2.8.13",
    group: "server",
    run: (_args, { host }) => allSpecs(host).length,
  }),
  defineSubcommand({
    name: "command|info",
    arity: -2,
    flags: FLAGS,
    summary: "Describes the named commands, or all.",
    since: "2.8.13",
    group: "server",
    run: (args, { host }) =>
      args.length === 2
        ? allSpecs(host).map(describe)
        : args.slice(2).map((name) => {
            const spec = findSpec(host, name);
            return spec === undefined ? null : describe(spec);
          }),
  }),
  defineSubcommand({
    name: "command|docs",
    arity: -2,
    flags: FLAGS,
    summary: "Documents the named commands, or all.",
    since: "7.0.0",
    group: "server",
    run: (args, { host }) => {
      const specs =
        args.length === 2 ? allSpecs(host) : args.slice(2).map((name) => findSpec(host, name));
      return documents(specs.filter((spec) => spec !== undefined));
    },
  }),
  defineSubcommand({
    name: "command|list",
    arity: -2,
    flags: FLAGS,
    summary: "Lists the names: [FILTERBY MODULE name|ACLCAT category|PATTERN pattern].",
    since: "7.0.0",
    group: "server",
    run: list,
  }),
  defineSubcommand({
    name: "command|getkeys",
    arity: -3,
    flags: FLAGS,
    summary: "Lists the keys of a whole command.",
    since: "2.8.13",
    group: "server",
    run: getKeys,
  }),
];

const family = defineFamily(
  {
    name: "command",
    arity: -1,
    flags: FLAGS,
    summary: "Describes the commands.",
    since: "2.8.13",
    group: "server",
  },
  subcommands,
);

export const commandCommand: ServerCommand = defineCommand({
  ...family,
  run: (args, context) =>
    args.length === 1 ? allSpecs(context.host).map(describe) : family.run(args, context),
});

function allSpecs({ commands }: Host): CommandSpec[] {
  // `watch` is both: the server's, and what the server sends to the shard.
  return [...commands.values(), ...dataCommands.filter(({ name }) => !commands.has(name))];
}

function findSpec(host: Host, given: string): CommandSpec | undefined {
  const name = given.toLowerCase();
  const bar = name.indexOf("|");
  if (bar < 0) return host.commands.get(name) ?? findCommand(name);
  const { subcommands: members } = host.commands.get(name.slice(0, bar)) ?? {};
  return members?.find((member) => member.name === name);
}

function describe(spec: CommandSpec): Reply {
  return [
    spec.name,
    spec.arity,
    new SetReply(spec.flags.map((flag) => new Status(flag))),
    spec.firstKey,
    spec.lastKey,
    spec.keyStep,
    new SetReply(spec.categories.map((category) => new Status(category))),
    new SetReply([]),
    new SetReply(spec.firstKey === 0 ? [] : [describeKeys(spec)]),
    new SetReply((spec.subcommands ?? []).map(describe)),
  ];
}

function describeKeys(spec: CommandSpec): Reply {
  const isWrite = spec.flags.includes("write");
  const access = isWrite ? ["RW", "update"] : ["RO", "access"];
  // From the first key, where a last key that is given from the end stays as it is.
  const last = spec.lastKey < 0 ? spec.lastKey : spec.lastKey - spec.firstKey;
  return new MapReply([
    ["flags", new SetReply(access.map((flag) => new Status(flag)))],
    [
      "begin_search",
      new MapReply([
        ["type", "index"],
        ["spec", new MapReply([["index", spec.firstKey]])],
      ]),
    ],
    [
      "find_keys",
      new MapReply([
        ["type", "range"],
        [
          "spec",
          new MapReply([
            ["lastkey", last],
            ["keystep", spec.keyStep],
            ["limit", 0],
          ]),
        ],
      ]),
    ],
  ]);
}

function documents(specs: readonly CommandSpec[]): Reply {
  return new MapReply(
    specs.map((spec) => {
      const entries: [Reply, Reply][] = [
        ["summary", spec.summary],
        ["since", spec.since],
        ["group", spec.group],
        ["complexity", spec.complexity],
      ];
      if (spec.subcommands !== undefined) {
        entries.push(["subcommands", documents(spec.subcommands)]);
      }
      return [spec.name, new MapReply(entries)];
    }),
  );
}

function list(args: Args, { host }: Context): Reply {
  const specs = allSpecs(host);
  if (args.length === 2) return specs.map(({ name }) => name);
  const [, , filterBy = "", kind = "", value] = args;
  if (filterBy.toLowerCase() !== "filterby" || value === undefined || args.length !== 5) {
    return SYNTAX_ERROR;
  }
  const names = specs.map(({ name }) => name);
  switch (kind.toLowerCase()) {
    case "module":
      return [];
    case "aclcat":
      return specs
        .filter(({ categories }) => categories.includes(`@${value.toLowerCase()}`))
        .map(({ name }) => name);
    case "pattern":
      return names.filter((name) => globMatches(value.toLowerCase(), name));
    default:
      return SYNTAX_ERROR;
  }
}

function getKeys(args: Args, { host }: Context): Reply {
  const command = args.slice(2);
  const spec = findSpec(host, command[0] ?? "");
  if (spec === undefined) return INVALID_COMMAND;
  if (spec.firstKey === 0) return NO_KEY_ARGUMENTS;
  if (!arityMatches(spec, command.length)) return INVALID_ARGUMENT_COUNT;
  return keyPlaces(spec, command.length).map((place) => command[place] ?? "");
}
