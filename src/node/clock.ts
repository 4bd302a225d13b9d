/** The node's two clocks, read together, and the sight of a jump between them. */

import type { Time } from "../replica/surface.ts";

/** Where the time comes from; tests put in their own. */
export interface ClockSource {
  /** A clock that never goes back and is never set, ms. */
  monoMs(): number;
  /** Wall clock, ms since 1970. */
  wallMs(): number;
}

export const SYSTEM_CLOCK: ClockSource = {
  monoMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** A wall clock that gains this much on the monotonic one between two readings has jumped, ms. */
export const JUMP_MS = 100;

/**
 * The monotonic clock of Linux stands still while a machine is suspended, and the peers' leases run out meanwhile. The wall
 * clock is set when it wakes, so a jump of that one against the other is the sign of a lost lease. A step by an operator or by
 * NTP looks the same and costs a round trip of heartbeats, no more.
 */
export class NodeClock {
  readonly #source: ClockSource;
  #offsetMs: number | undefined;
  #jumps = 0;

  constructor(source: ClockSource = SYSTEM_CLOCK) {
    this.#source = source;
  }

  /** Jumps seen so far; a reading that changes it must be told to the core before anything else. */
  get jumps(): number {
    return this.#jumps;
  }

  read(): Time {
    const monoMs = this.#source.monoMs();
    const wallMs = this.#source.wallMs();
    const offsetMs = wallMs - monoMs;
    // Compared with the last reading and not with the first: a clock that is slewed, or merely drifts, never jumps.
    if (this.#offsetMs !== undefined && offsetMs - this.#offsetMs > JUMP_MS) this.#jumps += 1;
    this.#offsetMs = offsetMs;
    return { monoMs, wallMs };
  }
}
