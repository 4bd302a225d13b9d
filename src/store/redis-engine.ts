/**
 * Keeps a node's durable copy in a Redis server (or whatever speaks its protocol), where people can read their data: each key
 * is a plain string of its own name, with its time. What only this program needs lies under names that begin with
 * `hothot:store:`; a key of the users that begins so too is stored behind `hothot:store:key:`.
 *
 *     hothot:store:identity              whose it is
 *     hothot:store:states                hash: shard → what is live of it
 *     hothot:store:places                set: the names of all hashes below
 *     hothot:store:log:<shard>:<life>    hash: index → piece of the log
 *     hothot:store:keys:<shard>          hash: key → generation, checksum, end and seq of its value
 *
 * A batch is one MULTI/EXEC. How much of it survives a crash of the server is up to the server's own settings.
 */

import { crc32 } from "node:zlib";
import { createClient, RESP_TYPES } from "redis";
import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import { unreachable } from "../kit/assert.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Change, Engine, Live, LogPiece } from "./engine.ts";
import { corrupt, StoreError } from "./errors.ts";

type Argument = string | Buffer;

const OWN = "hothot:store:";
export const IDENTITY_NAME = `${OWN}identity`;
const STATES = `${OWN}states`;
const PLACES = `${OWN}places`;
const ESCAPE = `${OWN}key:`;
/**
 * Redis keeps a key so much longer than its time, ms. Its clock may be ahead of a primary's, which may still have the key
 * changed or read in time; the time itself is beside the value, and counts.
 */
const GRACE_MS = 60_000;
const CONNECT_MS = 5_000;
const SCAN_COUNT = "1000";
const GENERATION_DIGITS = 16;
const MARK_BYTES = GENERATION_DIGITS + 4 + 8 + 8;
/** Before the shard in the name of its hash of keys. */
const KEYS = `${OWN}keys:`;
/** A script's commands take some 8,000 arguments, and a scan may give several times the count that it was asked for. */
const SWEEP_KEYS = 1_000;
/**
 * Deletes the keys of ARGV whose generation is below the first argument, and their values unless another shard has the key
 * too: its value is the newer one. A script, for between a look at a generation and the deletion a batch may come that gives
 * the key a new one.
 */
const SWEEP = `
local old, names = {}, {}
for i = 2, #ARGV, 2 do
  local mark = redis.call('HGET', KEYS[1], ARGV[i])
  if mark and tonumber(string.sub(mark, 1, ${GENERATION_DIGITS})) < tonumber(ARGV[1]) then
    old[#old + 1] = ARGV[i]
    names[#old] = ARGV[i + 1]
  end
end
if #old == 0 then return 0 end
redis.call('HDEL', KEYS[1], unpack(old))
for _, place in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if string.find(place, '${KEYS}', 1, true) == 1 then
    for i, mark in ipairs(redis.call('HMGET', place, unpack(old))) do
      if mark then names[i] = false end
    end
  end
end
for _, name in ipairs(names) do
  if name then redis.call('DEL', name) end
end
return #old`;

/** One connection whose replies come as bytes. It is never made anew: what was under way on it is unknown. */
export class RedisConnection {
  readonly #client: ReturnType<typeof newClient>;

  private constructor(client: ReturnType<typeof newClient>) {
    this.#client = client;
  }

  /** @throws StoreError (`io`) */
  static async open(url: string): Promise<RedisConnection> {
    const client = newClient(url);
    // Every command that fails for it is told so.
    client.on("error", () => {});
    await guarded(client.connect());
    return new RedisConnection(client);
  }

  /** @throws StoreError (`io`) */
  async send(...parts: readonly Argument[]): Promise<unknown> {
    return guarded(this.#client.sendCommand([...parts], { typeMapping: AS_BYTES }));
  }

  /** All of the commands or none. @throws StoreError (`io`) */
  async transact(commands: readonly (readonly Argument[])[]): Promise<void> {
    const multi = this.#client.multi();
    for (const command of commands) multi.addCommand([...command]);
    await guarded(multi.exec());
  }

  close(): void {
    if (this.#client.isOpen) this.#client.destroy();
  }
}

const AS_BYTES = { [RESP_TYPES.BLOB_STRING]: Buffer };

function newClient(url: string) {
  return createClient({
    url,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: false, connectTimeout: CONNECT_MS },
  });
}

export class RedisEngine implements Engine {
  readonly forgetsExpired = true;
  readonly #connection: RedisConnection;
  /** Hashes whose names are stored. */
  readonly #places = new Set<string>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async write(changes: readonly Change[]): Promise<number> {
    const commands: Argument[][] = [];
    let bytes = 0;
    for (const change of changes) {
      switch (change.kind) {
        case "record": {
          const { record, generation } = change;
          const value = Buffer.from(record.value, "latin1");
          const set: Argument[] = ["SET", plainName(record.key), value];
          if (record.expireAtMs !== 0) set.push("PXAT", String(record.expireAtMs + GRACE_MS));
          const keys = keysName(change.shard);
          this.#place(keys, commands);
          commands.push(set, ["HSET", keys, latin1(record.key), mark(record, value, generation)]);
          bytes += record.key.length + value.length + MARK_BYTES;
          break;
        }
        case "no-record":
          commands.push(
            ["DEL", plainName(change.key)],
            ["HDEL", keysName(change.shard), latin1(change.key)],
          );
          break;
        case "left":
          // The value under the key's own name is the other shard's.
          commands.push(["HDEL", keysName(change.shard), latin1(change.key)]);
          break;
        case "log": {
          const log = logName(change.shard, change.life);
          this.#place(log, commands);
          commands.push(["HSET", log, String(change.index), change.bytes]);
          bytes += change.bytes.length;
          break;
        }
        case "no-log":
          commands.push(["HDEL", logName(change.shard, change.life), String(change.index)]);
          break;
        case "state":
          commands.push(["HSET", STATES, String(change.shard), change.bytes]);
          bytes += change.bytes.length;
          break;
        case "no-state":
          commands.push(["HDEL", STATES, String(change.shard)]);
          break;
        default:
          unreachable(change);
      }
    }
    if (commands.length > 0) await this.#connection.transact(commands);
    return bytes;
  }

  async states(): Promise<readonly { readonly shard: ShardId; readonly bytes: Buffer }[]> {
    const pairs = await this.#pairs(STATES);
    return pairs.map(([field, bytes]) => ({ shard: natural(field), bytes }));
  }

  async *records(shard: ShardId, generation: number): AsyncIterable<SlotRecords> {
    for await (const live of this.#live(shard, generation)) {
      const names = live.map(([field]) => plainName(field.toString("latin1")));
      const values = array(await this.#connection.send("MGET", ...names));
      yield live.map(([field, bytes], index) => parseRecord(field, bytes, values[index]));
    }
  }

  async *keys(shard: ShardId, generation: number): AsyncIterable<readonly string[]> {
    for await (const live of this.#live(shard, generation)) {
      yield live.map(([field]) => field.toString("latin1"));
    }
  }

  async *#live(shard: ShardId, generation: number): AsyncIterable<[field: Buffer, mark: Buffer][]> {
    for await (const pairs of this.#scan(keysName(shard))) {
      const live = pairs.filter(([, bytes]) => generationOf(bytes) >= generation);
      if (live.length > 0) yield live;
    }
  }

  async *log(shard: ShardId, life: number): AsyncIterable<readonly LogPiece[]> {
    const name = logName(shard, life);
    const indexes = array(await this.#connection.send("HKEYS", name)).map(natural);
    for (const index of indexes.sort((a, b) => a - b)) {
      const bytes = await this.#connection.send("HGET", name, String(index));
      if (!Buffer.isBuffer(bytes)) throw corrupt("a piece of a log is no string");
      yield [{ index, bytes }];
    }
  }

  async sweep(shard: ShardId, live: Live): Promise<void> {
    for (const place of await this.#storedPlaces()) {
      const log = parseLogName(place);
      if (log?.shard === shard && log.life < live.life) await this.#drop(place);
    }
    await this.#sweepKeys(shard, live.generation);
  }

  async sweepAll(live: ReadonlyMap<ShardId, Live>): Promise<void> {
    for (const place of await this.#storedPlaces()) {
      const log = parseLogName(place);
      if (log !== undefined) {
        if (live.get(log.shard)?.life !== log.life) await this.#drop(place);
        continue;
      }
      const shard = natural(place.slice(place.lastIndexOf(":") + 1));
      const kept = live.get(shard);
      await this.#sweepKeys(shard, kept?.generation ?? Number.MAX_SAFE_INTEGER);
    }
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /**
   * Renames all that is this program's own, as evidence, and deletes the values: they may be wrong, and people read them.
   * @param prefix of the new names.
   */
  async setAside(prefix: string): Promise<void> {
    for (const place of await this.#storedPlaces()) {
      if (parseLogName(place) === undefined) {
        for await (const pairs of this.#scan(place)) {
          const names = pairs.map(([field]) => plainName(field.toString("latin1")));
          await this.#connection.send("DEL", ...names);
        }
      }
      await this.#rename(place, prefix);
    }
    await this.#rename(STATES, prefix);
    await this.#rename(PLACES, prefix);
    this.#places.clear();
  }

  async #rename(name: string, prefix: string): Promise<void> {
    if ((await this.#connection.send("EXISTS", name)) === 0) return;
    await this.#connection.send("RENAME", name, `${prefix}${name.slice(OWN.length)}`);
  }

  #place(name: string, commands: Argument[][]): void {
    if (this.#places.has(name)) return;
    this.#places.add(name);
    commands.push(["SADD", PLACES, name]);
  }

  async #storedPlaces(): Promise<string[]> {
    const names = array(await this.#connection.send("SMEMBERS", PLACES));
    return names.map((name) => String(name)).sort();
  }

  async #drop(place: string): Promise<void> {
    this.#places.delete(place);
    await this.#connection.transact([
      ["UNLINK", place],
      ["SREM", PLACES, place],
    ]);
  }

  async #sweepKeys(shard: ShardId, generation: number): Promise<void> {
    const keys = keysName(shard);
    for await (const pairs of this.#scan(keys)) {
      const old = pairs.filter(([, bytes]) => generationOf(bytes) < generation);
      const names = old.flatMap(([field]) => [field, plainName(field.toString("latin1"))]);
      for (let at = 0; at < names.length; at += 2 * SWEEP_KEYS) {
        const some = names.slice(at, at + 2 * SWEEP_KEYS);
        await this.#connection.send("EVAL", SWEEP, "2", keys, PLACES, String(generation), ...some);
      }
    }
  }

  async *#scan(name: string): AsyncIterable<[field: Buffer, value: Buffer][]> {
    let cursor = "0";
    do {
      const reply = array(await this.#connection.send("HSCAN", name, cursor, "COUNT", SCAN_COUNT));
      cursor = String(reply[0]);
      const pairs = inPairs(array(reply[1]));
      if (pairs.length > 0) yield pairs;
    } while (cursor !== "0");
  }

  async #pairs(name: string): Promise<[Buffer, Buffer][]> {
    const pairs: [Buffer, Buffer][] = [];
    for await (const some of this.#scan(name)) pairs.push(...some);
    return pairs;
  }
}

function keysName(shard: ShardId): string {
  return `${KEYS}${shard}`;
}

function logName(shard: ShardId, life: number): string {
  return `${OWN}log:${shard}:${life}`;
}

function parseLogName(
  name: string,
): { readonly shard: ShardId; readonly life: number } | undefined {
  const [, shard, life] = /:log:(\d+):(\d+)$/.exec(name) ?? [];
  return shard === undefined ? undefined : { shard: Number(shard), life: Number(life) };
}

/** Where a user's key is. */
function plainName(key: string): Buffer {
  return latin1(key.startsWith(OWN) ? ESCAPE + key : key);
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** What is stored beside a value. */
function mark({ expireAtMs, seq }: KeyRecord, value: Buffer, generation: number): Buffer {
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes.write(String(generation).padStart(GENERATION_DIGITS, "0"), "latin1");
  bytes.writeUInt32LE(crc32(value), GENERATION_DIGITS);
  bytes.writeDoubleLE(expireAtMs, GENERATION_DIGITS + 4);
  bytes.writeDoubleLE(seq, GENERATION_DIGITS + 12);
  return bytes;
}

function generationOf(bytes: Buffer): number {
  if (bytes.length !== MARK_BYTES) throw corrupt("what is stored beside a value is malformed");
  return natural(bytes.subarray(0, GENERATION_DIGITS));
}

/** @param value undefined or null if Redis has none any more. */
function parseRecord(field: Buffer, bytes: Buffer, value: unknown): KeyRecord {
  const key = field.toString("latin1");
  const expireAtMs = bytes.readDoubleLE(GENERATION_DIGITS + 4);
  const seq = bytes.readDoubleLE(GENERATION_DIGITS + 12);
  if (!Buffer.isBuffer(value)) {
    if (expireAtMs === 0 || expireAtMs + GRACE_MS > Date.now()) {
      throw corrupt(`the value of ${JSON.stringify(key)} is gone`);
    }
    // Its time is over for long. It stays a key until the log says that it was deleted.
    return { key, value: "", expireAtMs, seq };
  }
  if (crc32(value) !== bytes.readUInt32LE(GENERATION_DIGITS)) {
    throw corrupt(`the value of ${JSON.stringify(key)} was changed by someone else`);
  }
  return { key, value: value.toString("latin1"), expireAtMs, seq };
}

function natural(text: unknown): number {
  const number = Number(String(text));
  if (!Number.isSafeInteger(number) || number < 0) throw corrupt(`${text} is no number`);
  return number;
}

function array(reply: unknown): unknown[] {
  if (!Array.isArray(reply)) throw corrupt("a reply is not what was asked for");
  return reply;
}

function inPairs(items: readonly unknown[]): [Buffer, Buffer][] {
  const pairs: [Buffer, Buffer][] = [];
  for (let i = 0; i + 1 < items.length; i += 2) {
    const [first, second] = [items[i], items[i + 1]];
    if (!Buffer.isBuffer(first) || !Buffer.isBuffer(second)) throw corrupt("a hash is malformed");
    pairs.push([first, second]);
  }
  return pairs;
}

async function guarded<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // The server has something else under one of our names.
    if (why.startsWith("WRONGTYPE")) throw corrupt(why, error);
    throw new StoreError(`Redis: ${why}`, { code: "io", cause: error });
  }
}
