/**
 * Sends what a turn has answered: each connection's replies in one write, and all connections' writes one after the other,
 * when all has been taken in that came with them. For what a write costs most is to wake up who reads. The buffer is used
 * again as soon as the system has taken the bytes.
 */

import type { Socket } from "node:net";

import type { Reply } from "../data/reply.ts";
import { ReplyWriter } from "../resp/reply-writer.ts";

/** Whoever has answers to send. */
export interface Sender {
  /** Called once for each `flushSoon` or `flushAtTurnEnd`. */
  flush(): void;
}

/**
 * What one sender has written and not sent: a place in the writer that all share. It ends where the writer does while its
 * sender writes.
 */
export class Draft {
  readonly #outbox: Outbox;
  #start = 0;
  #end = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Bytes that are written and not sent. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Lets the sender write on. If others have written behind it, it is copied behind what they have. */
  begin(): void {
    const { writer } = this.#outbox;
    const start = this.#start;
    const end = this.#end;
    if (end > start && end === writer.length) return;
    this.#start = writer.length;
    if (end > start) writer.repeat(start, end);
    this.#end = writer.length;
  }

  /** Adds a reply. To be called after `begin`, and before anyone else writes. */
  write(reply: Reply, protocol: 2 | 3): void {
    const { writer } = this.#outbox;
    writer.write(reply, protocol);
    this.#end = writer.length;
  }

  /**
   * Sends it, in one write. Then it is empty.
   * @param onSent called when the socket has taken the bytes.
   */
  send(socket: Socket, onSent: () => void): void {
    this.#outbox.send(socket, this.#start, this.#end, onSent);
    this.#start = this.#outbox.writer.length;
    this.#end = this.#start;
  }
}

export class Outbox {
  /** One for all senders. */
  readonly writer = new ReplyWriter();
  #due: Sender[] = [];
  #nowMs: number | undefined;
  #isPlanned = false;
  #isTurnEndPlanned = false;
  /** A socket still has bytes in the writer's buffer. */
  #isHeld = false;
  readonly #onDue = () => this.#flushAll();
  readonly #onTurnEnd = () => {
    this.#isTurnEndPlanned = false;
    this.#flushAll();
  };

  /** The time at which the answers of this moment come, monotonic ms: read once for all that are flushed together. */
  get nowMs(): number {
    if (this.#nowMs === undefined) {
      this.#nowMs = performance.now();
      this.#plan();
    }
    return this.#nowMs;
  }

  /** Flushes the sender after all that is running now. To be called once until `flush` is. */
  flushSoon(sender: Sender): void {
    this.#due.push(sender);
    if (!this.#isTurnEndPlanned) this.#plan();
  }

  /** Flushes the sender after all that this turn of the loop brings. To be called once until `flush` is. */
  flushAtTurnEnd(sender: Sender): void {
    this.#due.push(sender);
    if (this.#isTurnEndPlanned) return;
    this.#isTurnEndPlanned = true;
    setImmediate(this.#onTurnEnd);
  }

  /**
   * Sends what is in the writer from `start` to before `end`.
   * @param onSent called when the socket has taken the bytes.
   */
  send(socket: Socket, start: number, end: number, onSent: () => void): void {
    const { writer } = this;
    socket.write(writer.bytes(start, end), onSent);
    // What the system did not take at once the socket keeps, in the very buffer.
    if (socket.writableLength > 0) this.#isHeld = true;
    else if (end === writer.length) writer.truncate(start);
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    process.nextTick(this.#onDue);
  }

  #flushAll(): void {
    this.#isPlanned = false;
    this.#nowMs = undefined;
    const due = this.#due;
    this.#due = [];
    for (const sender of due) sender.flush();
    // Those that took requests meanwhile have their replies in the buffer, behind what is sent.
    if (this.#due.length > 0) return;
    this.writer.reset(!this.#isHeld);
    this.#isHeld = false;
  }
}
