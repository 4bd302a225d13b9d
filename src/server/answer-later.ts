/** Commands whose answer other threads have a part in. */

import type { Reply } from "../data/reply.ts";
import type { Context } from "./client.ts";

/**
 * Answers a command when the answer is there. Until then nothing that may have been pipelined behind it is looked at, so that
 * it sees what this command has done, and this one nothing of what comes later.
 * @param ask is to call `take` with the answer, once; possibly before it returns.
 */
export function answerLater(
  { client, sink }: Context,
  ask: (take: (reply: Reply) => void) => void,
): void {
  client.hold();
  ask((reply) => {
    sink.answered(reply);
    client.release();
  });
}
