/** The deletions of one keyspace that are not committed yet: a read that finds nothing depends on them. */

/** A deletion that is not committed yet. */
interface Grave {
  /** Of the key. */
  readonly hash: number;
  readonly slot: number;
  readonly seq: number;
}

/** The queue of graves is cut when so many are done with, and they are the larger part of it. */
const GRAVES_CUT_MIN = 1024;

export class Deletions {
  /**
   * Seq of each uncommitted deletion, by the key's hash. Of two keys with the same hash the later counts for both, so a read
   * of one may wait for the other. A key that exists again may still be in here: its record is asked first.
   */
  readonly #tombstones = new Map<number, number>();
  /** The deletions in the order of their seq, from `#gravesDone` on: what `committed` takes out of the tombstones. */
  #graves: Grave[] = [];
  #gravesDone = 0;
  /** Seq of the last flush while it is uncommitted, else 0. */
  #flushSeq = 0;

  /** Number of keys that are remembered, and of deletions. */
  get upkeep(): { readonly tombstones: number; readonly graves: number } {
    return { tombstones: this.#tombstones.size, graves: this.#graves.length };
  }

  /** The seq on which it depends that there is no key with this hash; 0 if all is committed. */
  seqOf(hash: number): number {
    if (this.#tombstones.size === 0) return this.#flushSeq;
    return Math.max(this.#flushSeq, this.#tombstones.get(hash) ?? 0);
  }

  /** The entry `seq` deletes a key with this hash. */
  add(hash: number, slot: number, seq: number): void {
    this.#tombstones.set(hash, seq);
    this.#graves.push({ hash, slot, seq });
  }

  /** The entry `seq` deletes every key. */
  flush(seq: number): void {
    this.clear();
    this.#flushSeq = seq;
  }

  /** Deletions up to `seq` need no longer be remembered. */
  committed(seq: number): void {
    if (this.#flushSeq <= seq) this.#flushSeq = 0;
    const graves = this.#graves;
    let done = this.#gravesDone;
    for (; done < graves.length; done++) {
      const grave = graves[done];
      if (grave === undefined || grave.seq > seq) break;
      if (this.#tombstones.get(grave.hash) === grave.seq) this.#tombstones.delete(grave.hash);
    }
    this.#gravesDone = done;
    if (done === graves.length) {
      if (done > 0) this.#graves = [];
      this.#gravesDone = 0;
    } else if (done >= GRAVES_CUT_MIN && done * 2 > graves.length) {
      this.#graves = graves.slice(done);
      this.#gravesDone = 0;
    }
  }

  /** Takes those of the slots from `at` on out, into another one. */
  divide(at: number): Deletions {
    const part = new Deletions();
    const graves = this.#graves.slice(this.#gravesDone);
    this.#remember(graves.filter(({ slot }) => slot < at));
    part.#remember(graves.filter(({ slot }) => slot >= at));
    part.#flushSeq = this.#flushSeq;
    return part;
  }

  clear(): void {
    this.#remember([]);
    this.#flushSeq = 0;
  }

  /** @param graves all deletions that are not committed, in the order of their seq. */
  #remember(graves: Grave[]): void {
    this.#graves = graves;
    this.#gravesDone = 0;
    this.#tombstones.clear();
    for (const { hash, seq } of graves) this.#tombstones.set(hash, seq);
  }
}
