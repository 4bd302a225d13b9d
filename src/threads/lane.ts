/**
 * One way between two threads: frames of any size, in order, through a ring; and bells, which are messages of a port, only for
 * who sleeps. What is too large for the ring goes as memory that changes hands, and an empty frame in the ring keeps its place.
 */

import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { assert } from "../kit/assert.ts";
import { ByteWriter } from "../kit/bytes.ts";
import { allocate, type Memory } from "../kit/memory.ts";
import { createRing, RingReader, RingWriter } from "./ring.ts";

/** Room of one ring, bytes. */
const RING_BYTES = 1024 * 1024;
/** A larger frame does not go through the ring, bytes. */
const RING_FRAME_BYTES_MAX = RING_BYTES / 4;
/** A frame is sent when it has so many bytes, however much more is to come: so that both threads work at the same time. */
const FRAME_BYTES = 8 * 1024;
/** Memory that the frames that were taken share, and the frame from which on each gets its own, bytes. */
const PAGE_BYTES = 64 * 1024;
const PAGE_FRAME_BYTES_MAX = PAGE_BYTES / 4;
const NOTHING: Memory = allocate(0);

/** One way, as it is given to the other thread. */
export interface LaneMemory {
  readonly ring: SharedArrayBuffer;
  /** Only for frames that are too large for the ring; nobody listens to it. */
  readonly large: MessagePort;
}

/** @returns the two ends of a new way. */
export function createLane(): { readonly sending: LaneMemory; readonly receiving: LaneMemory } {
  const ring = createRing(RING_BYTES);
  const { port1, port2 } = new MessageChannel();
  return { sending: { ring, large: port1 }, receiving: { ring, large: port2 } };
}

/** A frame that the ring had no room for. */
type Waiting =
  | { readonly kind: "small"; readonly bytes: Memory }
  | { readonly kind: "large"; readonly buffer: Uint8Array<ArrayBuffer> };

/** The end of a way that sends. What the ring has no room for waits here, in order: whoever sends has to look at `isFull`. */
export class SendingEnd {
  /** What the next frame is written to. */
  readonly writer = new ByteWriter();
  readonly #ring: RingWriter;
  readonly #large: MessagePort;
  readonly #ringBell: () => void;
  #waiting: Waiting[] = [];

  /** @param ringBell has to make the other thread call its end's `take`s. */
  constructor({ ring, large }: LaneMemory, ringBell: () => void) {
    this.#ring = new RingWriter(ring);
    this.#large = large;
    this.#ringBell = ringBell;
  }

  /** Whether something waits for room. Then nothing more should be sent until `sendWaiting` says that all is gone. */
  get isFull(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether what is written should be sent before more is. */
  get hasEnough(): boolean {
    return this.writer.length >= FRAME_BYTES;
  }

  /** Sends what is written as one frame, or keeps it until there is room. */
  send(): void {
    const { writer } = this;
    const { length } = writer;
    if (length === 0) return;
    if (length > RING_FRAME_BYTES_MAX) {
      const bytes = writer.bytes();
      // The memory is handed over with the frame.
      writer.reset(false);
      this.#waiting.push({ kind: "large", buffer: ownBytes(bytes) });
      this.sendWaiting();
      return;
    }
    if (this.#waiting.length > 0 || !this.#ring.offer(writer.memory, length)) {
      const bytes = allocate(length);
      writer.copyTo(bytes, 0);
      this.#waiting.push({ kind: "small", bytes });
      writer.reset(true);
      this.sendWaiting();
      return;
    }
    writer.reset(true);
    if (this.#ring.mustWake()) this.#ringBell();
  }

  /** Tries again what waits; to be called at every bell. @returns whether all is gone. */
  sendWaiting(): boolean {
    if (this.#waiting.length === 0) return true;
    if (!this.#offerWaiting()) {
      this.#ring.waitForRoom();
      // There may have come room before the mark was there, and then nobody rings.
      this.#offerWaiting();
    }
    return this.#waiting.length === 0;
  }

  #offerWaiting(): boolean {
    let sent = 0;
    for (const frame of this.#waiting) {
      if (!this.#offer(frame)) break;
      sent += 1;
    }
    this.#waiting.splice(0, sent);
    if (sent > 0 && this.#ring.mustWake()) this.#ringBell();
    return this.#waiting.length === 0;
  }

  #offer(frame: Waiting): boolean {
    if (frame.kind === "small") return this.#ring.offer(frame.bytes, frame.bytes.bytes.length);
    // So only one of them is ever under way: two would be memory without a bound.
    if (!this.#ring.isEmpty) return false;
    this.#large.postMessage(frame.buffer, [frame.buffer.buffer]);
    const isOffered = this.#ring.offer(NOTHING, 0);
    assert(isOffered, "an empty ring has room for a mark");
    return true;
  }
}

/** The end of a way that receives. */
export class ReceivingEnd {
  /** Where the frame is that was taken last: from `start` to before `end`. Nobody writes to there any more. */
  page: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  readonly #ring: RingReader;
  readonly #large: MessagePort;
  readonly #ringBell: () => void;
  #filling: Memory = allocate(PAGE_BYTES);
  #used = 0;

  /** @param ringBell has to make the other thread call its end's `sendWaiting`. */
  constructor({ ring, large }: LaneMemory, ringBell: () => void) {
    this.#ring = new RingReader(ring);
    this.#large = large;
    this.#ringBell = ringBell;
  }

  /** Takes the next frame. @returns whether there was one. */
  take(): boolean {
    const length = this.#ring.nextBytes;
    if (length === undefined) return false;
    if (length === 0) this.#takeLarge();
    else this.#takeSmall(length);
    if (this.#ring.mustWake()) this.#ringBell();
    return true;
  }

  /** @returns whether there is nothing to take, and a bell will ring when there is. */
  sleep(): boolean {
    return this.#ring.sleep();
  }

  /** Needs no bell until the next `sleep`. */
  wake(): void {
    this.#ring.wake();
  }

  #takeSmall(length: number): void {
    if (length > PAGE_FRAME_BYTES_MAX) {
      const own = allocate(length);
      this.#ring.take(own, 0);
      this.#set(own.bytes, 0, length);
      return;
    }
    if (this.#used + length > PAGE_BYTES) {
      this.#filling = allocate(PAGE_BYTES);
      this.#used = 0;
    }
    this.#ring.take(this.#filling, this.#used);
    this.#set(this.#filling.bytes, this.#used, this.#used + length);
    this.#used += length;
  }

  #takeLarge(): void {
    const received = receiveMessageOnPort(this.#large);
    assert(received !== undefined, "a large frame comes before its mark");
    const bytes: Uint8Array = received.message;
    this.#set(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
    this.#ring.take(NOTHING, 0);
  }

  #set(page: Buffer, start: number, end: number): void {
    this.page = page;
    this.start = start;
    this.end = end;
  }
}

/** Memory that belongs to nobody else, and may change hands. */
function ownBytes(bytes: Buffer): Uint8Array<ArrayBuffer> {
  assert(bytes.buffer instanceof ArrayBuffer, "a writer's memory is not shared");
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
