/**
 * How much clients get of the event loop: requests are taken for a bounded part of each turn, and while not too many of them are
 * unanswered. For heartbeats come by the same loop, and must never wait behind a burst of requests, or behind what a burst brings
 * when it is answered, forwarded or sent again. Who did not get to it goes on in a later turn, in the order of asking.
 */

/** Whoever has more requests than may be taken now. */
export interface Waiter {
  /** Called in a later turn, when requests are taken again. */
  goOn(): void;
}

export interface IntakeLimits {
  /** How long requests are taken in one turn, ms. */
  readonly turnMsMax: number;
  /** Unanswered requests at which no more are taken. */
  readonly unansweredMax: number;
  /** Unanswered requests down to which they then have to fall. */
  readonly unansweredResume: number;
}

export class Intake {
  readonly #limits: IntakeLimits;
  readonly #nowMs: () => number;
  readonly #nextTurn: (run: () => void) => void;
  /** When the first request of this turn was looked at; undefined before it was. */
  #begunMs: number | undefined;
  #unanswered = 0;
  readonly #waiting = new Set<Waiter>();

  /**
   * @param nowMs a monotonic clock, ms.
   * @param nextTurn calls back once the loop has looked at all its sockets.
   */
  constructor(
    limits: IntakeLimits,
    nowMs: () => number = () => performance.now(),
    nextTurn: (run: () => void) => void = setImmediate,
  ) {
    this.#limits = limits;
    this.#nowMs = nowMs;
    this.#nextTurn = nextTurn;
  }

  /** Whether a request may be taken now. */
  get isOpen(): boolean {
    if (this.#unanswered >= this.#limits.unansweredMax) return false;
    if (this.#begunMs === undefined) this.#beginTurn();
    return this.#nowMs() - (this.#begunMs ?? 0) < this.#limits.turnMsMax;
  }

  /** A request was taken; `answered` must follow. */
  taken(): void {
    this.#unanswered += 1;
  }

  answered(): void {
    this.#unanswered -= 1;
    const hasRoom = this.#unanswered <= this.#limits.unansweredResume;
    if (hasRoom && this.#waiting.size > 0 && this.#begunMs === undefined) this.#beginTurn();
  }

  /** Calls the waiter once, in a later turn. To be asked for only while the intake is not open. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  /** The waiter needs no more turn. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  #beginTurn(): void {
    this.#begunMs = this.#nowMs();
    this.#nextTurn(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#begunMs = undefined;
    // Those that wait again come behind those that were not reached.
    for (const waiter of [...this.#waiting]) {
      if (!this.isOpen) return;
      this.#waiting.delete(waiter);
      waiter.goOn();
    }
  }
}
