/** What the router needs of the node that it runs in; the node's driver provides it. */

import type { Reply } from "../data/reply.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { NodeStatus, Operation } from "../replica/surface.ts";

/** An operation that knows where its answer goes. */
export interface AnsweredOperation extends Operation {
  /** Called exactly once; possibly before `submit` returns. */
  answered(reply: Reply): void;
}

/** The way to the shards, wherever their primaries are. */
export interface Door {
  /** Takes one operation; the refusals of the core come as answers too. */
  submit(operation: AnsweredOperation): void;
  /** The newest configuration that this node has, undefined before the first. */
  configuration(): Configuration | undefined;
  status(): NodeStatus;
}
