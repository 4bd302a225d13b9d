/**
 * The main thread's side of the ways from other threads: submits their operations to the node's core and sends the answers back.
 * It takes a bounded time of each turn of the loop, for heartbeats come by the same loop.
 */

import { dataCommands } from "../commands/table.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import { ByteReader } from "../kit/bytes.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { Request } from "../replica/ports.ts";
import type { Door } from "../router/door.ts";
import { DIVIDED_MEANWHILE } from "../router/refusals.ts";
import type { Router } from "../router/router.ts";
import type { ReceivingEnd, SendingEnd } from "./lane.ts";
import {
  type Answerer,
  type ArrivedOperation,
  readOperation,
  writeAnswer,
} from "./operation-codec.ts";

/** Time of one turn of the loop in which operations are taken, ms: as a server takes requests where there are no threads. */
const TURN_MS_MAX = 10;
/** Quick operations between two looks at the clock; after any other it is looked at. */
const OPERATIONS_PER_LOOK = 16;

/** By the commands' codes: whether one takes so little time that the clock need not be looked at after each. */
const isQuickByCode = dataCommands.map(({ complexity }) => complexity === "O(1)");

/** The ways from and to one thread. */
export class DeskLink implements Answerer {
  readonly receiving: ReceivingEnd;
  readonly #sending: SendingEnd;
  /** What is left of the frame that was taken last, and the version of the configuration that it was routed by. */
  frame: ByteReader | undefined;
  version = 0;
  #isSendPlanned = false;
  readonly #onTurnEnd = () => {
    this.#isSendPlanned = false;
    this.#sending.send();
  };

  constructor(sending: SendingEnd, receiving: ReceivingEnd) {
    this.#sending = sending;
    this.receiving = receiving;
  }

  /** All answers of one run of the loop's callbacks go in one frame, unless they are many. */
  answer(id: number, reply: Reply): void {
    writeAnswer(this.#sending.writer, id, reply);
    if (this.#sending.hasEnough) this.#sending.send();
    if (this.#isSendPlanned) return;
    this.#isSendPlanned = true;
    process.nextTick(this.#onTurnEnd);
  }

  /** The thread has room again for what waits here: not more than the answers to what it has asked. */
  sendWaiting(): void {
    this.#sending.sendWaiting();
  }

  /** @returns whether there is a frame of which something is left. */
  hasFrame(): boolean {
    if (this.frame !== undefined && this.frame.left > 0) return true;
    if (!this.receiving.take()) return false;
    const { page, start, end } = this.receiving;
    this.frame = new ByteReader(page, start, end);
    this.version = this.frame.varint();
    return true;
  }
}

export class OperationDesk {
  readonly #door: Door;
  readonly #router: Router;
  readonly #onConfiguration: (configuration: Configuration) => void;
  readonly #nowMs: () => number;
  readonly #links: DeskLink[] = [];
  /** Whose turn it is first. */
  #next = 0;
  #configuration: Configuration | undefined;
  /** Of the first configuration with the shards that there are now: what was routed by an older one has to be routed again. */
  #layoutVersion = 0;
  #isLookPlanned = false;
  readonly #onTurn = () => {
    this.#isLookPlanned = false;
    this.#look();
  };

  /**
   * @param onConfiguration told each configuration that the door has, before an operation is submitted that it concerns.
   * @param nowMs a monotonic clock, ms.
   */
  constructor(
    door: Door,
    router: Router,
    onConfiguration: (configuration: Configuration) => void,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#door = door;
    this.#router = router;
    this.#onConfiguration = onConfiguration;
    this.#nowMs = nowMs;
  }

  /** Adds a thread, and begins to look for what it asks. */
  add(link: DeskLink): void {
    this.#links.push(link);
    this.#look();
  }

  /** A thread has operations, or room. */
  onBell(link: DeskLink): void {
    link.sendWaiting();
    // If a look is due anyway, it comes in this very turn.
    if (!this.#isLookPlanned) this.#look();
  }

  /** Looks whether the door has another configuration; nobody has to call it when there is one, but then it is told sooner. */
  noteConfiguration(): void {
    const configuration = this.#door.configuration();
    if (configuration === undefined || configuration === this.#configuration) return;
    const before = this.#configuration;
    this.#configuration = configuration;
    if (before === undefined || !haveSameShards(before, configuration)) {
      this.#layoutVersion = configuration.version;
    }
    this.#onConfiguration(configuration);
  }

  /** Takes what there is, for as long as one turn may last. */
  #look(): void {
    const links = this.#links;
    const endMs = this.#nowMs() + TURN_MS_MAX;
    this.noteConfiguration();
    let isFound = false;
    for (let turn = 0; turn < links.length; turn += 1) {
      const index = (this.#next + turn) % links.length;
      const link = links[index] as DeskLink;
      link.receiving.wake();
      while (link.hasFrame()) {
        isFound = true;
        if (this.#submit(link, endMs)) continue;
        // The others come before it in the next turn.
        this.#next = index + 1;
        this.#lookInNextTurn();
        return;
      }
    }
    // Where there were some there soon are more; a look costs less than a bell.
    if (isFound || !this.#sleep()) this.#lookInNextTurn();
  }

  #sleep(): boolean {
    let isAsleep = true;
    for (const { receiving } of this.#links) isAsleep = receiving.sleep() && isAsleep;
    return isAsleep;
  }

  #lookInNextTurn(): void {
    if (this.#isLookPlanned) return;
    this.#isLookPlanned = true;
    setImmediate(this.#onTurn);
  }

  /** Submits the rest of a link's frame. @returns whether there is time for more. */
  #submit(link: DeskLink, endMs: number): boolean {
    const { frame, version } = link;
    if (frame === undefined) return true;
    const door = this.#door;
    const isStale = version < this.#layoutVersion;
    let unlooked = OPERATIONS_PER_LOOK;
    // Whatever is in a frame that was taken was there before.
    door.beginBurst();
    while (frame.left > 0) {
      const operation = readOperation(frame, link);
      if (!isStale || this.#isPlaced(operation)) door.submit(operation);
      unlooked -= 1;
      if (unlooked > 0 && isQuick(operation.request)) continue;
      if (this.#nowMs() >= endMs) break;
      unlooked = OPERATIONS_PER_LOOK;
    }
    door.endBurst();
    return this.#nowMs() < endMs;
  }

  /** Routes an operation anew. @returns whether it has one shard; else it is refused. */
  #isPlaced(operation: ArrivedOperation): boolean {
    const { shard, request } = operation;
    const place = this.#router.placeNow({ ...request, shard });
    if (place instanceof Refusal) {
      operation.answered(DIVIDED_MEANWHILE);
      return false;
    }
    operation.shard = place;
    return true;
  }
}

function isQuick({ commands }: Request): boolean {
  const [first] = commands;
  return commands.length === 1 && first !== undefined && isQuickByCode[first.code] === true;
}

/** Whether each slot is in the shard of the same name in both. */
function haveSameShards(one: Configuration, other: Configuration): boolean {
  if (one.shards.length !== other.shards.length) return false;
  return one.shards.every(({ id, firstSlot, lastSlot }, index) => {
    const twin = other.shards[index];
    return twin?.id === id && twin.firstSlot === firstSlot && twin.lastSlot === lastSlot;
  });
}
