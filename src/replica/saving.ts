/** How much of a shard is on this node's disk, where an acknowledgement waits for that (I2 under `fsync`). */

export class Saving {
  /** In order: once so many items of the journal are saved, the log is as far as `seq`. */
  #waiting: { readonly items: number; readonly seq: number }[] = [];
  /** What is on disk of the log as of the present epoch's start, or of what a learner holds; -1 before that is. */
  #seq = -1;

  get seq(): number {
    return this.#seq;
  }

  /** What was saved counts anew from here on. */
  reset(): void {
    this.#waiting = [];
    this.#seq = -1;
  }

  /**
   * @param items of the journal so far, the one that says so included.
   * @param savedItems how many of them are on disk now.
   * @param seq where the log then is.
   */
  expect(items: number, savedItems: number, seq: number): void {
    if (items <= savedItems) this.#seq = seq;
    else this.#waiting.push({ items, seq });
  }

  /** Returns whether anything came of it. */
  saved(items: number): boolean {
    let done = 0;
    for (const waiting of this.#waiting) {
      if (waiting.items > items) break;
      this.#seq = waiting.seq;
      done += 1;
    }
    if (done > 0) this.#waiting.splice(0, done);
    return done > 0;
  }
}
