/**
 * An engine that keeps its bytes in memory and remembers what was on "disk" after every batch: where a crash can leave it.
 * One that forgets what has expired has each key's value once, as Redis does: for all shards and generations.
 */

import type { KeyRecord, SlotRecords } from "../../src/data/effect.ts";
import type { ShardId } from "../../src/replica/configuration.ts";
import type { Change, Engine, Live, LogPiece } from "../../src/store/engine.ts";
import { corrupt } from "../../src/store/errors.ts";

/** All that is stored; names begin with the kind, the shard and the number. */
export interface MemoryDisk {
  readonly records: ReadonlyMap<string, KeyRecord>;
  /** By key, of an engine that has each value once. */
  readonly values: ReadonlyMap<string, KeyRecord>;
  readonly logs: ReadonlyMap<string, Buffer>;
  readonly states: ReadonlyMap<ShardId, Buffer>;
}

/** What was stored after a batch. */
export interface MemoryMoment {
  readonly disk: MemoryDisk;
  readonly isSynced: boolean;
}

export class MemoryEngine implements Engine {
  readonly forgetsExpired: boolean;
  readonly #records: Map<string, KeyRecord>;
  readonly #values: Map<string, KeyRecord>;
  readonly #logs: Map<string, Buffer>;
  readonly #states: Map<ShardId, Buffer>;
  readonly moments: MemoryMoment[] = [];
  /** Set to make every further write fail. */
  failure: Error | undefined;

  constructor(disk?: MemoryDisk, { forgetsExpired = false } = {}) {
    this.forgetsExpired = forgetsExpired;
    this.#records = new Map(disk?.records);
    this.#values = new Map(disk?.values);
    this.#logs = new Map(disk?.logs);
    this.#states = new Map(disk?.states);
  }

  async write(changes: readonly Change[], isSynced: boolean): Promise<number> {
    await Promise.resolve();
    if (this.failure !== undefined) throw this.failure;
    for (const change of changes) {
      switch (change.kind) {
        case "record": {
          const { shard, generation, record } = change;
          this.#forget(shard, generation, record.key);
          this.#records.set(nameOf(shard, generation, record.key), record);
          if (this.forgetsExpired) this.#values.set(record.key, record);
          break;
        }
        case "no-record":
          this.#forget(change.shard, change.generation, change.key);
          this.#values.delete(change.key);
          break;
        case "left":
          // The value is the other shard's.
          this.#forget(change.shard, change.generation, change.key);
          break;
        case "log":
          this.#logs.set(nameOf(change.shard, change.life, String(change.index)), change.bytes);
          break;
        case "no-log":
          this.#logs.delete(nameOf(change.shard, change.life, String(change.index)));
          break;
        case "state":
          this.#states.set(change.shard, change.bytes);
          break;
        case "no-state":
          this.#states.delete(change.shard);
          break;
      }
    }
    this.#remember(isSynced);
    return changes.length;
  }

  async states(): Promise<readonly { readonly shard: ShardId; readonly bytes: Buffer }[]> {
    return [...this.#states].map(([shard, bytes]) => ({ shard, bytes }));
  }

  async *records(shard: ShardId, generation: number): AsyncIterable<SlotRecords> {
    for (const record of this.#live(shard, generation)) {
      if (this.forgetsExpired && this.#values.get(record.key) !== record) {
        throw corrupt(`the value of ${JSON.stringify(record.key)} is another`);
      }
      yield [record];
    }
  }

  async *keys(shard: ShardId, generation: number): AsyncIterable<readonly string[]> {
    for (const { key } of this.#live(shard, generation)) yield [key];
  }

  /** As they are now: a batch may come while they are read. */
  #live(shard: ShardId, generation: number): readonly KeyRecord[] {
    const isLive = (name: string): boolean => {
      const [of, number] = numbersOf(name);
      if (of !== shard) return false;
      return this.forgetsExpired ? number >= generation : number === generation;
    };
    return [...this.#records].filter(([name]) => isLive(name)).map(([, record]) => record);
  }

  async *log(shard: ShardId, life: number): AsyncIterable<readonly LogPiece[]> {
    const prefix = nameOf(shard, life, "");
    const names = [...this.#logs.keys()].filter((name) => name.startsWith(prefix));
    const pieces = names.map((name) => ({
      index: Number(name.slice(prefix.length)),
      bytes: this.#logs.get(name) ?? Buffer.alloc(0),
    }));
    for (const piece of pieces.sort((a, b) => a.index - b.index)) yield [piece];
  }

  async sweep(shard: ShardId, live: Live): Promise<void> {
    await Promise.resolve();
    this.#drop(this.#logs, (of, life) => of === shard && life < live.life);
    this.#drop(this.#records, (of, generation) => of === shard && generation < live.generation);
    this.#remember(false);
  }

  async sweepAll(live: ReadonlyMap<ShardId, Live>): Promise<void> {
    this.#drop(this.#logs, (of, life) => life !== live.get(of)?.life);
    this.#drop(this.#records, (of, generation) => {
      const kept = live.get(of)?.generation ?? Number.POSITIVE_INFINITY;
      return this.forgetsExpired ? generation < kept : generation !== kept;
    });
  }

  async close(): Promise<void> {}

  /** Names of all that is stored, for what must not be left over. */
  names(): string[] {
    return [...this.#records.keys(), ...this.#logs.keys()];
  }

  /** The record goes, and in an engine that has each value once whatever there is of the key in the shard. */
  #forget(shard: ShardId, generation: number, key: string): void {
    if (!this.forgetsExpired) {
      this.#records.delete(nameOf(shard, generation, key));
      return;
    }
    for (const [name, record] of this.#records) {
      if (record.key === key && numbersOf(name)[0] === shard) this.#records.delete(name);
    }
  }

  /** Drops what is of these shards and numbers, and the values that no other shard has. */
  #drop(
    map: Map<string, Buffer> | Map<string, KeyRecord>,
    isGone: (shard: ShardId, number: number) => boolean,
  ): void {
    for (const [name, stored] of map) {
      if (!isGone(...numbersOf(name))) continue;
      map.delete(name);
      if (!Buffer.isBuffer(stored) && !this.#isMarked(stored.key)) this.#values.delete(stored.key);
    }
  }

  #isMarked(key: string): boolean {
    for (const record of this.#records.values()) if (record.key === key) return true;
    return false;
  }

  #remember(isSynced: boolean): void {
    const disk = {
      records: new Map(this.#records),
      values: new Map(this.#values),
      logs: new Map(this.#logs),
      states: new Map(this.#states),
    };
    this.moments.push({ disk, isSynced });
  }
}

function nameOf(shard: ShardId, number: number, rest: string): string {
  return `${shard} ${number} ${rest}`;
}

/** @returns shard, and life or generation. */
function numbersOf(name: string): [shard: ShardId, number: number] {
  const [shard, number] = name.split(" ");
  return [Number(shard), Number(number)];
}
