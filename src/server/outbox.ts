/**
 * Sends what a turn has answered: each connection's replies in one write, out of a buffer that is used again as soon as the
 * system has taken the bytes.
 */

import type { Socket } from "node:net";

import { ReplyWriter } from "../resp/reply-writer.ts";

/** Whoever has answers to send. */
export interface Sender {
  /** Called once for each `flushSoon`, after all that is running now. */
  flush(): void;
}

export class Outbox {
  /** One for all senders: what is written is sent before the next writes. */
  readonly writer = new ReplyWriter();
  #due: Sender[] = [];
  #nowMs: number | undefined;
  #isPlanned = false;
  readonly #onDue = () => this.#flushAll();

  /** The time at which the answers of this moment come, monotonic ms: read once for all that are flushed together. */
  get nowMs(): number {
    if (this.#nowMs === undefined) {
      this.#nowMs = performance.now();
      this.#plan();
    }
    return this.#nowMs;
  }

  /** To be called once until `flush` is. */
  flushSoon(sender: Sender): void {
    this.#due.push(sender);
    this.#plan();
  }

  /**
   * Sends what is in the writer.
   * @param onSent called when the socket has taken the bytes.
   */
  send(socket: Socket, onSent: () => void): void {
    socket.write(this.writer.bytes(), onSent);
    // What the system did not take at once the socket keeps, in the very buffer.
    this.writer.reset(socket.writableLength === 0);
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
  }
}
