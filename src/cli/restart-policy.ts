/**
 * When a process that has ended by itself is started again: soon the first time, later each time that it dies soon after,
 * and for ever, so that whatever kept it from running may end by itself. Pure: the time is an argument.
 */

/** Bounds of the waits, ms. */
export interface RestartWaits {
  /** Before the first restart. */
  readonly firstMs: number;
  /** Each wait is twice the one before, up to this. */
  readonly longestMs: number;
  /** A process that ran for so long is taken for sound: its next end counts as the first. */
  readonly soundMs: number;
}

export const RESTART_WAITS: RestartWaits = { firstMs: 500, longestMs: 30_000, soundMs: 60_000 };

/** Ends in a row from which on a person has to look. */
export const ENDS_THAT_ALARM = 5;

/** What to do about one end. */
export interface RestartDecision {
  /** How long to wait before the start, ms. */
  readonly waitMs: number;
  /** Ends in a row, this one included, none of them after a sound run. */
  readonly endsInARow: number;
}

/** Judges the ends of one process. */
export class RestartPolicy {
  readonly #waits: RestartWaits;
  #endsInARow = 0;

  constructor(waits: RestartWaits = RESTART_WAITS) {
    this.#waits = waits;
  }

  /**
   * The process has ended, or could not be started.
   * @param ranMs how long it ran, ms; 0 if it did not start.
   */
  ended(ranMs: number): RestartDecision {
    const { firstMs, longestMs, soundMs } = this.#waits;
    this.#endsInARow = ranMs >= soundMs ? 1 : this.#endsInARow + 1;
    const waitMs = Math.min(longestMs, firstMs * 2 ** (this.#endsInARow - 1));
    return { waitMs, endsInARow: this.#endsInARow };
  }

  /** Somebody has taken the process in hand: what came before does not count. */
  forget(): void {
    this.#endsInARow = 0;
  }
}
