/**
 * The data of one shard, and the context in which a command runs on it.
 *
 * A command reads and writes only through the methods here. Reads note what they depend on; writes apply at once under the
 * seq of the entry to be, and are collected as effects. A backup applies the same effects through the same code, so a
 * command that works on the primary cannot come out differently on a replica.
 */

import { assert, unreachable } from "../kit/assert.ts";
import { slotOf } from "../kit/crc16.ts";
import type { Effect, KeyRecord, SlotRecords } from "./effect.ts";
import { type Expiry, ExpiryHeap } from "./expiry-heap.ts";
import { SlotTable } from "./slot-table.ts";

/**
 * Longest value, in bytes: the longest string of the JavaScript engine, 24 bytes short of Redis's 512 MB. A writer checks
 * against it before it writes.
 */
export const VALUE_BYTES_MAX = 0x1fff_ffe8;

/** Latest end of a key, ms since 1970. What lies beyond is exact in no double, and 285,000 years away: it is cut to this. */
export const EXPIRE_AT_MS_MAX = Number.MAX_SAFE_INTEGER;

/** The slots from `firstSlot` to `lastSlot`, both included. */
export interface SlotRange {
  readonly firstSlot: number;
  readonly lastSlot: number;
}

interface StoredRecord {
  value: string;
  /** Undefined if the key has no end. Apart, so that the many keys without an end pay one word for it. */
  expiry: Expiry | undefined;
  seq: number;
}

interface Grave {
  readonly key: string;
  readonly seq: number;
}

const NO_EFFECTS: readonly Effect[] = [];
/** What a record costs in a copy besides its key and value, roughly. */
const RECORD_OVERHEAD_BYTES = 32;
/** The queue of graves is cut when so many are done with, and they are the larger part of it. */
const GRAVES_CUT_MIN = 1024;
/**
 * A value that grew by appending is a tree of its pieces, each 32 bytes and more besides its text. It is made one piece again
 * when it has more than so many, plus one for so many of its bytes: then the pieces never cost more than half of what the
 * value does, and for a byte appended no more than 64 are copied.
 */
const PIECES_FREE = 16;
const BYTES_PER_PIECE = 64;

export class Keyspace {
  readonly firstSlot: number;
  #lastSlot: number;
  /** One map per slot: growing one rehashes little, and a copy can go slot by slot. */
  #slots: SlotTable<Map<string, StoredRecord>>;
  #size = 0;
  readonly #expiries = new ExpiryHeap();
  /** How many pieces have been appended to a value since it was one. Apart, since few values grow. */
  readonly #pieces = new Map<StoredRecord, number>();
  /** Keeps the engine from leaving out the reading that makes a value one piece. */
  #lastByte = 0;

  /**
   * Seq of each uncommitted deletion. A key that exists again may still be in here: its record is asked first, and another
   * deletion overwrites the seq.
   */
  readonly #tombstones = new Map<string, number>();
  /** The deletions in the order of their seq, from `#gravesDone` on: what `committed` takes out of the tombstones. */
  #graves: Grave[] = [];
  #gravesDone = 0;
  /** Seq of the last flush while it is uncommitted, else 0. */
  #flushSeq = 0;
  /** The highest seq that changed anything. */
  #lastSeq = 0;

  /** The key whose slot was asked for last, and that slot's place: a command asks several times. */
  #placedKey = "";
  #place: number;

  #isRunning = false;
  #seq = 0;
  #wallMs = 0;
  #readSeq = 0;
  #hasMetExpired = false;
  #effects: Effect[] | undefined;

  constructor({ firstSlot, lastSlot }: SlotRange) {
    assert(firstSlot >= 0 && firstSlot <= lastSlot, "a shard has at least one slot");
    this.firstSlot = firstSlot;
    this.#lastSlot = lastSlot;
    this.#place = slotOf("") - firstSlot;
    this.#slots = new SlotTable(lastSlot - firstSlot + 1);
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

  #begin(wallMs: number): void {
    this.#wallMs = wallMs;
    this.#readSeq = 0;
    this.#hasMetExpired = false;
    this.#effects = undefined;
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
  get effects(): readonly Effect[] {
    return this.#effects ?? NO_EFFECTS;
  }

  // --- Reads ---------------------------------------------------------------------------------------------------------

  /** The key's value; undefined if it does not exist. */
  value(key: string): string | undefined {
    return this.#lookup(key)?.value;
  }

  /** Bytes of the key's value; undefined if it does not exist. */
  valueBytes(key: string): number | undefined {
    return this.#lookup(key)?.value.length;
  }

  exists(key: string): boolean {
    return this.#lookup(key) !== undefined;
  }

  /** The key's end, ms since 1970; 0 if it has none, undefined if the key does not exist. */
  expireAtMs(key: string): number | undefined {
    const record = this.#lookup(key);
    return record === undefined ? undefined : (record.expiry?.atMs ?? 0);
  }

  /** The seq of the entry that last wrote the key; 0 if it does not exist. */
  version(key: string): number {
    return this.#lookup(key)?.seq ?? 0;
  }

  /** Number of keys, those past their time included until they are deleted. */
  get size(): number {
    return this.#size;
  }

  /** Makes the running command depend on everything, as one does that tells which keys there are. */
  noteAll(): void {
    this.#note(this.#lastSeq);
  }

  /**
   * The keys of one slot that are not past their time. The caller has called `noteAll`.
   * @param slot one of this keyspace's.
   */
  *keysOfSlot(slot: number): Generator<string> {
    const records = this.#slots.get(slot - this.firstSlot);
    if (records === undefined) return;
    for (const [key, record] of records) {
      if (!this.#isPast(record)) yield key;
    }
  }

  /**
   * Number of keys of one slot, those past their time included.
   * @param slot one of this keyspace's.
   */
  sizeOfSlot(slot: number): number {
    return this.#slots.get(slot - this.firstSlot)?.size ?? 0;
  }

  // --- Writes --------------------------------------------------------------------------------------------------------

  /**
   * @param value at most `VALUE_BYTES_MAX` bytes.
   * @param expireAtMs the key's end, ms since 1970; 0 for none.
   */
  set(key: string, value: string, expireAtMs: number): void {
    this.#write({ kind: "set", key, value, expireAtMs });
  }

  /** Sets the value and leaves the key's end as it is. */
  setKeepingExpiry(key: string, value: string): void {
    this.#write({ kind: "set", key, value, expireAtMs: this.expireAtMs(key) ?? 0 });
  }

  /** @returns whether the key existed. */
  delete(key: string): boolean {
    if (this.#lookup(key) === undefined) return false;
    this.#write({ kind: "delete", key });
    return true;
  }

  /**
   * @param key one that exists.
   * @param expireAtMs its new end, ms since 1970; 0 for none.
   */
  expire(key: string, expireAtMs: number): void {
    assert(this.#lookup(key) !== undefined, "only a key that exists can get an end");
    this.#write({ kind: "expire", key, expireAtMs });
  }

  /**
   * Appends to the key's value; a missing key counts as empty. The sum fits into `VALUE_BYTES_MAX`.
   * @returns bytes of the new value.
   */
  append(key: string, bytes: string): number {
    const before = this.valueBytes(key) ?? 0;
    this.#write({ kind: "append", key, bytes });
    return before + bytes.length;
  }

  /**
   * Replaces bytes of the key's value from `offset` on, after filling up with zero bytes; a missing key counts as empty.
   * The end fits into `VALUE_BYTES_MAX`.
   * @returns bytes of the new value.
   */
  overwrite(key: string, offset: number, bytes: string): number {
    const before = this.valueBytes(key) ?? 0;
    this.#write({ kind: "overwrite", key, offset, bytes });
    return Math.max(before, offset + bytes.length);
  }

  /** Deletes every key. */
  flush(): void {
    this.noteAll();
    if (this.#size > 0) this.#write({ kind: "flush" });
  }

  /** Deletes up to `limit` keys past their time, those first that have been so for longest. */
  expireDue(limit: number): void {
    for (let left = limit; left > 0; left--) {
      const expiry = this.#expiries.peek();
      if (expiry === undefined || expiry.atMs >= this.#wallMs) return;
      this.#write({ kind: "delete", key: expiry.key });
    }
  }

  // --- Replication ---------------------------------------------------------------------------------------------------

  /**
   * Applies the effects of the entry `seq`. Those on other slots are left out: an entry from before a shard was divided
   * stands in the logs of all its parts.
   */
  apply(effects: readonly Effect[], seq: number): void {
    for (const effect of effects) {
      if (effect.kind === "flush" || this.#holds(effect.key)) this.#apply(effect, seq);
    }
  }

  /**
   * Takes the slots from `at` on out.
   * @param at above the first slot, at most the last.
   * @returns another keyspace, which has them with all that is known of them.
   */
  divide(at: number): Keyspace {
    assert(at > this.firstSlot && at <= this.#lastSlot, "both parts have a slot");
    const part = new Keyspace({ firstSlot: at, lastSlot: this.#lastSlot });
    const slots = this.#slots;
    const kept = new SlotTable<Map<string, StoredRecord>>(at - this.firstSlot);
    const hasMarks = this.#expiries.size > 0 || this.#pieces.size > 0;
    for (let index = slots.next(0); index < slots.length; index = slots.next(index + 1)) {
      const records = slots.get(index);
      if (records === undefined) continue;
      if (index < kept.length) {
        kept.set(index, records);
        continue;
      }
      part.#slots.set(index - kept.length, records);
      part.#size += records.size;
      if (hasMarks) for (const [key, record] of records) this.#moveMarks(part, key, record);
    }
    this.#slots = kept;
    this.#lastSlot = at - 1;
    this.#size -= part.#size;
    part.#lastSeq = this.#lastSeq;
    part.#flushSeq = this.#flushSeq;
    for (const [key, seq] of this.#tombstones) {
      if (this.#holds(key)) continue;
      part.#tombstones.set(key, seq);
      this.#tombstones.delete(key);
    }
    const graves = this.#graves.slice(this.#gravesDone);
    this.#graves = graves.filter(({ key }) => this.#holds(key));
    part.#graves = graves.filter(({ key }) => part.#holds(key));
    this.#gravesDone = 0;
    return part;
  }

  #moveMarks(part: Keyspace, key: string, record: StoredRecord): void {
    if (record.expiry !== undefined) {
      this.#expiries.remove(record.expiry);
      record.expiry = part.#expiries.add(key, record.expiry.atMs);
    }
    const pieces = this.#pieces.get(record);
    if (pieces === undefined) return;
    this.#pieces.delete(record);
    part.#pieces.set(record, pieces);
  }

  /**
   * Applies the effects of the entry `seq` to records that were stored one by one while entries came: what a record has in
   * it already is left out, and so is what changes a key that a later entry deletes.
   */
  replay(effects: readonly Effect[], seq: number): void {
    // Judged before the first effect, for an entry may change a key several times.
    const newer = new Set<string>();
    for (const effect of effects) {
      if (effect.kind === "flush") {
        this.forEach((record) => {
          if (record.seq >= seq) newer.add(record.key);
        });
      } else if (this.#seqOf(effect.key) >= seq) newer.add(effect.key);
    }
    for (const effect of effects) {
      if (effect.kind === "flush") this.#flushAllBut(newer, seq);
      else if (newer.has(effect.key) || !this.#holds(effect.key)) continue;
      else if (effect.kind === "delete" || effect.kind === "expire") {
        if (this.#seqOf(effect.key) > 0) this.#apply(effect, seq);
      } else this.#apply(effect, seq);
    }
  }

  #seqOf(key: string): number {
    return this.#slots.get(this.#placeOf(key))?.get(key)?.seq ?? 0;
  }

  #flushAllBut(keys: ReadonlySet<string>, seq: number): void {
    const kept = [...keys].flatMap((key) => this.record(key) ?? []);
    this.#apply({ kind: "flush" }, seq);
    this.copyIn(kept);
  }

  /** Deletions up to `seq` need no longer be remembered. */
  committed(seq: number): void {
    if (this.#flushSeq <= seq) this.#flushSeq = 0;
    const graves = this.#graves;
    let done = this.#gravesDone;
    for (; done < graves.length; done++) {
      const grave = graves[done];
      if (grave === undefined || grave.seq > seq) break;
      if (this.#tombstones.get(grave.key) === grave.seq) this.#tombstones.delete(grave.key);
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

  /** How much is kept besides the keys, for tests of its bounds. */
  get upkeep(): {
    readonly expiries: number;
    readonly tombstones: number;
    readonly graves: number;
    readonly growing: number;
    readonly lastByte: number;
  } {
    return {
      expiries: this.#expiries.size,
      tombstones: this.#tombstones.size,
      graves: this.#graves.length,
      growing: this.#pieces.size,
      lastByte: this.#lastByte,
    };
  }

  /** Forgets everything, as if new. */
  clear(): void {
    this.#empty();
    this.#tombstones.clear();
    this.#graves = [];
    this.#gravesDone = 0;
    this.#flushSeq = 0;
    this.#lastSeq = 0;
  }

  /**
   * The records of whole slots from `fromSlot` on, until about `bytesMax` bytes are gathered or the slots end.
   * @returns the records and the slot to go on with, `lastSlot + 1` at the end.
   */
  copyOut(
    fromSlot: number,
    bytesMax: number,
  ): { readonly records: SlotRecords; readonly nextSlot: number } {
    const records: KeyRecord[] = [];
    let bytes = 0;
    const slots = this.#slots;
    let index = slots.next(Math.max(fromSlot - this.firstSlot, 0));
    for (; index < slots.length && bytes < bytesMax; index = slots.next(index + 1)) {
      for (const [key, record] of slots.get(index) ?? []) {
        const { value } = record;
        records.push(recordOf(key, record));
        bytes += key.length + value.length + RECORD_OVERHEAD_BYTES;
      }
    }
    return { records, nextSlot: this.firstSlot + index };
  }

  /** The key's record as it is, whether its end is past or not; undefined if it does not exist. */
  record(key: string): KeyRecord | undefined {
    const record = this.#slots.get(this.#placeOf(key))?.get(key);
    return record === undefined ? undefined : recordOf(key, record);
  }

  /** Stores what another keyspace's `copyOut` gave. */
  copyIn(records: SlotRecords): void {
    for (const { key, value, expireAtMs, seq } of records) this.#put(key, value, expireAtMs, seq);
  }

  /** Calls `visit` with every record, slot by slot. */
  forEach(visit: (record: KeyRecord) => void): void {
    const slots = this.#slots;
    for (let index = slots.next(0); index < slots.length; index = slots.next(index + 1)) {
      for (const [key, record] of slots.get(index) ?? []) visit(recordOf(key, record));
    }
  }

  // --- Inside --------------------------------------------------------------------------------------------------------

  #note(seq: number): void {
    if (seq > this.#readSeq) this.#readSeq = seq;
  }

  /** As in Redis, a key still lives in the very millisecond of its end. */
  #isPast(record: StoredRecord): boolean {
    return record.expiry !== undefined && record.expiry.atMs < this.#wallMs;
  }

  #lookup(key: string): StoredRecord | undefined {
    const record = this.#slots.get(this.#placeOf(key))?.get(key);
    if (record === undefined) {
      this.#noteMissing(key);
      return undefined;
    }
    this.#note(record.seq);
    if (record.expiry === undefined || !this.#isPast(record)) return record;
    if (this.#isRunning) this.#write({ kind: "delete", key });
    else this.#hasMetExpired = true;
    return undefined;
  }

  #noteMissing(key: string): void {
    this.#note(this.#flushSeq);
    if (this.#tombstones.size > 0) this.#note(this.#tombstones.get(key) ?? 0);
  }

  #write(effect: Effect): void {
    assert(this.#isRunning, "a command that writes runs at the primary only");
    if (this.#effects === undefined) this.#effects = [effect];
    else this.#effects.push(effect);
    this.#apply(effect, this.#seq);
  }

  #apply(effect: Effect, seq: number): void {
    switch (effect.kind) {
      case "set":
        this.#put(effect.key, effect.value, effect.expireAtMs, seq);
        return;
      case "delete":
        this.#remove(effect.key, seq);
        return;
      case "expire": {
        const record = this.#slotFor(effect.key).get(effect.key);
        assert(record !== undefined, "an expire effect follows its key");
        this.#setExpiry(effect.key, record, effect.expireAtMs);
        record.seq = seq;
        this.#wrote(seq);
        return;
      }
      case "append":
        this.#append(effect.key, effect.bytes, seq);
        return;
      case "overwrite":
        this.#overwrite(effect, seq);
        return;
      case "flush":
        this.#empty();
        this.#tombstones.clear();
        this.#graves = [];
        this.#gravesDone = 0;
        this.#flushSeq = seq;
        this.#wrote(seq);
        return;
      default:
        unreachable(effect);
    }
  }

  #wrote(seq: number): void {
    if (seq > this.#lastSeq) this.#lastSeq = seq;
  }

  /** Where the key's slot is in `#slots`, or outside of them. */
  #placeOf(key: string): number {
    if (key !== this.#placedKey) {
      this.#placedKey = key;
      this.#place = slotOf(key) - this.firstSlot;
    }
    return this.#place;
  }

  #holds(key: string): boolean {
    const place = this.#placeOf(key);
    return place >= 0 && place < this.#slots.length;
  }

  #slotFor(key: string): Map<string, StoredRecord> {
    const index = this.#placeOf(key);
    const records = this.#slots.get(index);
    if (records !== undefined) return records;
    assert(index >= 0 && index < this.#slots.length, "a key belongs to the shard of its slot");
    const created = new Map<string, StoredRecord>();
    this.#slots.set(index, created);
    return created;
  }

  #put(key: string, value: string, expireAtMs: number, seq: number): void {
    const records = this.#slotFor(key);
    let record = records.get(key);
    if (record === undefined) {
      record = { value, expiry: undefined, seq };
      records.set(key, record);
      this.#size++;
    } else {
      record.value = value;
      record.seq = seq;
      if (this.#pieces.size > 0) this.#pieces.delete(record);
    }
    if (expireAtMs !== 0 || record.expiry !== undefined) this.#setExpiry(key, record, expireAtMs);
    this.#wrote(seq);
  }

  #append(key: string, bytes: string, seq: number): void {
    const record = this.#slotFor(key).get(key);
    if (record === undefined) {
      this.#put(key, bytes, 0, seq);
      return;
    }
    record.value += bytes;
    record.seq = seq;
    this.#wrote(seq);
    const pieces = (this.#pieces.get(record) ?? 0) + 1;
    if (pieces <= PIECES_FREE + record.value.length / BYTES_PER_PIECE) {
      this.#pieces.set(record, pieces);
    } else {
      // To read a byte of it makes the engine join the pieces.
      this.#lastByte = record.value.charCodeAt(record.value.length - 1);
      this.#pieces.delete(record);
    }
  }

  #overwrite({ key, offset, bytes }: Extract<Effect, { kind: "overwrite" }>, seq: number): void {
    const record = this.#slotFor(key).get(key);
    if (record === undefined) {
      this.#put(key, overwritten("", offset, bytes), 0, seq);
      return;
    }
    record.value = overwritten(record.value, offset, bytes);
    record.seq = seq;
    this.#pieces.delete(record);
    this.#wrote(seq);
  }

  #setExpiry(key: string, record: StoredRecord, expireAtMs: number): void {
    if (expireAtMs === 0) {
      if (record.expiry !== undefined) this.#expiries.remove(record.expiry);
      record.expiry = undefined;
    } else if (record.expiry === undefined) {
      record.expiry = this.#expiries.add(key, expireAtMs);
    } else {
      this.#expiries.move(record.expiry, expireAtMs);
    }
  }

  #remove(key: string, seq: number): void {
    const records = this.#slotFor(key);
    const record = records.get(key);
    assert(record !== undefined, "a delete effect follows its key");
    if (record.expiry !== undefined) this.#expiries.remove(record.expiry);
    if (this.#pieces.size > 0) this.#pieces.delete(record);
    records.delete(key);
    if (records.size === 0) this.#slots.set(this.#placeOf(key), undefined);
    this.#size--;
    this.#tombstones.set(key, seq);
    this.#graves.push({ key, seq });
    this.#wrote(seq);
  }

  #empty(): void {
    this.#slots.clear();
    this.#size = 0;
    this.#expiries.clear();
    this.#pieces.clear();
  }
}

function recordOf(key: string, { value, expiry, seq }: StoredRecord): KeyRecord {
  return { key, value, expireAtMs: expiry?.atMs ?? 0, seq };
}

/** `value` with `bytes` from `offset` on, filled up with zero bytes before them if it is shorter. */
function overwritten(value: string, offset: number, bytes: string): string {
  const before =
    value.length < offset ? value + "\0".repeat(offset - value.length) : value.slice(0, offset);
  return before + bytes + value.slice(offset + bytes.length);
}
