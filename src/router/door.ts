/** What the router needs of the node that it runs in; the node's driver provides it. */

import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import type { Configuration, ShardId } from "../replica/configuration.ts";
import type { NodeStatus, Operation } from "../replica/surface.ts";

/** An operation that knows where its answer goes. */
export interface AnsweredOperation extends Operation {
  /** When the door took it, monotonic ms; only the door sets and reads it, to tell how long a write took. */
  submittedMs?: number;
  /** Called exactly once; possibly before `submit` returns. */
  answered(reply: Reply): void;
}

/** The way to the shards, wherever their primaries are. */
export interface Door {
  /** Takes one operation; the refusals of the core come as answers too. */
  submit(operation: AnsweredOperation): void;
  /**
   * Answers a command that only reads, at once, where nothing stands in the way.
   * @returns the reply, valid until the event loop goes on or anything is submitted; undefined if the command has to be
   *   submitted.
   */
  read(shard: ShardId, command: Command, session: number): Reply | undefined;
  /**
   * All that is submitted until `endBurst` was there before this call, so that one reading of the clock does for it. Nothing
   * else may come in between: what arrives after a reading must not be judged by it.
   */
  beginBurst(): void;
  endBurst(): void;
  /** The newest configuration that this node has, undefined before the first. */
  configuration(): Configuration | undefined;
}

/** The door of the very node, which can also say how it is. */
export interface NodeDoor extends Door {
  status(): NodeStatus;
}
