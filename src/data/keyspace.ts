/**
 * The data of one shard, and the context in which a command runs on it.
 *
 * A command reads and writes only through the methods here. Reads note what they depend on; writes apply at once under the
 * seq of the entry to be, and are collected as effects. A backup applies the same effects through the same code, so a
 * command that works on the primary cannot come out differently on a replica.
 *
 * Keys and values are bytes. The methods that take them as binary strings are for commands that work on text anyway.
 */

import { assert, unreachable } from "../kit/assert.ts";
import { slotOfBytes } from "../kit/crc16.ts";
import { allocate, copyBytes, Memories, type Memory, writeText } from "../kit/memory.ts";
import { ByteArena } from "./byte-arena.ts";
import { Bytes } from "./bytes.ts";
import { Deletions } from "./deletions.ts";
import { type KeyRecord, type SlotRecords, VALUE_BYTES_MAX } from "./effect.ts";
import { EffectCursor } from "./effect-cursor.ts";
import { EffectWriter } from "./effect-writer.ts";
import type { Effects } from "./effects.ts";
import { INTEGER_BYTES_MAX, readInteger, writeInteger } from "./integer-bytes.ts";
import { FIXED_HASH_KEY, type HashKey } from "./key-hash.ts";
import { HEADER_BYTES, hasEndAt, seqAt, VALUE_BYTES } from "./record.ts";
import { Records } from "./records.ts";
import { wordOffset } from "./slab.ts";
import { SlotLists } from "./slot-lists.ts";

export { VALUE_BYTES_MAX };

/** Latest end of a key, ms since 1970. What lies beyond is exact in no double, and 285,000 years away: it is cut to this. */
export const EXPIRE_AT_MS_MAX = Number.MAX_SAFE_INTEGER;

/** The slots from `firstSlot` to `lastSlot`, both included. */
export interface SlotRange {
  readonly firstSlot: number;
  readonly lastSlot: number;
}

/** What a record costs in a copy besides its key and value, roughly. */
const RECORD_OVERHEAD_BYTES = 32;
/** A longer key that came as a string is not kept in mind. */
const STAGED_BYTES_MAX = 4096;
const REPLACE = { keptBytes: 0, grows: false } as const;

export class Keyspace {
  readonly firstSlot: number;
  #lastSlot: number;
  readonly #hashKey: HashKey;
  readonly #records: Records;
  readonly #arena = new ByteArena();
  readonly #memories = new Memories();

  /** Where a key that comes as a string is put, and its hash: a command asks for the same one several times. */
  #key = allocate(64);
  #keyText = "";
  #keyHash: number;
  readonly #digits = allocate(INTEGER_BYTES_MAX);

  #deletions = new Deletions();
  /** The highest seq that changed anything. */
  #lastSeq = 0;

  #isRunning = false;
  #seq = 0;
  #wallMs = 0;
  #readSeq = 0;
  #hasMetExpired = false;
  /** Replies may refer to records. */
  #isLending = false;
  readonly #effects = new EffectWriter();
  readonly #cursor = new EffectCursor(this.#key);

  /**
   * @param range its slots.
   * @param hashKey drawn by chance where clients choose the keys.
   * @param records what it begins with: records of these slots, with this hash key.
   */
  constructor(
    { firstSlot, lastSlot }: SlotRange,
    hashKey: HashKey = FIXED_HASH_KEY,
    records = new Records(new SlotLists(firstSlot, lastSlot), hashKey),
  ) {
    assert(firstSlot >= 0 && firstSlot <= lastSlot, "a shard has at least one slot");
    this.firstSlot = firstSlot;
    this.#lastSlot = lastSlot;
    this.#hashKey = hashKey;
    this.#records = records;
    this.#keyHash = this.#records.hash(this.#key, 0, 0);
  }

  get lastSlot(): number {
    return this.#lastSlot;
  }

  // --- The context ---------------------------------------------------------------------------------------------------

  /**
   * From here on commands run at the primary: keys past their time are deleted when met, writes are collected.
   * @param seq what the entry will have.
   * @param wallMs the primary's wall clock, ms since 1970.
   */
  beginRun(seq: number, wallMs: number): void {
    this.#isRunning = true;
    this.#seq = seq;
    this.#begin(wallMs);
  }

  /**
   * From here on commands only read; see `hasMetExpired`.
   * @param wallMs the primary's wall clock as far as known, ms since 1970.
   */
  beginRead(wallMs: number): void {
    this.#isRunning = false;
    this.#begin(wallMs);
  }

  /** As `beginRead`, for a command whose reply is used at once: it may refer to the records. */
  beginGlance(wallMs: number): void {
    this.beginRead(wallMs);
    this.#isLending = true;
  }

  #begin(wallMs: number): void {
    this.#isLending = false;
    this.#wallMs = wallMs;
    this.#readSeq = 0;
    this.#hasMetExpired = false;
    this.#effects.begin();
  }

  /** The time that all commands since the last `begin…` share, ms since 1970. */
  get wallMs(): number {
    return this.#wallMs;
  }

  /** The highest seq that wrote, or deleted while uncommitted, what was read since the last `begin…`; 0 if none. */
  get readSeq(): number {
    return this.#readSeq;
  }

  /** Whether a read since `beginRead` met a key past its time, so that what it answered is void. */
  get hasMetExpired(): boolean {
    return this.#hasMetExpired;
  }

  /** What changed since `beginRun`. */
  get effects(): Effects {
    return this.#effects.take();
  }

  // --- Reads ---------------------------------------------------------------------------------------------------------

  /** The key's value; undefined if it does not exist. */
  value(key: string): string | undefined {
    const reference = this.#lookup(key);
    return reference === 0 ? undefined : this.#records.value(reference);
  }

  /**
   * As `value`, of bytes: a copy, or after `beginGlance` the very record's, which are valid until the next write.
   * @param key what holds the key, from `start` to before `end`.
   */
  getBytes(key: Buffer, start: number, end: number): Bytes | undefined {
    const reference = this.#lookupBytes(this.#memories.of(key), start, end);
    if (reference === 0) return undefined;
    const page = this.#records.slab.page(reference);
    const at = wordOffset(reference);
    const from = (at << 2) + HEADER_BYTES + (end - start);
    const to = from + (page.words[at + VALUE_BYTES] as number);
    return this.#isLending
      ? new Bytes(page.bytes, from, to, page)
      : this.#arena.copy(page, from, to);
  }

  /** Bytes of the key's value; undefined if it does not exist. */
  valueBytes(key: string): number | undefined {
    const reference = this.#lookup(key);
    return reference === 0 ? undefined : this.#records.valueBytes(reference);
  }

  exists(key: string): boolean {
    return this.#lookup(key) !== 0;
  }

  /** @param key what holds the key, from `start` to before `end`. */
  existsBytes(key: Buffer, start: number, end: number): boolean {
    return this.#lookupBytes(this.#memories.of(key), start, end) !== 0;
  }

  /** The key's end, ms since 1970; 0 if it has none, undefined if the key does not exist. */
  expireAtMs(key: string): number | undefined {
    const reference = this.#lookup(key);
    return reference === 0 ? undefined : this.#records.endMs(reference);
  }

  /** The seq of the entry that last wrote the key; 0 if it does not exist. */
  version(key: string): number {
    const reference = this.#lookup(key);
    return reference === 0 ? 0 : this.#records.seq(reference);
  }

  /** Number of keys, those past their time included until they are deleted. */
  get size(): number {
    return this.#records.size;
  }

  /** Makes the running command depend on everything, as one does that tells which keys there are. */
  noteAll(): void {
    this.#note(this.#lastSeq);
  }

  /**
   * The keys of one slot that are not past their time. The caller has called `noteAll`, and changes nothing meanwhile.
   * @param slot one of this keyspace's.
   */
  *keysOfSlot(slot: number): Generator<string> {
    const records = this.#records;
    for (let at = records.firstOfSlot(slot); at !== 0; at = records.next(at)) {
      if (!this.#isPast(at)) yield records.key(at);
    }
  }

  /**
   * Number of keys of one slot, those past their time included.
   * @param slot one of this keyspace's.
   */
  sizeOfSlot(slot: number): number {
    return this.#records.countOfSlot(slot);
  }

  // --- Writes --------------------------------------------------------------------------------------------------------

  /**
   * @param value at most `VALUE_BYTES_MAX` bytes.
   * @param expireAtMs the key's end, ms since 1970; 0 for none.
   */
  set(key: string, value: string, expireAtMs: number): void {
    this.#stage(key);
    this.#write();
    const effects = this.#effects;
    effects.set(this.#key, 0, key.length, value, 0, value.length, expireAtMs);
    const end = effects.valueStart + value.length;
    this.#put(
      this.#find(key),
      this.#keyHash,
      this.#key,
      0,
      key.length,
      effects.memory,
      effects.valueStart,
      end,
      expireAtMs,
      this.#seq,
    );
  }

  /**
   * As `set`, of bytes, without an end.
   * @param key what holds the key, from `keyStart` to before `keyEnd`.
   * @param value what holds the value, from `valueStart` to before `valueEnd`: at most `VALUE_BYTES_MAX` bytes.
   */
  setBytes(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
  ): void {
    const ofKey = this.#memories.of(key);
    const ofValue = this.#memories.of(value);
    const hash = this.#records.hash(ofKey, keyStart, keyEnd);
    this.#write();
    this.#effects.set(ofKey, keyStart, keyEnd, ofValue, valueStart, valueEnd, 0);
    const found = this.#records.find(hash, ofKey, keyStart, keyEnd);
    this.#put(found, hash, ofKey, keyStart, keyEnd, ofValue, valueStart, valueEnd, 0, this.#seq);
  }

  /**
   * Adds to the integer that the key holds, and leaves the key's end as it is; a missing key holds 0.
   * @param key what holds the key, from `start` to before `end`.
   * @param delta a safe integer.
   * @returns the sum; undefined, and nothing is changed, if the value is no integer, or it or the sum is not a safe one.
   */
  addBytes(key: Buffer, start: number, end: number, delta: number): number | undefined {
    const records = this.#records;
    const ofKey = this.#memories.of(key);
    const hash = records.hash(ofKey, start, end);
    const reference = this.#lookupHashed(hash, ofKey, start, end);
    let before = 0;
    let expireAtMs = 0;
    if (reference !== 0) {
      const { bytes, words } = records.slab.page(reference);
      const at = wordOffset(reference);
      const from = (at << 2) + HEADER_BYTES + (end - start);
      const value = readInteger(bytes, from, from + (words[at + VALUE_BYTES] as number));
      if (value === undefined) return undefined;
      before = value;
      expireAtMs = records.endMs(reference);
    }
    const after = before + delta;
    if (!Number.isSafeInteger(after)) return undefined;
    const digits = this.#digits;
    const from = writeInteger(after, digits.bytes);
    const seq = this.#seq;
    this.#write();
    this.#effects.set(ofKey, start, end, digits, from, INTEGER_BYTES_MAX, expireAtMs);
    this.#put(reference, hash, ofKey, start, end, digits, from, INTEGER_BYTES_MAX, expireAtMs, seq);
    return after;
  }

  /** Sets the value and leaves the key's end as it is. */
  setKeepingExpiry(key: string, value: string): void {
    this.set(key, value, this.expireAtMs(key) ?? 0);
  }

  /** @returns whether the key existed. */
  delete(key: string): boolean {
    if (this.#lookup(key) === 0) return false;
    this.#delete(this.#keyHash, this.#key, 0, key.length);
    return true;
  }

  /**
   * @param key one that exists.
   * @param expireAtMs its new end, ms since 1970; 0 for none.
   */
  expire(key: string, expireAtMs: number): void {
    assert(this.#lookup(key) !== 0, "only a key that exists can get an end");
    this.#write();
    this.#effects.expire(this.#key, 0, key.length, expireAtMs);
    this.#expire(this.#keyHash, this.#key, 0, key.length, expireAtMs, this.#seq);
  }

  /**
   * Appends to the key's value; a missing key counts as empty. The sum fits into `VALUE_BYTES_MAX`.
   * @returns bytes of the new value.
   */
  append(key: string, bytes: string): number {
    const before = this.valueBytes(key) ?? 0;
    const effects = this.#effects;
    this.#write();
    effects.append(this.#key, 0, key.length, bytes);
    const from = effects.valueStart;
    const to = from + bytes.length;
    this.#append(this.#keyHash, this.#key, 0, key.length, effects.memory, from, to, this.#seq);
    return before + bytes.length;
  }

  /**
   * Replaces bytes of the key's value from `offset` on, after filling up with zero bytes; a missing key counts as empty.
   * The end fits into `VALUE_BYTES_MAX`.
   * @returns bytes of the new value.
   */
  overwrite(key: string, offset: number, bytes: string): number {
    const before = this.valueBytes(key) ?? 0;
    const effects = this.#effects;
    this.#write();
    effects.overwrite(this.#key, 0, key.length, offset, bytes);
    const from = effects.valueStart;
    const to = from + bytes.length;
    const seq = this.#seq;
    this.#overwrite(this.#keyHash, this.#key, 0, key.length, offset, effects.memory, from, to, seq);
    return Math.max(before, offset + bytes.length);
  }

  /** Deletes every key. */
  flush(): void {
    this.noteAll();
    if (this.size === 0) return;
    this.#write();
    this.#effects.flush();
    this.#flush(this.#seq);
  }

  /** Deletes up to `limit` keys past their time, those first that have been so for longest. */
  expireDue(limit: number): void {
    const records = this.#records;
    for (let left = limit; left > 0; left--) {
      const reference = records.firstToEnd();
      if (reference === 0 || !this.#isPast(reference)) return;
      const key = records.key(reference);
      this.#stage(key);
      this.#delete(this.#keyHash, this.#key, 0, key.length);
    }
  }

  // --- Replication ---------------------------------------------------------------------------------------------------

  /**
   * Applies the effects of the entry `seq`. Those on other slots are left out: an entry from before a shard was divided
   * stands in the logs of all its parts.
   */
  apply(effects: Effects, seq: number): void {
    const cursor = this.#cursorOf(effects);
    for (let at = effects.start; at < effects.end; at = cursor.end) {
      cursor.read(at);
      this.#apply(cursor, seq);
    }
    this.#letGo();
  }

  /**
   * Takes the slots from `at` on out. It takes as long as there are slots and uncommitted deletions, however many keys.
   * @param at above the first slot, at most the last.
   * @returns another keyspace, which has them with all that is known of them. Who does not need it clears it.
   */
  divide(at: number): Keyspace {
    assert(at > this.firstSlot && at <= this.#lastSlot, "both parts have a slot");
    const range = { firstSlot: at, lastSlot: this.#lastSlot };
    const part = new Keyspace(range, this.#hashKey, this.#records.divide(at));
    this.#lastSlot = at - 1;
    part.#lastSeq = this.#lastSeq;
    part.#deletions = this.#deletions.divide(at);
    return part;
  }

  /**
   * Applies the effects of the entry `seq` to records that were stored one by one while entries came: what a record has in
   * it already is left out, and so is what changes a key that a later entry deletes.
   */
  replay(effects: Effects, seq: number): void {
    // Judged before the first effect, for an entry may change a key several times.
    const newer = new Set<string>();
    effects.forEachKey((kind, key) => {
      if (kind === "flush") {
        this.forEach((record) => {
          if (record.seq >= seq) newer.add(record.key);
        });
      } else if (this.#seqOf(key) >= seq) newer.add(key);
    });
    const cursor = this.#cursorOf(effects);
    for (let at = effects.start; at < effects.end; at = cursor.end) {
      cursor.read(at);
      const { kind } = cursor;
      if (kind === "flush") this.#flushAllBut(newer, seq);
      else if (newer.has(cursor.key)) continue;
      else if (kind === "delete" || kind === "expire") {
        if (this.#seqOf(cursor.key) > 0) this.#apply(cursor, seq);
      } else this.#apply(cursor, seq);
    }
    this.#letGo();
  }

  #seqOf(key: string): number {
    const reference = this.#find(key);
    return reference === 0 ? 0 : this.#records.seq(reference);
  }

  #flushAllBut(keys: ReadonlySet<string>, seq: number): void {
    const kept = [...keys].flatMap((key) => this.record(key) ?? []);
    this.#flush(seq);
    this.copyIn(kept);
  }

  /** Deletions up to `seq` need no longer be remembered. */
  committed(seq: number): void {
    this.#deletions.committed(seq);
  }

  /** How much is kept, for tests of its bounds. */
  get upkeep(): {
    readonly tombstones: number;
    readonly graves: number;
    /** Of the records, what belongs to other parts of a divided keyspace included: ends, */
    readonly ends: number;
    /** records that no part owns, */
    readonly leftovers: number;
    /** and memory, of the index and the ends too. */
    readonly bytes: number;
  } {
    return { ...this.#deletions.upkeep, ...this.#records.upkeep };
  }

  /** Forgets everything, as if new. */
  clear(): void {
    this.#records.clear();
    this.#deletions.clear();
    this.#lastSeq = 0;
  }

  /** Frees some of what other parts of a divided keyspace have left behind; to be called now and then. */
  sweep(): void {
    this.#records.sweep();
  }

  /**
   * The records of whole slots from `fromSlot` on, until about `bytesMax` bytes are gathered or the slots end.
   * @returns the records and the slot to go on with, `lastSlot + 1` at the end.
   */
  copyOut(
    fromSlot: number,
    bytesMax: number,
  ): { readonly records: SlotRecords; readonly nextSlot: number } {
    const records = this.#records;
    const copied: KeyRecord[] = [];
    let bytes = 0;
    let slot = records.nextSlot(fromSlot);
    for (; slot <= this.#lastSlot && bytes < bytesMax; slot = records.nextSlot(slot + 1)) {
      for (let at = records.firstOfSlot(slot); at !== 0; at = records.next(at)) {
        const record = this.#record(at);
        copied.push(record);
        bytes += record.key.length + record.value.length + RECORD_OVERHEAD_BYTES;
      }
    }
    return { records: copied, nextSlot: slot };
  }

  /** The key's record as it is, whether its end is past or not; undefined if it does not exist. */
  record(key: string): KeyRecord | undefined {
    const reference = this.#find(key);
    return reference === 0 ? undefined : this.#record(reference);
  }

  /** Stores what another keyspace's `copyOut` gave. */
  copyIn(records: SlotRecords): void {
    for (const { key, value, expireAtMs, seq } of records) {
      this.#stage(key);
      const { length } = key;
      const hash = this.#keyHash;
      const found = this.#find(key);
      const own = this.#room(found, hash, this.#key, 0, length, value.length, expireAtMs, seq);
      writeText(value, this.#records.slab.page(own), valueOffset(own, length));
    }
  }

  /** Calls `visit` with every record, slot by slot. It changes nothing. */
  forEach(visit: (record: KeyRecord) => void): void {
    const records = this.#records;
    for (
      let slot = records.nextSlot(0);
      slot <= this.#lastSlot;
      slot = records.nextSlot(slot + 1)
    ) {
      for (let at = records.firstOfSlot(slot); at !== 0; at = records.next(at)) {
        visit(this.#record(at));
      }
    }
  }

  // --- Inside --------------------------------------------------------------------------------------------------------

  #note(seq: number): void {
    if (seq > this.#readSeq) this.#readSeq = seq;
  }

  /** As in Redis, a key still lives in the very millisecond of its end. */
  #isPast(reference: number): boolean {
    const endMs = this.#records.endMs(reference);
    return endMs !== 0 && endMs < this.#wallMs;
  }

  /** Puts the key where `#key`, from 0 to before its length, and `#keyHash` are about it. */
  #stage(key: string): void {
    if (key === this.#keyText) return;
    const { length } = key;
    if (length > this.#key.bytes.length) this.#key = allocate(2 * length);
    else if (this.#key.bytes.length > STAGED_BYTES_MAX && length <= STAGED_BYTES_MAX) {
      this.#key = allocate(STAGED_BYTES_MAX);
    }
    writeText(key, this.#key, 0);
    this.#keyText = key;
    this.#keyHash = this.#records.hash(this.#key, 0, length);
  }

  /** The reference of the key's record, past its time or not; 0 if there is none. */
  #find(key: string): number {
    this.#stage(key);
    return this.#records.find(this.#keyHash, this.#key, 0, key.length);
  }

  /** As a command sees it: the reference of the key's record, 0 if there is none. */
  #lookup(key: string): number {
    this.#stage(key);
    return this.#lookupHashed(this.#keyHash, this.#key, 0, key.length);
  }

  #lookupBytes(key: Memory, start: number, end: number): number {
    return this.#lookupHashed(this.#records.hash(key, start, end), key, start, end);
  }

  #lookupHashed(hash: number, key: Memory, start: number, end: number): number {
    const reference = this.#records.find(hash, key, start, end);
    if (reference === 0) {
      this.#note(this.#deletions.seqOf(hash));
      return 0;
    }
    const { words } = this.#records.slab.page(reference);
    const at = wordOffset(reference);
    this.#note(seqAt(words, at));
    if (!hasEndAt(words, at) || !this.#isPast(reference)) return reference;
    if (this.#isRunning) this.#delete(hash, key, start, end);
    else this.#hasMetExpired = true;
    return 0;
  }

  /** An effect is going to be written. */
  #write(): void {
    assert(this.#isRunning, "a command that writes runs at the primary only");
  }

  /** Deletes a key that exists, with an effect. */
  #delete(hash: number, key: Memory, start: number, end: number): void {
    this.#write();
    this.#effects.delete(key, start, end);
    this.#remove(hash, key, start, end, this.#seq);
  }

  #cursorOf({ buffer }: Effects): EffectCursor {
    this.#cursor.memory = this.#memories.of(buffer);
    return this.#cursor;
  }

  /** Keeps the memory of the effects from being kept. */
  #letGo(): void {
    this.#cursor.memory = this.#key;
  }

  /** @param cursor at an effect, which is left out if its key belongs elsewhere. */
  #apply(cursor: EffectCursor, seq: number): void {
    const { kind } = cursor;
    if (kind === "flush") {
      this.#flush(seq);
      return;
    }
    const { memory, keyStart, keyEnd, valueStart, valueEnd, expireAtMs } = cursor;
    const hash = this.#records.hash(memory, keyStart, keyEnd);
    // Which slot it is costs as much as to find it, and whose key is here belongs here.
    const found = this.#records.find(hash, memory, keyStart, keyEnd);
    if (found === 0 && !this.#holds(memory, keyStart, keyEnd)) return;
    switch (kind) {
      case "set":
        this.#put(
          found,
          hash,
          memory,
          keyStart,
          keyEnd,
          memory,
          valueStart,
          valueEnd,
          expireAtMs,
          seq,
        );
        return;
      case "delete":
        this.#remove(hash, memory, keyStart, keyEnd, seq);
        return;
      case "expire":
        this.#expire(hash, memory, keyStart, keyEnd, expireAtMs, seq);
        return;
      case "append":
        this.#append(hash, memory, keyStart, keyEnd, memory, valueStart, valueEnd, seq);
        return;
      case "overwrite": {
        const { offset } = cursor;
        this.#overwrite(hash, memory, keyStart, keyEnd, offset, memory, valueStart, valueEnd, seq);
        return;
      }
      default:
        unreachable(kind);
    }
  }

  #holds(key: Memory, start: number, end: number): boolean {
    const slot = slotOfBytes(key.bytes, start, end);
    return slot >= this.firstSlot && slot <= this.#lastSlot;
  }

  #wrote(reference: number, seq: number): void {
    this.#records.setSeq(reference, seq);
    this.#raise(seq);
  }

  #raise(seq: number): void {
    if (seq > this.#lastSeq) this.#lastSeq = seq;
  }

  /**
   * Makes the key's record such that only its value is still to be written; its reference.
   * @param found the reference of the record that it has, 0 if it has none.
   */
  #room(
    found: number,
    hash: number,
    key: Memory,
    start: number,
    end: number,
    valueBytes: number,
    expireAtMs: number,
    seq: number,
  ): number {
    const records = this.#records;
    let reference = found;
    const hasEnd = expireAtMs !== 0;
    if (reference === 0) reference = records.create(hash, key, start, end, { valueBytes, hasEnd });
    else reference = records.resize(reference, hash, valueBytes, REPLACE);
    reference = records.setEnd(reference, hash, expireAtMs);
    this.#wrote(reference, seq);
    return reference;
  }

  /** @param found the reference of the key's record, 0 if it has none; so in the others below. */
  #put(
    found: number,
    hash: number,
    key: Memory,
    start: number,
    end: number,
    value: Memory,
    valueStart: number,
    valueEnd: number,
    expireAtMs: number,
    seq: number,
  ): void {
    const length = valueEnd - valueStart;
    const own = this.#room(found, hash, key, start, end, length, expireAtMs, seq);
    const page = this.#records.slab.page(own);
    copyBytes(value, valueStart, valueEnd, page, valueOffset(own, end - start));
  }

  #append(
    hash: number,
    key: Memory,
    start: number,
    end: number,
    value: Memory,
    valueStart: number,
    valueEnd: number,
    seq: number,
  ): void {
    const reference = this.#records.find(hash, key, start, end);
    if (reference === 0) {
      this.#put(0, hash, key, start, end, value, valueStart, valueEnd, 0, seq);
      return;
    }
    const offset = this.#records.valueBytes(reference);
    this.#overwrite(hash, key, start, end, offset, value, valueStart, valueEnd, seq);
  }

  #overwrite(
    hash: number,
    key: Memory,
    start: number,
    end: number,
    offset: number,
    value: Memory,
    valueStart: number,
    valueEnd: number,
    seq: number,
  ): void {
    const records = this.#records;
    let own = records.find(hash, key, start, end);
    if (own === 0) own = this.#room(0, hash, key, start, end, 0, 0, seq);
    const before = records.valueBytes(own);
    const after = Math.max(before, offset + valueEnd - valueStart);
    if (after > before) own = records.resize(own, hash, after, { keptBytes: before, grows: true });
    const page = records.slab.page(own);
    const at = valueOffset(own, end - start);
    if (offset > before) page.bytes.fill(0, at + before, at + offset);
    copyBytes(value, valueStart, valueEnd, page, at + offset);
    this.#wrote(own, seq);
  }

  #expire(
    hash: number,
    key: Memory,
    start: number,
    end: number,
    expireAtMs: number,
    seq: number,
  ): void {
    const reference = this.#records.find(hash, key, start, end);
    assert(reference !== 0, "an expire effect follows its key");
    this.#wrote(this.#records.setEnd(reference, hash, expireAtMs), seq);
  }

  #remove(hash: number, key: Memory, start: number, end: number, seq: number): void {
    const reference = this.#records.find(hash, key, start, end);
    assert(reference !== 0, "a delete effect follows its key");
    const slot = this.#records.remove(reference, hash);
    this.#deletions.add(hash, slot, seq);
    this.#raise(seq);
  }

  #flush(seq: number): void {
    this.#records.clear();
    this.#deletions.flush(seq);
    this.#raise(seq);
  }

  #record(reference: number): KeyRecord {
    const records = this.#records;
    return {
      key: records.key(reference),
      value: records.value(reference),
      expireAtMs: records.endMs(reference),
      seq: records.seq(reference),
    };
  }
}

/** Where the value of a record begins in its page, in bytes. */
function valueOffset(reference: number, keyBytes: number): number {
  return (wordOffset(reference) << 2) + HEADER_BYTES + keyBytes;
}
