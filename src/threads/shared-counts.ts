/** The counts that all threads of a node have in common, in memory that they share. */

/** Places, as 64-bit integers. */
const CONNECTIONS = 0;
const LAST_ID = 1;
const PLACES = 2;

export class SharedCounts {
  /** To be given to the other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #counts: BigInt64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8 * PLACES)) {
    this.memory = memory;
    this.#counts = new BigInt64Array(memory);
  }

  /** Open connections. */
  get connections(): number {
    return Number(Atomics.load(this.#counts, CONNECTIONS));
  }

  /**
   * Counts a connection in.
   * @param max connections that there may be.
   * @returns a number that none had before; undefined if there are `max` connections already.
   */
  admit(max: number): number | undefined {
    // Counted first and looked at then, so that two threads never both take the last place.
    if (Number(Atomics.add(this.#counts, CONNECTIONS, 1n)) >= max) {
      this.left();
      return undefined;
    }
    return Number(Atomics.add(this.#counts, LAST_ID, 1n)) + 1;
  }

  /** Counts a connection out. */
  left(): void {
    Atomics.sub(this.#counts, CONNECTIONS, 1n);
  }
}
