/** Replies as tests compare them: a bulk string is a string, wherever its bytes lie. */

import { Bytes } from "../../src/data/bytes.ts";
import type { Reply } from "../../src/data/reply.ts";

/** The same reply, with a string for each `Bytes` in it or in its arrays. */
export function plainReply(reply: Reply): Reply {
  if (reply instanceof Bytes) return reply.toString();
  return Array.isArray(reply) ? reply.map(plainReply) : reply;
}
