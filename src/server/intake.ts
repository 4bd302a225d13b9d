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
  /** How many quick requests are taken between two looks at the clock. */
  readonly requestsPerLook: number;
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
  /** The clock when it was last looked at. */
  #seenMs = 0;
  /** Quick requests that may be taken before it is looked at again. */
  #unlooked = 0;
  #unanswered = 0;
  #isHeld = false;
  readonly #waiting = new Set<Waiter>();
  readonly #onTurnEnd = () => this.#endTurn();

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
    if (this.#isHeld || this.#unanswered >= this.#limits.unansweredMax) return false;
    if (this.#begunMs === undefined || this.#unlooked <= 0) this.look();
    return this.#seenMs - (this.#begunMs ?? 0) < this.#limits.turnMsMax;
  }

  /** Looks at the clock, with which a turn begins if there is none. @returns what it shows, monotonic ms. */
  look(): number {
    this.#seenMs = this.#nowMs();
    this.#unlooked = this.#limits.requestsPerLook;
    if (this.#begunMs === undefined) {
      this.#begunMs = this.#seenMs;
      this.#nextTurn(this.#onTurnEnd);
    }
    return this.#seenMs;
  }

  /**
   * A request was taken; `answered` must follow.
   * @param isQuick false if it may take its time: then the clock is looked at before the next.
   */
  taken(isQuick: boolean): void {
    this.#unanswered += 1;
    this.#unlooked = isQuick ? this.#unlooked - 1 : 0;
  }

  /** A request was taken and answered at once. @param isQuick as of `taken`. */
  passed(isQuick: boolean): void {
    this.#unlooked = isQuick ? this.#unlooked - 1 : 0;
  }

  answered(): void {
    this.#unanswered -= 1;
    const hasRoom = this.#unanswered <= this.#limits.unansweredResume;
    if (hasRoom && this.#waiting.size > 0 && this.#begunMs === undefined) this.look();
  }

  /** What is behind the requests has no room for more: none is taken until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    if (this.#waiting.size > 0 && this.#begunMs === undefined) this.look();
  }

  /** Calls the waiter once, in a later turn. To be asked for only while the intake is not open. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  /** The waiter needs no more turn. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  #endTurn(): void {
    this.#begunMs = undefined;
    if (this.#waiting.size === 0) return;
    // Those that wait again come behind those that were not reached.
    for (const waiter of [...this.#waiting]) {
      if (!this.isOpen) return;
      this.#waiting.delete(waiter);
      waiter.goOn();
    }
  }
}
