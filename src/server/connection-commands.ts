/** PING ECHO HELLO AUTH QUIT RESET SELECT TIME DEBUG. */

import { wrongArity } from "../commands/refusals.ts";
import { MapReply, OK, type Reply, Status } from "../data/reply.ts";
import { answerLater } from "./answer-later.ts";
import { authenticate } from "./authentication.ts";
import type { Args, Context, ServerCommand } from "./client.ts";
import { isClientName } from "./client-command.ts";
import { defineCommand } from "./define-command.ts";
import {
  BAD_CLIENT_NAME,
  BAD_PROTOCOL_NUMBER,
  badHelloOption,
  DB_OUT_OF_RANGE,
  DEBUG_NOT_ALLOWED,
  err,
  HELLO_NOT_AUTHENTICATED,
  NO_PASSWORD_SET,
  NOT_AN_INTEGER,
  SYNTAX_ERROR,
  UNSUPPORTED_PROTOCOL,
  unknownSubcommand,
  WRONG_PASSWORD,
} from "./refusals.ts";

/** The Redis whose commands and answers are meant; clients choose features by it. */
export const REDIS_VERSION = "7.0.15";

const PONG = new Status("PONG");
const RESET_DONE = new Status("RESET");
const INTEGER = /^-?[0-9]{1,15}$/;
const SECONDS = /^[0-9]*\.?[0-9]+$/;
const SLEEP_SECONDS_MAX = 3600;
const FAST = ["@fast", "@connection"];

export const connectionCommands: readonly ServerCommand[] = [
  defineCommand({
    name: "ping",
    arity: -1,
    flags: ["fast"],
    categories: FAST,
    summary: "Answers PONG, or the argument.",
    inTransaction: "queue",
    run: (args) => {
      if (args.length > 2) return wrongArity("ping");
      return args[1] ?? PONG;
    },
  }),
  defineCommand({
    name: "echo",
    arity: 2,
    flags: ["loading", "stale", "fast"],
    categories: FAST,
    summary: "Answers the argument.",
    inTransaction: "queue",
    run: (args) => args[1] ?? "",
  }),
  defineCommand({
    name: "time",
    arity: 1,
    flags: ["loading", "stale", "fast", "random"],
    categories: ["@fast"],
    summary: "Answers this node's wall clock: seconds since 1970, and microseconds.",
    since: "2.6.0",
    group: "server",
    inTransaction: "queue",
    run: time,
  }),
  defineCommand({
    name: "hello",
    arity: -1,
    flags: ["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"],
    categories: FAST,
    summary: "Chooses the protocol's version, and shakes hands.",
    since: "6.0.0",
    run: hello,
  }),
  defineCommand({
    name: "auth",
    arity: -2,
    flags: ["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"],
    categories: FAST,
    summary: "Authenticates the connection.",
    run: auth,
  }),
  defineCommand({
    name: "quit",
    arity: -1,
    flags: ["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"],
    categories: FAST,
    summary: "Closes the connection.",
    inTransaction: "run",
    run: (_args, { client }) => {
      client.closeAfterReplies();
      return OK;
    },
  }),
  defineCommand({
    name: "reset",
    arity: 1,
    flags: ["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"],
    categories: FAST,
    summary: "Makes the connection as if it were new.",
    since: "6.2.0",
    inTransaction: "run",
    run: (_args, { client }) => {
      client.reset();
      return RESET_DONE;
    },
  }),
  defineCommand({
    name: "select",
    arity: 2,
    flags: ["loading", "stale", "fast"],
    categories: FAST,
    summary: "Chooses the database; there is only 0.",
    run: (args) => {
      const index = args[1] ?? "";
      if (!INTEGER.test(index)) return NOT_AN_INTEGER;
      return Number(index) === 0 ? OK : DB_OUT_OF_RANGE;
    },
  }),
  defineCommand({
    name: "debug",
    arity: -2,
    flags: ["admin", "noscript", "loading", "stale"],
    categories: ["@admin", "@slow", "@dangerous"],
    summary: "For tests: SLEEP stalls the whole node.",
    group: "server",
    run: debug,
  }),
];

function time(): Reply {
  const microseconds = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  const seconds = Math.floor(microseconds / 1_000_000);
  return [String(seconds), String(microseconds % 1_000_000)];
}

function auth(args: Args, { client, host }: Context): Reply {
  if (args.length > 3) return SYNTAX_ERROR;
  if (args.length === 2 && host.settings.requirePass === "") return NO_PASSWORD_SET;
  const [user, password] = args.length === 3 ? [args[1], args[2]] : ["default", args[1]];
  return authenticate(client, host, user ?? "", password ?? "") ? OK : WRONG_PASSWORD;
}

function hello(args: Args, { client, host }: Context): Reply {
  const { session } = client;
  let protocol = session.protocol;
  if (args.length > 1) {
    const version = args[1] ?? "";
    if (!INTEGER.test(version)) return BAD_PROTOCOL_NUMBER;
    if (version !== "2" && version !== "3") return UNSUPPORTED_PROTOCOL;
    protocol = version === "2" ? 2 : 3;
  }
  let name: string | undefined;
  let credentials: readonly [user: string, password: string] | undefined;
  for (let at = 2; at < args.length; ) {
    const given = args[at] ?? "";
    const option = given.toLowerCase();
    const value = args[at + 1];
    const password = args[at + 2];
    if (option === "auth" && value !== undefined && password !== undefined) {
      credentials = [value, password];
      at += 3;
    } else if (option === "setname" && value !== undefined) {
      name = value;
      at += 2;
    } else {
      return badHelloOption(given);
    }
  }
  if (credentials !== undefined && !authenticate(client, host, ...credentials)) {
    return WRONG_PASSWORD;
  }
  if (!session.isAuthenticated) return HELLO_NOT_AUTHENTICATED;
  if (name !== undefined && !isClientName(name)) return BAD_CLIENT_NAME;
  if (name !== undefined) session.name = name;
  session.protocol = protocol;
  return new MapReply([
    ["server", "redis"],
    ["version", REDIS_VERSION],
    ["proto", protocol],
    ["id", client.id],
    ["mode", "standalone"],
    ["role", "master"],
    ["modules", []],
  ]);
}

function debug(args: Args, context: Context): Reply | undefined {
  const { host } = context;
  if (!host.isDebugEnabled) return DEBUG_NOT_ALLOWED;
  const subcommand = args[1] ?? "";
  if (subcommand.toLowerCase() !== "sleep" || args.length !== 3) {
    return unknownSubcommand("DEBUG", subcommand);
  }
  const text = args[2] ?? "";
  const seconds = SECONDS.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= SLEEP_SECONDS_MAX)) return err("value is not a valid float or out of range");
  // A stall of the node, as tests want it: no timer, socket or message gets a turn until it is over.
  answerLater(context, (take) => host.nodeWide.stall(seconds * 1000, () => take(OK)));
  return undefined;
}
