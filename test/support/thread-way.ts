/** The way from a thread without a core to the core, with both ends in this thread: all but the threads is real. */

import type { Door } from "../../src/router/door.ts";
import { Router } from "../../src/router/router.ts";
import { createLane, ReceivingEnd, SendingEnd } from "../../src/threads/lane.ts";
import { DeskLink, OperationDesk } from "../../src/threads/operation-desk.ts";
import { ThreadDoor, type Valve } from "../../src/threads/thread-door.ts";

export interface ThreadWay {
  readonly door: ThreadDoor;
  readonly desk: OperationDesk;
  close(): void;
}

/**
 * @param door of the core.
 * @param valve of what submits to the door that is given.
 * @param nowMs the desk's clock, by which it ends its turns.
 */
export function createThreadWay(
  door: Door,
  valve: Valve,
  nowMs: () => number = () => performance.now(),
): ThreadWay {
  const there = createLane();
  const back = createLane();
  // A bell is a message, so it comes in a later turn.
  const ringDesk = () => setImmediate(() => desk.onBell(link));
  const ringThread = () => setImmediate(() => threadDoor.onBell());
  const threadDoor: ThreadDoor = new ThreadDoor(
    new SendingEnd(there.sending, ringDesk),
    new ReceivingEnd(back.receiving, ringDesk),
    valve,
  );
  const link = new DeskLink(
    new SendingEnd(back.sending, ringThread),
    new ReceivingEnd(there.receiving, ringThread),
  );
  const desk = new OperationDesk(
    door,
    new Router(door),
    (configuration) => threadDoor.configure(configuration),
    nowMs,
  );
  desk.add(link);
  threadDoor.start();
  return {
    door: threadDoor,
    desk,
    close: () => {
      for (const lane of [there, back]) {
        lane.sending.large.close();
        lane.receiving.large.close();
      }
    },
  };
}
