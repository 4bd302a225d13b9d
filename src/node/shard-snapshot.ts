/**
 * A shard's state at one moment, gathered in small steps between which the node serves on. What is gathered already follows
 * the entries that are applied meanwhile, so that at the last step all of it is of that step's moment.
 */

import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import { assert } from "../kit/assert.ts";
import type { StoredShard } from "../replica/surface.ts";

/** Beginnings after which all is taken in one step: who writes so much between two steps has no peace to take it in several. */
const BEGINNINGS_MAX = 4;

export class ShardSnapshot {
  readonly #source: Pick<StoredShard, "log" | "machine">;
  readonly #firstSlot: number;
  readonly #lastSlot: number;
  #pieces: SlotRecords[] = [];
  /** Keys that were changed after the beginning, as they are now; undefined for one that does not exist. */
  #changed = new Map<string, KeyRecord | undefined>();
  #seq: number;
  #nextSlot: number;
  #beginnings = 1;

  /** @param range the slots of the shard, both included. */
  constructor(
    source: Pick<StoredShard, "log" | "machine">,
    range: { readonly firstSlot: number; readonly lastSlot: number },
  ) {
    this.#source = source;
    this.#firstSlot = range.firstSlot;
    this.#lastSlot = range.lastSlot;
    this.#seq = source.log.lastSeq;
    this.#nextSlot = range.firstSlot;
  }

  /** Whether it has all; nothing of it changes any more. */
  get isWhole(): boolean {
    return this.#nextSlot > this.#lastSlot;
  }

  /** The last entry that is in it. */
  get seq(): number {
    return this.#seq;
  }

  /**
   * Takes in what has changed since the last step, and further slots.
   * @param bytes about how many of them; one slot is never divided.
   * @returns whether it is whole.
   */
  step(bytes: number): boolean {
    assert(!this.isWhole, "a whole snapshot takes nothing more");
    if (!this.#follow()) this.#beginAgain();
    const { records, nextSlot } = this.#source.machine.copyOut(
      this.#nextSlot,
      this.#beginnings > BEGINNINGS_MAX ? Number.POSITIVE_INFINITY : bytes,
    );
    this.#pieces.push(records);
    this.#nextSlot = nextSlot;
    return this.isWhole;
  }

  /** Hands out all records once, in no order, and lets go of them. */
  *take(): Generator<KeyRecord> {
    assert(this.isWhole, "only a whole snapshot is of one moment");
    const pieces = this.#pieces.reverse();
    for (let piece = pieces.pop(); piece !== undefined; piece = pieces.pop()) {
      for (const record of piece) if (!this.#changed.has(record.key)) yield record;
    }
    for (const record of this.#changed.values()) if (record !== undefined) yield record;
    this.#changed.clear();
  }

  /** @returns false if that cannot be done key by key. */
  #follow(): boolean {
    const { log, machine } = this.#source;
    const { lastSeq } = log;
    for (let seq = this.#seq + 1; seq <= lastSeq; seq++) {
      const entry = log.at(seq);
      if (entry === undefined) return false;
      let isFlushed = false;
      entry.effects.forEachKey((kind, key) => {
        if (kind === "flush") isFlushed = true;
        else this.#changed.set(key, machine.record(key));
      });
      if (isFlushed) return false;
    }
    this.#seq = lastSeq;
    return true;
  }

  #beginAgain(): void {
    this.#beginnings += 1;
    this.#pieces = [];
    this.#changed = new Map();
    this.#seq = this.#source.log.lastSeq;
    this.#nextSlot = this.#firstSlot;
  }
}
