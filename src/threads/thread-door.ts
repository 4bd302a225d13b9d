/**
 * The way to the shards from a thread that has no core of its own: operations go to the main thread as bytes, those of a
 * turn of the loop together, and the answers come back the same way.
 */

import { assert } from "../kit/assert.ts";
import { ByteReader } from "../kit/bytes.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { AnsweredOperation, Door } from "../router/door.ts";
import type { ReceivingEnd, SendingEnd } from "./lane.ts";
import { readAnswer, writeOperation } from "./operation-codec.ts";

/** What must take no more requests while the way is full. */
export interface Valve {
  hold(): void;
  release(): void;
}

export class ThreadDoor implements Door {
  readonly #sending: SendingEnd;
  readonly #receiving: ReceivingEnd;
  readonly #valve: Valve;
  #configuration: Configuration | undefined;
  /** Those without an answer, by their ids; the others' places are in `free`. */
  readonly #operations: (AnsweredOperation | undefined)[] = [];
  readonly #free: number[] = [];
  #isHeld = false;
  #isTurnPlanned = false;
  /** Answers are looked for in every turn, and no bell is rung for them. */
  #isAwake = false;
  readonly #onTurn = () => {
    this.#isTurnPlanned = false;
    this.#send();
    if (this.#isAwake) this.#look();
  };

  /** @param valve closes what brings requests; `unanswered` may go on growing by what one burst has begun. */
  constructor(sending: SendingEnd, receiving: ReceivingEnd, valve: Valve) {
    this.#sending = sending;
    this.#receiving = receiving;
    this.#valve = valve;
  }

  submit(operation: AnsweredOperation): void {
    const { writer } = this.#sending;
    const id = this.#free.pop() ?? this.#operations.length;
    this.#operations[id] = operation;
    if (writer.length === 0) writer.varint(this.#configuration?.version ?? 0);
    writeOperation(writer, operation, id);
    // All that a turn of the loop brings goes together: to wake the main thread costs more than what it is woken for.
    if (this.#sending.hasEnough) this.#send();
    else this.#planTurn();
  }

  read(): undefined {}

  /** What is submitted is stamped with a time where the core is. */
  beginBurst(): void {}

  endBurst(): void {}

  configuration(): Configuration | undefined {
    return this.#configuration;
  }

  /** Operations without an answer. */
  get unanswered(): number {
    return this.#operations.length - this.#free.length;
  }

  /** Operations that are submitted from now on are routed by this one. */
  configure(configuration: Configuration): void {
    this.#configuration = configuration;
  }

  /** Begins to look for answers: before, nobody rings. */
  start(): void {
    this.#look();
  }

  /** The main thread has answers, or room. */
  onBell(): void {
    this.#sendWaiting();
    this.#look();
  }

  #send(): void {
    this.#sending.send();
    if (!this.#sending.isFull || this.#isHeld) return;
    this.#isHeld = true;
    this.#valve.hold();
  }

  #sendWaiting(): void {
    if (!this.#sending.sendWaiting() || !this.#isHeld) return;
    this.#isHeld = false;
    this.#valve.release();
  }

  #look(): void {
    let isFound = false;
    this.#receiving.wake();
    while (this.#receiving.take()) {
      isFound = true;
      this.#onAnswers();
    }
    // Where there were some there soon are more; a look costs less than a bell.
    this.#isAwake = isFound || !this.#receiving.sleep();
    if (this.#isAwake) this.#planTurn();
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    setImmediate(this.#onTurn);
  }

  #onAnswers(): void {
    const { page, start, end } = this.#receiving;
    const reader = new ByteReader(page, start, end);
    while (reader.left > 0) {
      const id = reader.varint();
      const reply = readAnswer(reader);
      const operation = this.#operations[id];
      assert(operation !== undefined, "an operation is answered once");
      this.#operations[id] = undefined;
      this.#free.push(id);
      operation.answered(reply);
    }
  }
}
