/** What the store keeps in mind of one shard: where its log is, and which of its keys the disk does not have as they are. */

import { assert } from "../kit/assert.ts";
import { slotOf } from "../kit/crc16.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Entry } from "../replica/entry.ts";
import type { EntryBatch } from "../replica/entry-batch.ts";
import type { Issuers } from "../replica/issuers.ts";
import { issuersPart, type LogItem, logItemParts, sealed } from "./codec.ts";
import type { Change, Live } from "./engine.ts";

/** A piece of the log takes no further item once it has so many bytes. */
const PIECE_BYTES = 1024 * 1024;

/** A stored piece of the log. */
interface Piece {
  readonly index: number;
  /** Of the last entry in it or before it. */
  readonly lastSeq: number;
}

interface OpenPiece {
  readonly parts: Buffer[];
  bytes: number;
  lastSeq: number;
  /** Whose numbers stand in its last entries, and which of them it tells the meaning of. */
  issuers: Issuers | undefined;
  readonly told: Set<number>;
}

/**
 *              whole                 all keys are stored
 *     void ───────────▶ filling ─────────────────────────▶ stored
 *       ▲                  │ void                             │ void
 *       └──────────────────┴──────────────────────────────────┘
 *
 * A shard that was divided from another is filling too, but it is stored from its beginning on, in the keys and the log of the
 * other: what it is filled with leaves that one.
 */
export type Phase = "void" | "filling" | "stored";

export class ShardBook {
  readonly shard: ShardId;
  phase: Phase = "void";
  /** Of the log that is written, or was last. */
  life = 0;
  /** Of the keys that are stored, or are being stored for the first time. */
  generation = 0;
  /** Of the last entry that was appended; undefined until it is known. */
  lastSeq: number | undefined;
  /**
   * Keys that entries touched since the last checkpoint was begun. A flush leaves them here: a checkpoint of the generation
   * that it begins may have stored them, and then been given up.
   */
  dirty = new Set<string>();
  /** Keys whose records an entry that waits to be written changed without replacing them. */
  changed = new Set<string>();
  /** Whether all keys were deleted since the last checkpoint was begun: the next one is a new generation. */
  isFlushed = false;
  /** Of the last checkpoint that was recorded. */
  checkpointSeq = 0;
  /** When that was, or when the shard was loaded; monotonic ms. */
  checkpointAtMs = 0;
  /** Bytes of the log since then. */
  logBytes = 0;
  /** Which slots it has as far as the journal has come; undefined before anything of it is stored. */
  slots: { readonly first: number; readonly last: number } | undefined;
  /** Whose keys and log it needs, since it was divided from it and is not filled yet. */
  base: ShardBook | undefined;
  /** Those that need this one's: until they are filled, no key and no piece of the log may be deleted here. */
  readonly parts = new Set<ShardBook>();
  /** Where keys of it may be stored beside its own records, while it has a base. */
  origins: readonly { readonly shard: ShardId; readonly generation: number }[] = [];
  /** Keys that were touched since the base's last checkpoint, while there is a base: it may have them, and this one not. */
  moved = new Set<string>();
  /** Keys may be stored, here or among those of the base, that nobody knows of any more. */
  hasStrays = false;

  #pieces: Piece[] = [];
  #nextIndex = 1;
  /** Of an earlier life, not written yet. */
  #left: Change[] = [];
  /** Items that are not written yet, in the pieces that they are going to be. */
  #open: OpenPiece[] = [];

  constructor(shard: ShardId) {
    this.shard = shard;
  }

  /** Whether the key is in one of the shard's slots. */
  holds(key: string): boolean {
    if (this.slots === undefined) return true;
    const slot = slotOf(key);
    return slot >= this.slots.first && slot <= this.slots.last;
  }

  /**
   * Begins the book of a shard that is divided from this one: its slots are those from `at` on.
   * @returns bytes to be written.
   */
  divide(part: ShardBook, at: number): number {
    assert(part.phase === "void", "a new shard is not stored yet");
    part.whole();
    part.needs(this);
    part.lastSeq = this.lastSeq;
    this.giveSlots(part, at);
    const { life, generation } = part;
    part.hasStrays = this.isFlushed || this.hasStrays;
    for (const key of [...this.dirty, ...this.moved]) if (part.holds(key)) part.moved.add(key);
    for (const key of this.changed) {
      if (!part.holds(key)) continue;
      this.changed.delete(key);
      part.changed.add(key);
    }
    return this.#write({ kind: "divided", into: part.shard, at, life, generation });
  }

  /** Whether what is stored has slots from `at` on, as far as the journal has come. */
  hasFrom(at: number): boolean {
    return this.slots !== undefined && this.slots.last >= at;
  }

  /** The slots from `at` on are the other's. */
  giveSlots(part: ShardBook, at: number): void {
    assert(this.slots !== undefined, "what is stored has slots");
    const { first, last } = this.slots;
    part.slots = { first: at, last };
    this.slots = { first, last: at - 1 };
  }

  /** The shard's keys and its log so far are the other's. */
  needs(base: ShardBook): void {
    this.base = base;
    base.parts.add(this);
    this.origins = [{ shard: base.shard, generation: base.generation }, ...base.origins];
  }

  /** It needs no other's keys and log any more. */
  settle(): void {
    const { base } = this;
    if (base === undefined) return;
    base.parts.delete(this);
    if (base.phase !== "void") base.#write({ kind: "settled", into: this.shard });
    this.base = undefined;
    this.origins = [];
    this.moved = new Set();
    this.hasStrays = false;
  }

  /** Nothing that is stored counts any more, but for those that need it. */
  void(): void {
    this.hasStrays = this.base !== undefined;
    if (this.base === undefined) this.slots = undefined;
    this.#empty();
  }

  #empty(): void {
    // What says that others were divided from this one has to be written, or they are lost.
    if (this.parts.size > 0) this.#left = this.takePending();
    this.phase = "void";
    this.lastSeq = undefined;
    this.dirty = new Set();
    this.changed = new Set();
    this.isFlushed = false;
    this.logBytes = 0;
    this.#pieces = [];
    this.#open = [];
  }

  /** Numbers that nothing stored has, not even a checkpoint that was never recorded. */
  get fresh(): Live {
    return { life: this.life + 1, generation: this.generation + 2 };
  }

  /** Begins a new log and new keys. */
  whole(): void {
    this.#empty();
    this.phase = "filling";
    const { life, generation } = this.fresh;
    this.life = life;
    this.generation = generation;
    this.#nextIndex = 1;
  }

  /**
   * Takes entries that the state has applied.
   * @returns bytes to be written.
   */
  append(entries: EntryBatch): number {
    if (this.phase === "void" || entries.length === 0) return 0;
    const { firstSeq, length } = entries;
    assert(
      this.lastSeq === undefined || firstSeq === this.lastSeq + 1,
      `shard ${this.shard}: entry ${firstSeq} comes after ${this.lastSeq}`,
    );
    for (const entry of entries) this.note(entry);
    this.lastSeq = firstSeq + length - 1;
    return this.#write({ kind: "entries", entries });
  }

  /** @returns bytes to be written. */
  started(epoch: number): number {
    return this.phase === "void" ? 0 : this.#write({ kind: "started", epoch });
  }

  /** Remembers what the entry touched. */
  note(entry: Entry): void {
    entry.effects.forEachKey((kind, key) => {
      if (kind === "flush") {
        this.changed.clear();
        this.isFlushed = true;
        this.hasStrays = this.base !== undefined;
      } else {
        this.dirty.add(key);
        if (this.base !== undefined) this.moved.add(key);
        if (kind !== "set" && kind !== "delete") this.changed.add(key);
      }
    });
  }

  /** Takes what was found at the start. */
  loaded(pieces: readonly Piece[]): void {
    this.phase = "stored";
    this.#pieces = [...pieces];
    this.#nextIndex = (pieces.at(-1)?.index ?? 0) + 1;
  }

  get hasPending(): boolean {
    return this.#open.length > 0 || this.#left.length > 0;
  }

  /** What is to be written of the log. The caller writes it next, or never writes again. */
  takePending(): Change[] {
    const { shard, life } = this;
    const changes = this.#open.map(({ parts, lastSeq }): Change => {
      const index = this.#nextIndex++;
      this.#pieces.push({ index, lastSeq });
      return { kind: "log", shard, life, index, bytes: sealed(parts) };
    });
    this.#open = [];
    this.changed.clear();
    const left = this.#left;
    this.#left = [];
    return left.length === 0 ? changes : [...left, ...changes];
  }

  /** Deletions of the pieces that hold nothing after the entry `seq`. */
  takeObsolete(seq: number): Change[] {
    const { shard, life } = this;
    const kept = this.#pieces.findIndex((piece) => piece.lastSeq > seq);
    const gone = this.#pieces.splice(0, kept === -1 ? this.#pieces.length : kept);
    return gone.map(({ index }) => ({ kind: "no-log", shard, life, index }));
  }

  #write(item: LogItem): number {
    let piece = this.#open.at(-1);
    if (piece === undefined || piece.bytes >= PIECE_BYTES) {
      piece = { parts: [], bytes: 0, lastSeq: 0, issuers: undefined, told: new Set() };
      this.#open.push(piece);
    }
    const { parts } = piece;
    const first = parts.length;
    if (item.kind === "entries") parts.push(...untoldIssuers(piece, item.entries));
    parts.push(...logItemParts(item));
    let bytes = 0;
    for (let at = first; at < parts.length; at += 1) bytes += parts[at]?.length ?? 0;
    piece.bytes += bytes;
    piece.lastSeq = this.lastSeq ?? 0;
    this.logBytes += bytes;
    return bytes;
  }
}

/** What the piece has to say before it can take the entries. */
function untoldIssuers(piece: OpenPiece, entries: EntryBatch): Buffer[] {
  const { issuers } = entries;
  if (piece.issuers !== issuers) piece.told.clear();
  piece.issuers = issuers;
  const untold = entries.issuersUsed().filter((number) => !piece.told.has(number));
  for (const number of untold) piece.told.add(number);
  return untold.length === 0 ? [] : [issuersPart(issuers, untold)];
}
