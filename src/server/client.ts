/** What the commands of the server may see and change of a connection and of the server, and what a command is to it. */

import type { CommandSpec } from "../commands/spec.ts";
import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { ReplySink, Router } from "../router/router.ts";
import type { Counters } from "./counters.ts";
import type { NodeWide } from "./node-wide.ts";
import type { Settings } from "./settings.ts";

/** The arguments of a command of the server: binary strings, the name first. */
export type Args = readonly string[];

/** One queued command of a transaction: run by the shard, or by the server when EXEC comes. */
export type QueuedCommand =
  | { readonly kind: "shard"; readonly command: Command }
  | { readonly kind: "server"; readonly args: Args; readonly command: ServerCommand };

/** A transaction from MULTI on. */
export interface OpenTransaction {
  readonly commands: QueuedCommand[];
  argsBytes: number;
  /** Set by the first command with a shard. */
  shard: ShardId | undefined;
  /** A command was refused, so EXEC will be. */
  isAborted: boolean;
}

/** The state of a connection that its commands change. */
export interface Session {
  protocol: 2 | 3;
  name: string;
  libraryName: string;
  libraryVersion: string;
  isAuthenticated: boolean;
  isNoEvict: boolean;
  isNoTouch: boolean;
  replies: "on" | "off" | "skip-next";
  transaction: OpenTransaction | undefined;
  /** Watched keys with the versions that they had. */
  watched: Map<string, number>;
  watchedShard: ShardId | undefined;
  /** A WATCH was refused and nobody knows what it would have seen: the next EXEC must not run. */
  isWatchBroken: boolean;
}

export interface Client {
  readonly id: number;
  readonly session: Session;
  /** Its line of CLIENT LIST, without a line end. */
  describe(): string;
  /** Back to how a new connection is. */
  reset(): void;
  /** Takes no further request, and closes once everything before is answered and sent. */
  closeAfterReplies(): void;
  /** Takes no further request until `release`. */
  hold(): void;
  release(): void;
}

export interface Host {
  readonly router: Router;
  readonly nodeWide: NodeWide;
  readonly settings: Settings;
  readonly counters: Counters;
  readonly version: string;
  readonly isDebugEnabled: boolean;
  readonly port: number;
  /** Wall clock of the start, ms since 1970. */
  readonly startedAtMs: number;
  readonly commands: ReadonlyMap<string, ServerCommand>;
}

export interface Context {
  readonly client: Client;
  readonly host: Host;
  /** For the answer of a command that gives it later. */
  readonly sink: ReplySink;
}

/**
 * What becomes of a command between MULTI and EXEC: `queue` like one of a shard, `refuse`, or `run` at once because it
 * concerns the transaction or the connection itself.
 */
export type InTransaction = "queue" | "refuse" | "run";

/** A command about the connection or the server. */
export interface ServerCommand extends CommandSpec {
  readonly inTransaction: InTransaction;
  /**
   * @param args binary strings, the name first; their number fits the arity.
   * @returns the answer, or undefined if it goes to `context.sink` later.
   */
  readonly run: (args: Args, context: Context) => Reply | undefined;
}
