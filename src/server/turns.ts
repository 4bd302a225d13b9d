/**
 * Shares the time of the event loop: requests of clients take a bounded part of each turn, so that heartbeats, which come by
 * the same loop, never wait behind a burst of them. Who did not get to it goes on in the next turn, in the order of asking.
 */

/** Whoever has more to do than a turn has time for. */
export interface Waiter {
  /** Called at the beginning of a later turn. */
  goOn(): void;
}

export class Turns {
  readonly #msMax: number;
  readonly #nowMs: () => number;
  readonly #nextTurn: (run: () => void) => void;
  /** When the first request of this turn was looked at; undefined before it was. */
  #begunMs: number | undefined;
  readonly #waiting = new Set<Waiter>();

  /**
   * @param msMax how long requests are taken in one turn, ms.
   * @param nowMs a monotonic clock, ms.
   * @param nextTurn calls back once the loop has looked at all its sockets.
   */
  constructor(
    msMax: number,
    nowMs: () => number = () => performance.now(),
    nextTurn: (run: () => void) => void = setImmediate,
  ) {
    this.#msMax = msMax;
    this.#nowMs = nowMs;
    this.#nextTurn = nextTurn;
  }

  /** True once this turn's time is used up. */
  get isOver(): boolean {
    const nowMs = this.#nowMs();
    if (this.#begunMs === undefined) {
      this.#begunMs = nowMs;
      this.#nextTurn(() => this.#begin());
      return false;
    }
    return nowMs - this.#begunMs >= this.#msMax;
  }

  /** Calls the waiter once, in a later turn. To be asked for only when this turn is over. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  /** The waiter needs no more turn. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  #begin(): void {
    this.#begunMs = undefined;
    // Those that wait again come behind those that were not reached.
    for (const waiter of [...this.#waiting]) {
      if (this.isOver) return;
      this.#waiting.delete(waiter);
      waiter.goOn();
    }
  }
}
