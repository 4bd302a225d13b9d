/** What the store needs of the core, for its tests: shards with a log, their states, and the rules of a replay. */

import assert from "node:assert/strict";
import type { Effect, KeyRecord, SlotRecords } from "../../src/data/effect.ts";
import { effectsOf } from "../../src/data/effect-writer.ts";
import { slotOf } from "../../src/kit/crc16.ts";
import type { ShardId } from "../../src/replica/configuration.ts";
import type { Entry } from "../../src/replica/entry.ts";
import type { Checkpoint, JournalItem, RestoredLog } from "../../src/replica/journal.ts";
import type { StoreSource } from "../../src/store/checkpoints.ts";
import type { LoadHandlers } from "../../src/store/load.ts";

const LAST_SLOT = 16_383;

/** A shard, at first over all slots. */
export class StoreShard {
  readonly shard: ShardId;
  readonly keys = new Map<string, KeyRecord>();
  seq: number;
  startedEpoch = 0;
  firstSlot = 0;
  lastSlot = LAST_SLOT;

  /** @param seq of the last entry before the first that `order` makes. */
  constructor(shard: ShardId, seq = 0) {
    this.shard = shard;
    this.seq = seq;
  }

  /** Whether the key is in one of the shard's slots. */
  holds(key: string): boolean {
    const slot = slotOf(key);
    return slot >= this.firstSlot && slot <= this.lastSlot;
  }

  /** Takes the slots from `at` on out, into another shard, whose log is this one's so far. */
  divide(into: ShardId, at: number): StoreShard {
    const part = new StoreShard(into, this.seq);
    part.startedEpoch = this.startedEpoch;
    part.firstSlot = at;
    part.lastSlot = this.lastSlot;
    this.lastSlot = at - 1;
    for (const [key, record] of this.keys) {
      if (this.holds(key)) continue;
      part.keys.set(key, record);
      this.keys.delete(key);
    }
    return part;
  }

  /**
   * Orders an entry and applies it, as a primary does: effects on missing keys that need one are left out, and those on keys of
   * other shards.
   */
  order(effects: readonly Effect[]): Entry {
    const seq = this.seq + 1;
    const done: Effect[] = [];
    for (const effect of effects) {
      const needsKey = effect.kind === "delete" || effect.kind === "expire";
      if (needsKey && !this.keys.has(effect.key)) continue;
      if (effect.kind !== "flush" && !this.holds(effect.key)) continue;
      done.push(effect);
      this.#apply(effect, seq);
    }
    this.seq = seq;
    const stamp = { node: "n1", incarnation: 7, counter: seq, doneBelow: seq };
    return { seq, epoch: 1, stamp, reply: "OK", effects: effectsOf(done) };
  }

  /** Applies an entry on top of records of which some may be newer. */
  replay(entry: Entry): void {
    assert.equal(entry.seq, this.seq + 1, "entries are replayed in order");
    /** Keys that this entry has written here: their records are not newer than what it does to them next. */
    const own = new Set<string>();
    const isNewer = ({ key, seq }: KeyRecord): boolean => seq >= entry.seq && !own.has(key);
    for (const effect of entry.effects) {
      if (effect.kind === "flush") {
        for (const [key, record] of this.keys) if (!isNewer(record)) this.keys.delete(key);
        continue;
      }
      if (!this.holds(effect.key)) continue;
      const record = this.keys.get(effect.key);
      if (record !== undefined && isNewer(record)) continue;
      if (record === undefined && (effect.kind === "delete" || effect.kind === "expire")) continue;
      this.#apply(effect, entry.seq);
      own.add(effect.key);
    }
    this.seq = entry.seq;
  }

  checkpoint(): Checkpoint {
    return {
      shard: this.shard,
      firstSlot: this.firstSlot,
      lastSlot: this.lastSlot,
      seq: this.seq,
      epochs: [{ epoch: 1, firstSeq: 1 }],
      startedEpoch: this.startedEpoch,
      stamps: [
        {
          node: "n1",
          incarnation: 7,
          doneBelow: this.seq,
          ordered: [{ counter: this.seq, seq: this.seq, reply: "OK" }],
        },
      ],
    };
  }

  /** The state, in a form that can be compared. */
  contents(): readonly KeyRecord[] {
    return [...this.keys.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #apply(effect: Effect, seq: number): void {
    const { keys } = this;
    switch (effect.kind) {
      case "set":
        keys.set(effect.key, {
          key: effect.key,
          value: effect.value,
          expireAtMs: effect.expireAtMs,
          seq,
        });
        return;
      case "delete":
        keys.delete(effect.key);
        return;
      case "expire":
        this.#change(effect.key, seq, (record) => ({ ...record, expireAtMs: effect.expireAtMs }));
        return;
      case "append":
        this.#change(effect.key, seq, (record) => ({
          ...record,
          value: record.value + effect.bytes,
        }));
        return;
      case "overwrite":
        this.#change(effect.key, seq, (record) => ({
          ...record,
          value:
            record.value.slice(0, effect.offset).padEnd(effect.offset, "\0") +
            effect.bytes +
            record.value.slice(effect.offset + effect.bytes.length),
        }));
        return;
      case "flush":
        keys.clear();
        return;
    }
  }

  #change(key: string, seq: number, change: (record: KeyRecord) => KeyRecord): void {
    const record = this.keys.get(key) ?? { key, value: "", expireAtMs: 0, seq };
    this.keys.set(key, { ...change(record), seq });
  }
}

/** Some shards as the store sees them. */
export function sourceOf(shards: ReadonlyMap<ShardId, StoreShard>): StoreSource {
  const find = (shard: ShardId): StoreShard => {
    const found = shards.get(shard);
    assert.ok(found, `the store asks for shard ${shard}`);
    return found;
  };
  return {
    seq: (shard) => find(shard).seq,
    lastSlot: (shard) => find(shard).lastSlot,
    checkpoint: (shard) => find(shard).checkpoint(),
    record: (shard, key) => find(shard).keys.get(key),
    records: (shard, fromSlot, bytes) => copyOut(find(shard), fromSlot, bytes),
  };
}

function copyOut(
  { keys, lastSlot }: StoreShard,
  fromSlot: number,
  bytesMax: number,
): { records: SlotRecords; nextSlot: number } {
  const slots = new Map<number, KeyRecord[]>();
  for (const record of keys.values()) {
    const slot = slotOf(record.key);
    if (slot >= fromSlot) slots.set(slot, [...(slots.get(slot) ?? []), record]);
  }
  const records: KeyRecord[] = [];
  let bytes = 0;
  for (const slot of [...slots.keys()].sort((a, b) => a - b)) {
    if (bytes >= bytesMax) return { records, nextSlot: slot };
    for (const record of slots.get(slot) ?? []) {
      records.push(record);
      bytes += record.key.length + record.value.length;
    }
  }
  return { records, nextSlot: lastSlot + 1 };
}

/** Rebuilds shards out of what a store gives back. */
export class Restored implements LoadHandlers {
  readonly shards = new Map<ShardId, StoreShard>();
  readonly logs = new Map<ShardId, RestoredLog>();
  discards = 0;

  begin(checkpoint: Checkpoint): void {
    assert.ok(!this.shards.has(checkpoint.shard), `shard ${checkpoint.shard} is there once`);
    const shard = new StoreShard(checkpoint.shard, checkpoint.seq);
    shard.firstSlot = checkpoint.firstSlot;
    shard.lastSlot = checkpoint.lastSlot;
    this.shards.set(checkpoint.shard, shard);
  }

  records(shard: ShardId, records: SlotRecords): void {
    for (const record of records) {
      assert.ok(this.shards.get(shard)?.holds(record.key), "records are of the shard's slots");
      this.shards.get(shard)?.keys.set(record.key, record);
    }
  }

  restored(log: RestoredLog): void {
    const shard = this.shards.get(log.checkpoint.shard);
    assert.ok(shard);
    this.logs.set(log.checkpoint.shard, log);
    for (const entry of log.entries) if (entry.seq > log.checkpoint.seq) shard.replay(entry);
    shard.startedEpoch = log.startedEpoch;
  }

  discard(): void {
    this.shards.clear();
    this.logs.clear();
    this.discards += 1;
  }
}

/** The items with which a core begins to have a shard stored. */
export function begun(shard: ShardId): readonly JournalItem[] {
  return [
    { kind: "void", shard },
    { kind: "whole", shard },
  ];
}
