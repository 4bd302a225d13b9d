/**
 * Keeps the bytes in LevelDB. What LevelDB does not see by itself is made visible here: each record carries a checksum, and
 * each batch a number, since LevelDB's recovery leaves out damaged batches of its own log without a word.
 */

import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { ClassicLevel } from "classic-level";
import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import { assert, unreachable } from "../kit/assert.ts";
import { slotOf } from "../kit/crc16.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Change, Engine, Live, LogPiece } from "./engine.ts";
import { corrupt, StoreError } from "./errors.ts";
import { checkTables, type DamagedTable } from "./table-check.ts";

type Level = ClassicLevel<Buffer, Buffer>;
type Batch = ReturnType<Level["batch"]>;

/** First byte of a key. */
const SPACE = { batch: 0x42, record: 0x4b, log: 0x4c, state: 0x53 } as const;
const SHARD_MAX = 0xffff;
const NUMBER_MAX = 0xffff_ffff;
/** Before the key in a record's name: space, shard, generation, slot. */
const RECORD_PREFIX = 9;
/** Before the value in a record: checksum, end, seq. */
const RECORD_HEADER = 20;
const LEVEL_OPTIONS = {
  keyEncoding: "buffer",
  valueEncoding: "buffer",
  // `checkTables` reads the blocks.
  compression: false,
  writeBufferSize: 16 * 1024 * 1024,
  maxFileSize: 8 * 1024 * 1024,
} as const;
/**
 * Numbers of batches are kept until so many bytes were written after them. LevelDB's own log holds two write buffers at most, so
 * every batch that could still be left out of it has its neighbours' numbers.
 */
const NUMBERED_BYTES = 128 * 1024 * 1024;
const ROWS_PER_READ = 1_000;
const READ_BYTES = 512 * 1024;

interface NumberedBatch {
  readonly number: number;
  readonly bytes: number;
}

export class LevelEngine implements Engine {
  readonly forgetsExpired = false;
  readonly #level: Level;
  /** Batches whose numbers are stored, oldest first. */
  readonly #numbered: NumberedBatch[];
  #numberedBytes = 0;
  #lastNumber = 0;

  /** @param numbered what is stored, without a gap. */
  private constructor(level: Level, numbered: NumberedBatch[]) {
    this.#level = level;
    this.#numbered = numbered;
    this.#numberedBytes = numbered.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#lastNumber = numbered.at(-1)?.number ?? 0;
  }

  /**
   * Opens or makes a LevelDB, after its files were verified. The caller holds what keeps other processes away.
   * @param directory exists.
   * @throws StoreError (`corrupt`, `locked`, `io`)
   */
  static async open(directory: string): Promise<LevelEngine> {
    const names = await onDisk(readdir(directory));
    if (!names.includes("CURRENT") && names.some((name) => /^\d+\.|^MANIFEST-/.test(name))) {
      throw corrupt("the file CURRENT is missing");
    }
    const damaged = await onDisk(checkTables(directory));
    const level = await openWithout(directory, damaged);
    try {
      return new LevelEngine(level, await readNumbers(level));
    } catch (error) {
      await level.close();
      throw error;
    }
  }

  async write(changes: readonly Change[], isSynced: boolean): Promise<number> {
    const batch = this.#level.batch();
    let bytes = 0;
    for (const change of changes) {
      switch (change.kind) {
        case "record": {
          const key = recordName(change.shard, change.generation, change.record.key);
          const value = recordBytes(key, change.record);
          batch.put(key, value);
          bytes += key.length + value.length;
          break;
        }
        case "no-record":
        case "left":
          batch.del(recordName(change.shard, change.generation, change.key));
          break;
        case "log":
          batch.put(logName(change.shard, change.life, change.index), change.bytes);
          bytes += change.bytes.length;
          break;
        case "no-log":
          batch.del(logName(change.shard, change.life, change.index));
          break;
        case "state":
          batch.put(stateName(change.shard), change.bytes);
          bytes += change.bytes.length;
          break;
        case "no-state":
          batch.del(stateName(change.shard));
          break;
        default:
          unreachable(change);
      }
    }
    this.#number(batch, bytes);
    await guarded(batch.write({ sync: isSynced }));
    return bytes;
  }

  /** Gives the batch its number, and the number of the oldest batch whose number stays. */
  #number(batch: Batch, bytes: number): void {
    const numbered = this.#numbered;
    this.#lastNumber += 1;
    numbered.push({ number: this.#lastNumber, bytes });
    this.#numberedBytes += bytes;
    let [oldest] = numbered;
    while (oldest !== undefined && this.#numberedBytes - oldest.bytes >= NUMBERED_BYTES) {
      batch.del(batchName(oldest.number));
      numbered.shift();
      this.#numberedBytes -= oldest.bytes;
      [oldest] = numbered;
    }
    const value = Buffer.alloc(12);
    value.writeUIntLE(bytes, 0, 6);
    value.writeUIntLE(oldest?.number ?? this.#lastNumber, 6, 6);
    batch.put(batchName(this.#lastNumber), value);
  }

  async states(): Promise<readonly { readonly shard: ShardId; readonly bytes: Buffer }[]> {
    const range = { gte: Buffer.of(SPACE.state), lt: Buffer.of(SPACE.state + 1) };
    const rows = await guarded(this.#level.iterator(range).all());
    return rows.map(([key, bytes]) => {
      if (key.length !== 3) throw corrupt("a state's name is malformed");
      return { shard: key.readUInt16BE(1), bytes };
    });
  }

  async *records(shard: ShardId, generation: number): AsyncIterable<SlotRecords> {
    for await (const rows of this.#rows(SPACE.record, shard, generation)) {
      yield rows.map(([key, value]) => parseRecord(key, value));
    }
  }

  async *keys(shard: ShardId, generation: number): AsyncIterable<readonly string[]> {
    for await (const rows of this.#rows(SPACE.record, shard, generation)) {
      yield rows.map(([key]) => key.toString("latin1", RECORD_PREFIX));
    }
  }

  async *log(shard: ShardId, life: number): AsyncIterable<readonly LogPiece[]> {
    for await (const rows of this.#rows(SPACE.log, shard, life)) {
      yield rows.map(([key, bytes]) => {
        if (key.length !== 13) throw corrupt("a log piece's name is malformed");
        return { index: key.readUIntBE(7, 6), bytes };
      });
    }
  }

  async sweep(shard: ShardId, { life, generation }: Live): Promise<void> {
    await guarded(
      this.#level.clear({ gte: prefix(SPACE.log, shard, 0), lt: prefix(SPACE.log, shard, life) }),
    );
    await guarded(
      this.#level.clear({
        gte: prefix(SPACE.record, shard, 0),
        lt: prefix(SPACE.record, shard, generation),
      }),
    );
  }

  async sweepAll(live: ReadonlyMap<ShardId, Live>): Promise<void> {
    for (const space of [SPACE.log, SPACE.record]) {
      let from: Buffer = Buffer.of(space);
      for (;;) {
        const [key] = await guarded(
          this.#level.keys({ gte: from, lt: Buffer.of(space + 1), limit: 1 }).all(),
        );
        if (key === undefined) break;
        if (key.length < 7) throw corrupt("a name is malformed");
        const shard = key.readUInt16BE(1);
        const number = key.readUInt32BE(3);
        const kept = live.get(shard);
        const after = prefixAfter(space, shard, number);
        if (kept === undefined || number !== (space === SPACE.log ? kept.life : kept.generation)) {
          await guarded(this.#level.clear({ gte: key, lt: after }));
        }
        from = after;
      }
    }
  }

  async close(): Promise<void> {
    await guarded(this.#level.close());
  }

  /** The next rows are read while the caller works on these. */
  async *#rows(space: number, shard: ShardId, number: number): AsyncIterable<[Buffer, Buffer][]> {
    const iterator = this.#level.iterator({
      gte: prefix(space, shard, number),
      lt: prefixAfter(space, shard, number),
      highWaterMarkBytes: READ_BYTES,
      fillCache: false,
    });
    try {
      let reading = guarded(iterator.nextv(ROWS_PER_READ));
      for (;;) {
        const rows = await reading;
        if (rows.length === 0) return;
        reading = guarded(iterator.nextv(ROWS_PER_READ));
        // Whoever stops early never asks what became of it.
        reading.catch(() => {});
        yield rows;
      }
    } finally {
      await iterator.close();
    }
  }
}

/**
 * Whether a damaged table matters only LevelDB knows: a process that ends while LevelDB merges tables leaves an unfinished one
 * that nothing refers to. So they are taken away; LevelDB then opens only if it misses none of them.
 */
async function openWithout(directory: string, damaged: readonly DamagedTable[]): Promise<Level> {
  const paths = damaged.map(({ name }) => join(directory, `${name}.damaged`));
  for (const { name } of damaged) {
    await onDisk(rename(join(directory, name), join(directory, `${name}.damaged`)));
  }
  let level: Level;
  try {
    level = await openLevel(directory);
  } catch (error) {
    const [first] = damaged;
    if (first === undefined || !(error instanceof StoreError && error.code === "corrupt")) {
      throw error;
    }
    throw corrupt(`${first.name}: ${first.reason}`, error);
  }
  for (const path of paths) await onDisk(rm(path));
  return level;
}

/**
 * @param directory exists.
 * @throws StoreError (`corrupt`, `locked`, `io`)
 */
export async function openLevel(directory: string): Promise<Level> {
  const level: Level = new ClassicLevel<Buffer, Buffer>(directory, LEVEL_OPTIONS);
  try {
    await guarded(level.open());
  } catch (error) {
    // The directory is there, so a file is missing in it, or a name in one of its files is wrong.
    if (error instanceof StoreError && /: No such file or directory$/.test(error.message)) {
      throw corrupt(error.message, error);
    }
    throw error;
  }
  return level;
}

/** @throws StoreError (`corrupt`) if a batch is missing that was there before a later one. */
async function readNumbers(level: Level): Promise<NumberedBatch[]> {
  const range = { gte: Buffer.of(SPACE.batch), lt: Buffer.of(SPACE.batch + 1) };
  const numbered: NumberedBatch[] = [];
  let oldest = 0;
  for (const [key, value] of await guarded(level.iterator(range).all())) {
    if (key.length !== 7 || value.length !== 12) throw corrupt("a batch's number is malformed");
    const number = key.readUIntBE(1, 6);
    const before = numbered.at(-1)?.number ?? number - 1;
    if (number !== before + 1) {
      throw corrupt(`the batches between ${before} and ${number} are missing`);
    }
    numbered.push({ number, bytes: value.readUIntLE(0, 6) });
    oldest = value.readUIntLE(6, 6);
  }
  const [first] = numbered;
  if (first !== undefined && first.number !== oldest) {
    throw corrupt(`the batches between ${oldest} and ${first.number} are missing`);
  }
  return numbered;
}

function prefix(space: number, shard: ShardId, number: number): Buffer {
  assert(shard <= SHARD_MAX && number <= NUMBER_MAX, "a name has room for its numbers");
  const bytes = Buffer.allocUnsafe(7);
  bytes[0] = space;
  bytes.writeUInt16BE(shard, 1);
  bytes.writeUInt32BE(number, 3);
  return bytes;
}

/** The name after all that begin with this prefix. */
function prefixAfter(space: number, shard: ShardId, number: number): Buffer {
  if (number < NUMBER_MAX) return prefix(space, shard, number + 1);
  return shard < SHARD_MAX ? prefix(space, shard + 1, 0) : Buffer.of(space + 1);
}

function recordName(shard: ShardId, generation: number, key: string): Buffer {
  const name = Buffer.allocUnsafe(RECORD_PREFIX + key.length);
  name[0] = SPACE.record;
  name.writeUInt16BE(shard, 1);
  name.writeUInt32BE(generation, 3);
  name.writeUInt16BE(slotOf(key), 7);
  name.write(key, RECORD_PREFIX, "latin1");
  return name;
}

function recordBytes(name: Buffer, { value, expireAtMs, seq }: KeyRecord): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_HEADER + value.length);
  bytes.writeDoubleLE(expireAtMs, 4);
  bytes.writeDoubleLE(seq, 12);
  bytes.write(value, RECORD_HEADER, "latin1");
  bytes.writeUInt32LE(recordChecksum(name, bytes));
  return bytes;
}

function parseRecord(name: Buffer, bytes: Buffer): KeyRecord {
  if (name.length < RECORD_PREFIX || bytes.length < RECORD_HEADER) {
    throw corrupt("a record is too short");
  }
  if (recordChecksum(name, bytes) !== bytes.readUInt32LE()) {
    throw corrupt("a record is not what its checksum says");
  }
  return {
    key: name.toString("latin1", RECORD_PREFIX),
    value: bytes.toString("latin1", RECORD_HEADER),
    expireAtMs: bytes.readDoubleLE(4),
    seq: bytes.readDoubleLE(12),
  };
}

function recordChecksum(name: Buffer, bytes: Buffer): number {
  return crc32(bytes.subarray(4), crc32(name));
}

function logName(shard: ShardId, life: number, index: number): Buffer {
  const name = Buffer.allocUnsafe(13);
  prefix(SPACE.log, shard, life).copy(name);
  name.writeUIntBE(index, 7, 6);
  return name;
}

function stateName(shard: ShardId): Buffer {
  assert(shard <= SHARD_MAX, "a name has room for its numbers");
  const name = Buffer.allocUnsafe(3);
  name[0] = SPACE.state;
  name.writeUInt16BE(shard, 1);
  return name;
}

function batchName(number: number): Buffer {
  const name = Buffer.allocUnsafe(7);
  name[0] = SPACE.batch;
  name.writeUIntBE(number, 1, 6);
  return name;
}

/** Gives LevelDB's errors the codes of this room. */
async function guarded<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw storeError(error);
  }
}

/** Gives errors of the file system the code `io`. */
async function onDisk<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError(error instanceof Error ? error.message : String(error), {
      code: "io",
      cause: error,
    });
  }
}

function storeError(error: unknown): StoreError {
  // An error at opening wraps the one that LevelDB gave.
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = inner instanceof Error && "code" in inner ? inner.code : undefined;
  const message = inner instanceof Error ? inner.message : String(inner);
  if (code === "LEVEL_LOCKED") return new StoreError(message, { code: "locked", cause: error });
  if (code === "LEVEL_CORRUPTION") return corrupt(message, error);
  return new StoreError(message, { code: "io", cause: error });
}
