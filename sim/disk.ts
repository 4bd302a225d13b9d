/** A simulated node's disk: takes the journal in order, some time later, and gives it back after a crash. */

import { ShardEngine } from "../src/commands/shard-engine.ts";
import type { SlotRecords } from "../src/data/effect.ts";
import { slotOf } from "../src/kit/crc16.ts";
import type { Prng } from "../src/kit/prng.ts";
import type { Settings, ShardId } from "../src/replica/configuration.ts";
import type { Core } from "../src/replica/core.ts";
import type { Entry } from "../src/replica/entry.ts";
import type { Checkpoint, JournalItem } from "../src/replica/journal.ts";
import type { CoreOptions } from "../src/replica/surface.ts";
import type { EventQueue } from "./event-queue.ts";

/** Chance that a batch brings a checkpoint of each shard that it touches. */
const CHECKPOINT_CHANCE = 0.05;
/** Longest time that a batch may take now and then under `fsync`, ms, however fast the disk is otherwise. */
const SLOW_SYNC_MS_MAX = 40;

interface Base {
  readonly checkpoint: Checkpoint;
  readonly records: SlotRecords;
}

/** What the disk holds of a shard. */
interface Stored {
  base: Base;
  entries: readonly Entry[];
  startedEpoch: number;
}

/** A change of what is held; `undefined` deletes it. */
type Change = (stored: Stored | undefined) => Stored | undefined;

export class SimDisk {
  readonly #queue: EventQueue;
  readonly #prng: Prng;
  readonly #settings: Settings;
  readonly #syncMsMax: number;
  readonly #stored = new Map<ShardId, Stored>();
  /** Written, and not on the disk yet. */
  #pending: { readonly shard: ShardId; readonly change: Change }[] = [];
  #items = 0;
  #isBusy = false;
  #isFresh = true;
  #hasFailed = false;
  /** It takes nothing for the moment: what it will do when it goes on. */
  #held: (() => void)[] | undefined;
  /** Grows when the power goes: what was under way then is lost. */
  #life = 0;

  /** @param syncMsMax the longest time that a batch usually takes under `fsync`, ms. */
  constructor(queue: EventQueue, prng: Prng, settings: Settings, syncMsMax: number) {
    this.#queue = queue;
    this.#prng = prng;
    this.#settings = settings;
    this.#syncMsMax = syncMsMax;
  }

  /**
   * Takes what a core wants written, at once after it was drained.
   * @param onSaved is told how many items, from the first of this process, are on the disk.
   */
  write(core: Core, items: readonly JournalItem[], onSaved: (items: number) => void): void {
    if (this.#hasFailed) return;
    for (const item of items) {
      this.#items += 1;
      this.#pending.push({ shard: item.shard, change: this.#changeOf(core, item) });
    }
    if (items.length === 0 || this.#isBusy) return;
    this.#isBusy = true;
    this.#queue.after(this.#delayMs(), () => this.#flush(core, this.#life, onSaved));
  }

  #delayMs(): number {
    const { durability, flushMs } = this.#settings;
    if (durability === "async") return flushMs;
    const syncMsMax = this.#prng.chance(0.1) ? SLOW_SYNC_MS_MAX : this.#syncMsMax;
    return this.#prng.between(0.05, syncMsMax);
  }

  #flush(core: Core, life: number, onSaved: (items: number) => void): void {
    if (life !== this.#life) return;
    if (this.#held !== undefined) {
      this.#held.push(() => this.#flush(core, life, onSaved));
      return;
    }
    this.#isBusy = false;
    const shards = new Set(this.#pending.map(({ shard }) => shard));
    for (const { shard, change } of this.#pending) {
      const next = change(this.#stored.get(shard));
      this.#keep(shard, next);
    }
    this.#pending = [];
    for (const shard of shards) {
      if (this.#stored.has(shard) && this.#prng.chance(CHECKPOINT_CHANCE)) {
        const base = baseOf(core, shard);
        if (base !== undefined) {
          this.#pending.push({ shard, change: (stored) => withBase(stored, base) });
        }
      }
    }
    onSaved(this.#items);
  }

  #changeOf(core: Core, item: JournalItem): Change {
    switch (item.kind) {
      case "entries":
        // Of a shard whose state is not stored, entries are of no use.
        return (stored) => stored && { ...stored, entries: [...stored.entries, ...item.entries] };
      case "started":
        return (stored) => stored && { ...stored, startedEpoch: item.epoch };
      case "void":
        return () => undefined;
      case "divided": {
        const { shard, into, at } = item;
        const part = baseOf(core, into);
        return (stored) => {
          if (stored === undefined) return undefined;
          const { firstSlot, lastSlot } = stored.base.checkpoint;
          // What is stored of it may have been taken after it was divided.
          if (lastSlot >= at) {
            this.#keep(into, withSlots(stored, { shard: into, firstSlot: at, lastSlot }));
          } else if (part !== undefined) {
            const { startedEpoch } = part.checkpoint;
            this.#keep(into, { base: part, entries: [], startedEpoch });
          }
          return withSlots(stored, { shard, firstSlot, lastSlot: Math.min(lastSlot, at - 1) });
        };
      }
      case "whole": {
        const base = baseOf(core, item.shard);
        if (base === undefined) return () => undefined;
        const { startedEpoch } = base.checkpoint;
        return () => ({ base, entries: [], startedEpoch });
      }
    }
  }

  #keep(shard: ShardId, stored: Stored | undefined): void {
    if (stored === undefined) this.#stored.delete(shard);
    else this.#stored.set(shard, stored);
  }

  /** Nothing comes to an end until `release`, nor does anything fail. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const goOn of held) goOn();
  }

  /** Nothing more can be written. */
  fail(): void {
    this.crash();
    this.#hasFailed = true;
  }

  /** Another disk takes its place while the process runs: nothing is on it, and the journal begins anew. */
  replace(): void {
    this.crash();
    this.#stored.clear();
  }

  /** The process ends, or the power goes: only what is on the disk is left. */
  crash(): void {
    this.#life += 1;
    this.#pending = [];
    this.#items = 0;
    this.#isBusy = false;
    this.#hasFailed = false;
    this.#held = undefined;
  }

  /** The disk is gone, and another is there in its place. */
  wipe(): void {
    this.#stored.clear();
    this.#isFresh = true;
  }

  /** What a starting process finds; undefined on a disk that it has never used. */
  restored(): CoreOptions["restored"] {
    if (this.#isFresh) {
      this.#isFresh = false;
      return undefined;
    }
    const restored = new Map();
    for (const [shard, { base, entries, startedEpoch }] of this.#stored) {
      const { checkpoint } = base;
      const machine = new ShardEngine(checkpoint);
      machine.copyIn(base.records);
      // Entries from before the checkpoint are kept to feed others, and are in the records already.
      for (const { seq, effects } of entries) {
        if (seq > checkpoint.seq) machine.apply(effects, seq);
      }
      restored.set(shard, { log: { checkpoint, entries, startedEpoch }, machine });
    }
    return restored;
  }
}

/** The shard as it is now; undefined if its copy is not whole. */
function baseOf(core: Core, id: ShardId): Base | undefined {
  const shard = core.shards.find((candidate) => candidate.id === id);
  if (shard === undefined || !shard.learner.isIntact) return undefined;
  const { firstSlot } = shard.record;
  const { records } = shard.machine.copyOut(firstSlot, Number.POSITIVE_INFINITY);
  return { checkpoint: shard.checkpoint(), records };
}

/** What is stored of a part of the shard's slots. */
function withSlots(
  { base, ...rest }: Stored,
  part: Pick<Checkpoint, "shard" | "firstSlot" | "lastSlot">,
): Stored {
  const records = base.records.filter(({ key }) => {
    const slot = slotOf(key);
    return slot >= part.firstSlot && slot <= part.lastSlot;
  });
  return { ...rest, base: { checkpoint: { ...base.checkpoint, ...part }, records } };
}

/** Entries from one checkpoint before are kept, to feed others with. */
function withBase(stored: Stored | undefined, base: Base): Stored | undefined {
  if (stored === undefined) return undefined;
  // The state may be ahead of what was written of the log.
  const writtenSeq = stored.entries.at(-1)?.seq ?? stored.base.checkpoint.seq;
  if (writtenSeq < base.checkpoint.seq) return stored;
  // The shard was divided in memory, and what is written has not come as far.
  if (stored.base.checkpoint.lastSlot !== base.checkpoint.lastSlot) return stored;
  const keptAfter = stored.base.checkpoint.seq;
  return { ...stored, base, entries: stored.entries.filter(({ seq }) => seq > keptAfter) };
}
