/** An engine that keeps its bytes in memory and remembers what was on "disk" after every batch: where a crash can leave it. */

import type { KeyRecord, SlotRecords } from "../../src/data/effect.ts";
import type { ShardId } from "../../src/replica/configuration.ts";
import type { Change, Engine, Live, LogPiece } from "../../src/store/engine.ts";

/** All that is stored; names begin with the kind, the shard and the number. */
export interface MemoryDisk {
  readonly records: ReadonlyMap<string, KeyRecord>;
  readonly logs: ReadonlyMap<string, Buffer>;
  readonly states: ReadonlyMap<ShardId, Buffer>;
}

/** What was stored after a batch. */
export interface MemoryMoment {
  readonly disk: MemoryDisk;
  readonly isSynced: boolean;
}

export class MemoryEngine implements Engine {
  forgetsExpired = false;
  readonly #records: Map<string, KeyRecord>;
  readonly #logs: Map<string, Buffer>;
  readonly #states: Map<ShardId, Buffer>;
  readonly moments: MemoryMoment[] = [];
  /** Set to make every further write fail. */
  failure: Error | undefined;

  constructor(disk?: MemoryDisk) {
    this.#records = new Map(disk?.records);
    this.#logs = new Map(disk?.logs);
    this.#states = new Map(disk?.states);
  }

  async write(changes: readonly Change[], isSynced: boolean): Promise<number> {
    await Promise.resolve();
    if (this.failure !== undefined) throw this.failure;
    for (const change of changes) {
      switch (change.kind) {
        case "record":
          this.#records.set(
            `${change.shard} ${change.generation} ${change.record.key}`,
            change.record,
          );
          break;
        case "no-record":
        case "left":
          this.#records.delete(`${change.shard} ${change.generation} ${change.key}`);
          break;
        case "log":
          this.#logs.set(`${change.shard} ${change.life} ${change.index}`, change.bytes);
          break;
        case "no-log":
          this.#logs.delete(`${change.shard} ${change.life} ${change.index}`);
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
    const prefix = `${shard} ${generation} `;
    for (const [name, record] of this.#records) if (name.startsWith(prefix)) yield [record];
  }

  async *log(shard: ShardId, life: number): AsyncIterable<readonly LogPiece[]> {
    const prefix = `${shard} ${life} `;
    const names = [...this.#logs.keys()].filter((name) => name.startsWith(prefix));
    const pieces = names.map((name) => ({
      index: Number(name.slice(prefix.length)),
      bytes: this.#logs.get(name) ?? Buffer.alloc(0),
    }));
    for (const piece of pieces.sort((a, b) => a.index - b.index)) yield [piece];
  }

  async sweep(shard: ShardId, live: Live): Promise<void> {
    await Promise.resolve();
    this.#drop((of, number, kind) => {
      return of === shard && number < (kind === "log" ? live.life : live.generation);
    });
    this.#remember(false);
  }

  async sweepAll(live: ReadonlyMap<ShardId, Live>): Promise<void> {
    this.#drop((of, number, kind) => {
      const kept = live.get(of);
      return number !== (kind === "log" ? kept?.life : kept?.generation);
    });
  }

  async close(): Promise<void> {}

  /** Names of all that is stored, for what must not be left over. */
  names(): string[] {
    return [...this.#records.keys(), ...this.#logs.keys()];
  }

  #drop(isGone: (shard: ShardId, number: number, kind: "log" | "record") => boolean): void {
    for (const [map, kind] of [
      [this.#logs, "log"],
      [this.#records, "record"],
    ] as const) {
      for (const name of map.keys()) {
        const [shard, number] = name.split(" ");
        if (isGone(Number(shard), Number(number), kind)) map.delete(name);
      }
    }
  }

  #remember(isSynced: boolean): void {
    const disk = {
      records: new Map(this.#records),
      logs: new Map(this.#logs),
      states: new Map(this.#states),
    };
    this.moments.push({ disk, isSynced });
  }
}
