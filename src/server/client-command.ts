/** CLIENT and its subcommands. */

import { MapReply, OK, type Reply } from "../data/reply.ts";
import { answerLater } from "./answer-later.ts";
import type { Args, Context, ServerCommand } from "./client.ts";
import { defineSubcommand, type Subcommand } from "./define-command.ts";
import { CLIENT_NAME_BYTES_MAX } from "./limits.ts";
import type { ClientLine } from "./node-wide.ts";
import { BAD_CLIENT_ID, BAD_CLIENT_NAME, err, SYNTAX_ERROR } from "./refusals.ts";
import { defineFamily } from "./subcommands.ts";

const PRINTABLE = /^[!-~]*$/;
const CLIENT_ID = /^[1-9][0-9]{0,14}$/;
const TYPES: readonly string[] = ["normal", "master", "replica", "slave", "pubsub"];

/** @returns whether a client may call itself so; empty takes the name away. */
export function isClientName(name: string): boolean {
  return name.length <= CLIENT_NAME_BYTES_MAX && PRINTABLE.test(name);
}

const subcommands: readonly Subcommand[] = [
  defineSubcommand({
    name: "client|id",
    arity: 2,
    summary: "Answers the number of this connection.",
    since: "5.0.0",
    run: (_args, { client }) => client.id,
  }),
  defineSubcommand({
    name: "client|getname",
    arity: 2,
    summary: "Answers the name of this connection.",
    since: "2.6.9",
    run: (_args, { client }) => (client.session.name === "" ? null : client.session.name),
  }),
  defineSubcommand({
    name: "client|setname",
    arity: 3,
    summary: "Names this connection.",
    since: "2.6.9",
    run: setName,
  }),
  defineSubcommand({
    name: "client|setinfo",
    arity: 4,
    summary: "Tells the name (LIB-NAME) or version (LIB-VER) of the client's library.",
    since: "7.2.0",
    run: setInfo,
  }),
  defineSubcommand({
    name: "client|list",
    arity: -2,
    flags: ["admin", "noscript", "loading", "stale"],
    categories: ["@admin", "@slow", "@dangerous", "@connection"],
    summary: "Lists the connections of this node: [TYPE type] [ID id ...].",
    since: "2.4.0",
    run: list,
  }),
  defineSubcommand({
    name: "client|info",
    arity: 2,
    summary: "Describes this connection.",
    since: "6.2.0",
    run: (_args, { client }) => `${client.describe()}\n`,
  }),
  defineSubcommand({
    name: "client|no-evict",
    arity: 3,
    flags: ["admin", "noscript", "loading", "stale"],
    categories: ["@admin", "@slow", "@dangerous", "@connection"],
    summary: "ON or OFF; accepted, for clients are never evicted.",
    since: "7.0.0",
    run: (args, { client }) =>
      onOrOff(args[2], (isOn) => {
        client.session.isNoEvict = isOn;
      }),
  }),
  defineSubcommand({
    name: "client|no-touch",
    arity: 3,
    summary: "ON or OFF; accepted, for no command changes when a key was last used.",
    since: "7.2.0",
    run: (args, { client }) =>
      onOrOff(args[2], (isOn) => {
        client.session.isNoTouch = isOn;
      }),
  }),
  defineSubcommand({
    name: "client|reply",
    arity: 3,
    summary: "ON, OFF or SKIP: whether this connection gets replies.",
    since: "3.2.0",
    run: setReplies,
  }),
  defineSubcommand({
    name: "client|trackinginfo",
    arity: 2,
    summary: "Tells that client-side caching is off.",
    since: "6.2.0",
    run: () =>
      new MapReply([
        ["flags", ["off"]],
        ["redirect", -1],
        ["prefixes", []],
      ]),
  }),
];

export const clientCommand: ServerCommand = defineFamily(
  {
    name: "client",
    arity: -2,
    categories: ["@slow", "@connection"],
    summary: "Subcommands about connections.",
    since: "2.4.0",
  },
  subcommands,
);

function setName(args: Args, { client }: Context): Reply {
  const name = args[2] ?? "";
  if (!isClientName(name)) return BAD_CLIENT_NAME;
  client.session.name = name;
  return OK;
}

function setInfo(args: Args, { client }: Context): Reply {
  const attribute = args[2] ?? "";
  const value = args[3] ?? "";
  const wanted = attribute.toLowerCase();
  if (wanted !== "lib-name" && wanted !== "lib-ver") {
    return err(`Unrecognized option '${attribute}'`);
  }
  if (!isClientName(value)) {
    return err(`${wanted} cannot contain spaces, newlines or special characters.`);
  }
  if (wanted === "lib-name") client.session.libraryName = value;
  else client.session.libraryVersion = value;
  return OK;
}

function list(args: Args, context: Context): Reply | undefined {
  if (args.length === 2) return lines(context, () => true);
  const option = (args[2] ?? "").toLowerCase();
  const given = args.slice(3);
  if (option === "type" && given.length === 1) {
    const [type = ""] = given;
    if (!TYPES.includes(type.toLowerCase())) return err(`Unknown client type '${type}'`);
    return type.toLowerCase() === "normal" ? lines(context, () => true) : "";
  }
  if (option !== "id" || given.length === 0) return SYNTAX_ERROR;
  if (!given.every((id) => CLIENT_ID.test(id))) return BAD_CLIENT_ID;
  const ids = new Set(given.map(Number));
  return lines(context, ({ id }) => ids.has(id));
}

/** Answers later, with the lines of the node's clients that are wanted. */
function lines(context: Context, isWanted: (line: ClientLine) => boolean): undefined {
  answerLater(context, (take) =>
    context.host.nodeWide.clients((all) =>
      take(
        all
          .filter(isWanted)
          .map(({ text }) => `${text}\n`)
          .join(""),
      ),
    ),
  );
  return undefined;
}

function onOrOff(value: string | undefined, set: (isOn: boolean) => void): Reply {
  const choice = value?.toLowerCase();
  if (choice !== "on" && choice !== "off") return SYNTAX_ERROR;
  set(choice === "on");
  return OK;
}

/** The answer is sent or not by the mode that it leaves behind, so OFF and SKIP are silent themselves. */
function setReplies(args: Args, { client }: Context): Reply {
  const { session } = client;
  switch (args[2]?.toLowerCase()) {
    case "on":
      session.replies = "on";
      return OK;
    case "off":
      session.replies = "off";
      return OK;
    case "skip":
      if (session.replies === "on") session.replies = "skip-next";
      return OK;
    default:
      return SYNTAX_ERROR;
  }
}
