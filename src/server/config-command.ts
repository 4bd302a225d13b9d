/** CONFIG and its subcommands. */

import { wrongArity } from "../commands/refusals.ts";
import { MapReply, OK, type Reply } from "../data/reply.ts";
import { answerLater } from "./answer-later.ts";
import type { Args, Context, ServerCommand } from "./client.ts";
import { defineSubcommand, type Subcommand } from "./define-command.ts";
import { NO_CONFIG_FILE } from "./refusals.ts";
import { defineFamily } from "./subcommands.ts";

const COMMON = {
  flags: ["admin", "noscript", "loading", "stale"],
  categories: ["@admin", "@slow", "@dangerous"],
  since: "2.0.0",
  group: "server",
} as const;

const subcommands: readonly Subcommand[] = [
  defineSubcommand({
    ...COMMON,
    name: "config|get",
    arity: -3,
    summary: "Answers this node's settings that match the patterns.",
    run: (args, { host }) => new MapReply(host.settings.get(args.slice(2))),
  }),
  defineSubcommand({
    ...COMMON,
    name: "config|set",
    arity: -4,
    summary: "Changes settings of this node until it stops.",
    run: setConfig,
  }),
  defineSubcommand({
    ...COMMON,
    name: "config|resetstat",
    arity: 2,
    summary: "Sets the counts of INFO to zero.",
    run: (_args, context) => {
      answerLater(context, (take) => context.host.nodeWide.resetCounters(() => take(OK)));
      return undefined;
    },
  }),
  defineSubcommand({
    ...COMMON,
    name: "config|rewrite",
    arity: 2,
    summary: "Refused: there is no file to write.",
    run: () => NO_CONFIG_FILE,
  }),
];

export const configCommand: ServerCommand = defineFamily(
  { ...COMMON, name: "config", arity: -2, summary: "Subcommands about settings." },
  subcommands,
);

function setConfig(args: Args, context: Context): Reply | undefined {
  if (args.length % 2 !== 0) return wrongArity("config|set");
  const pairs: [string, string][] = [];
  for (let at = 2; at < args.length; at += 2) pairs.push([args[at] ?? "", args[at + 1] ?? ""]);
  answerLater(context, (take) =>
    context.host.nodeWide.configure(pairs, (refusal) => take(refusal ?? OK)),
  );
  return undefined;
}
