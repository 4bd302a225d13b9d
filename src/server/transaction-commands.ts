/**
 * MULTI EXEC DISCARD WATCH UNWATCH, and what happens to a command in between. A transaction runs as one request on one
 * shard: the first command with keys says which.
 */

import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import { NULL_ARRAY, OK, QUEUED, Refusal } from "../data/reply.ts";
import type { ShardId } from "../replica/configuration.ts";
import { CROSS_SLOT } from "../router/refusals.ts";
import type { ReplySink } from "../router/router.ts";
import type {
  Args,
  Context,
  OpenTransaction,
  QueuedCommand,
  ServerCommand,
  Session,
} from "./client.ts";
import { defineCommand } from "./define-command.ts";
import { TRANSACTION_BYTES_MAX, TRANSACTION_COMMANDS_MAX, WATCHED_KEYS_MAX } from "./limits.ts";
import {
  DISCARD_WITHOUT_MULTI,
  EXEC_WITHOUT_MULTI,
  NESTED_MULTI,
  NOT_IN_TRANSACTION,
  TOO_MANY_WATCHED,
  TRANSACTION_ABORTED,
  TRANSACTION_TOO_LARGE,
  WATCH_INSIDE_MULTI,
} from "./refusals.ts";

const COMMON = {
  flags: ["noscript", "loading", "stale", "fast", "allow_busy"],
  categories: ["@fast", "@transaction"],
  group: "transactions",
  inTransaction: "run",
} as const;

export const transactionCommands: readonly ServerCommand[] = [
  defineCommand({
    ...COMMON,
    name: "multi",
    arity: 1,
    summary: "Begins a transaction.",
    since: "1.2.0",
    run: (_args, { client }) => {
      if (client.session.transaction !== undefined) return NESTED_MULTI;
      client.session.transaction = {
        commands: [],
        argsBytes: 0,
        shard: undefined,
        isAborted: false,
      };
      return OK;
    },
  }),
  defineCommand({
    ...COMMON,
    name: "exec",
    arity: 1,
    summary: "Runs the transaction.",
    since: "1.2.0",
    run: (_args, context) => execute(context),
  }),
  defineCommand({
    ...COMMON,
    name: "discard",
    arity: 1,
    summary: "Drops the transaction and the watches.",
    since: "2.0.0",
    run: (_args, { client }) => {
      if (client.session.transaction === undefined) return DISCARD_WITHOUT_MULTI;
      client.session.transaction = undefined;
      unwatch(client.session);
      return OK;
    },
  }),
  defineCommand({
    ...COMMON,
    name: "watch",
    arity: -2,
    summary: "Lets the next transaction run only if the keys have not changed; all in one shard.",
    since: "2.2.0",
    run: watch,
  }),
  defineCommand({
    ...COMMON,
    name: "unwatch",
    arity: 1,
    summary: "Forgets the watched keys.",
    since: "2.2.0",
    inTransaction: "queue",
    run: (_args, { client }) => {
      unwatch(client.session);
      return OK;
    },
  }),
];

/** Forgets what the connection watches. */
export function unwatch(session: Session): void {
  session.watched = new Map();
  session.watchedShard = undefined;
  session.isWatchBroken = false;
}

/**
 * Queues a command, whose name and number of arguments have been checked.
 * @returns `QUEUED`, or why the transaction is now aborted.
 */
export function queueServerCommand(
  open: OpenTransaction,
  command: ServerCommand,
  args: Args,
): Reply {
  if (command.inTransaction !== "queue") return abort(open, NOT_IN_TRANSACTION);
  const bytes = args.reduce((sum, argument) => sum + argument.length, 0);
  return enqueue(open, { kind: "server", args, command }, bytes);
}

/**
 * Queues a command of a shard.
 * @param place its shard, or the refusal that says why it has none.
 * @returns `QUEUED`, or why the transaction is now aborted.
 */
export function queueShardCommand(
  session: Session,
  open: OpenTransaction,
  place: ShardId | Refusal,
  command: Command,
): Reply {
  if (place instanceof Refusal) return abort(open, place);
  const shard = open.shard ?? session.watchedShard;
  if (shard !== undefined && shard !== place) return abort(open, CROSS_SLOT);
  open.shard = place;
  // A copy, for EXEC may be far: what else has come with the command is not to be kept until then.
  return enqueue(open, { kind: "shard", command: command.copy() }, command.bytes);
}

/** Makes EXEC refuse. */
export function abort(open: OpenTransaction, refusal: Refusal): Refusal {
  open.isAborted = true;
  return refusal;
}

function enqueue(open: OpenTransaction, queued: QueuedCommand, bytes: number): Reply {
  open.argsBytes += bytes;
  const isFull = open.commands.length >= TRANSACTION_COMMANDS_MAX;
  if (isFull || open.argsBytes > TRANSACTION_BYTES_MAX) return abort(open, TRANSACTION_TOO_LARGE);
  open.commands.push(queued);
  return QUEUED;
}

function execute(context: Context): Reply | undefined {
  const { client, host, sink } = context;
  const { session } = client;
  const { transaction: open, watched, watchedShard, isWatchBroken } = session;
  if (open === undefined) return EXEC_WITHOUT_MULTI;
  session.transaction = undefined;
  unwatch(session);
  if (open.isAborted) return TRANSACTION_ABORTED;
  if (isWatchBroken) return NULL_ARRAY;
  const shard = open.shard ?? watchedShard;
  if (shard === undefined) return weave(open.commands, [], context);
  const commands = open.commands.flatMap((each) => (each.kind === "shard" ? each.command : []));
  const weaving: ReplySink = {
    answered: (reply) => {
      if (Array.isArray(reply)) sink.answered(weave(open.commands, reply, context));
      else sink.answered(reply);
    },
  };
  const watches = Array.from(watched, ([key, version]) => ({ key, version }));
  host.router.execute({ commands, watched: watches, shard }, client.id, weaving);
  return undefined;
}

/** Puts the shard's answers, in their order, between those of the server. */
function weave(
  commands: readonly QueuedCommand[],
  shardReplies: readonly Reply[],
  context: Context,
): Reply {
  let next = 0;
  return commands.map((queued) => {
    if (queued.kind === "server") return queued.command.run(queued.args, context) ?? null;
    next += 1;
    return shardReplies[next - 1] ?? null;
  });
}

function watch(args: Args, { client, host, sink }: Context): Reply | undefined {
  const { session } = client;
  if (session.transaction !== undefined) return WATCH_INSIDE_MULTI;
  const keys = args.slice(1);
  if (session.watched.size + keys.length > WATCHED_KEYS_MAX) {
    session.isWatchBroken = true;
    return TOO_MANY_WATCHED;
  }
  const shard = host.router.shardOf(keys);
  const isElsewhere = session.watchedShard !== undefined && session.watchedShard !== shard;
  if (shard instanceof Refusal || isElsewhere) {
    session.isWatchBroken = true;
    return shard instanceof Refusal ? shard : CROSS_SLOT;
  }
  session.watchedShard = shard;
  // EXEC needs the versions, so nothing that may have been pipelined behind is looked at before they are here.
  client.hold();
  host.router.watch(keys, client.id, {
    answered: (reply) => {
      sink.answered(noteVersions(session, keys, reply));
      client.release();
    },
  });
  return undefined;
}

function noteVersions(session: Session, keys: readonly string[], reply: Reply): Reply {
  if (!Array.isArray(reply)) {
    session.isWatchBroken = true;
    return reply;
  }
  for (const [at, key] of keys.entries()) {
    // The first look counts: a key that changed between two WATCHes has changed.
    if (!session.watched.has(key)) session.watched.set(key, Number(reply[at]));
  }
  return OK;
}
