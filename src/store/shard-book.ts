/** What the store keeps in mind of one shard: where its log is, and which of its keys the disk does not have as they are. */

import { assert } from "../kit/assert.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Entry } from "../replica/messages.ts";
import { type LogItem, logItemBytes, sealed } from "./codec.ts";
import type { Change, Live } from "./engine.ts";

/** A piece of the log takes no further item once it has so many bytes. */
const PIECE_BYTES = 1024 * 1024;

/** A stored piece of the log. */
interface Piece {
  readonly index: number;
  /** Of the last entry in it or before it. */
  readonly lastSeq: number;
}

/**
 *              whole                 all keys are stored
 *     void ───────────▶ filling ─────────────────────────▶ stored
 *       ▲                  │ void                             │ void
 *       └──────────────────┴──────────────────────────────────┘
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
  /** Keys that entries touched since the last checkpoint was begun, or the last flush. */
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

  #pieces: Piece[] = [];
  #nextIndex = 1;
  /** Items that are not written yet, in the pieces that they are going to be. */
  #open: { parts: Buffer[]; bytes: number; lastSeq: number }[] = [];

  constructor(shard: ShardId) {
    this.shard = shard;
  }

  /** Nothing that is stored counts any more. */
  void(): void {
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
    this.void();
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
  append(entries: readonly Entry[]): number {
    if (this.phase === "void") return 0;
    for (const entry of entries) {
      assert(
        this.lastSeq === undefined || entry.seq === this.lastSeq + 1,
        `shard ${this.shard}: entry ${entry.seq} comes after ${this.lastSeq}`,
      );
      this.lastSeq = entry.seq;
      this.note(entry);
    }
    return entries.length === 0 ? 0 : this.#write({ kind: "entries", entries });
  }

  /** @returns bytes to be written. */
  started(epoch: number): number {
    return this.phase === "void" ? 0 : this.#write({ kind: "started", epoch });
  }

  /** Remembers what the entry touched. */
  note(entry: Entry): void {
    for (const effect of entry.effects) {
      if (effect.kind === "flush") {
        this.dirty.clear();
        this.changed.clear();
        this.isFlushed = true;
      } else {
        this.dirty.add(effect.key);
        if (effect.kind !== "set" && effect.kind !== "delete") this.changed.add(effect.key);
      }
    }
  }

  /** Takes what was found at the start. */
  loaded(pieces: readonly Piece[]): void {
    this.phase = "stored";
    this.#pieces = [...pieces];
    this.#nextIndex = (pieces.at(-1)?.index ?? 0) + 1;
  }

  get hasPending(): boolean {
    return this.#open.length > 0;
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
    return changes;
  }

  /** Deletions of the pieces that hold nothing after the entry `seq`. */
  takeObsolete(seq: number): Change[] {
    const { shard, life } = this;
    const kept = this.#pieces.findIndex((piece) => piece.lastSeq > seq);
    const gone = this.#pieces.splice(0, kept === -1 ? this.#pieces.length : kept);
    return gone.map(({ index }) => ({ kind: "no-log", shard, life, index }));
  }

  #write(item: LogItem): number {
    const part = logItemBytes(item);
    const lastSeq = this.lastSeq ?? 0;
    const last = this.#open.at(-1);
    if (last === undefined || last.bytes >= PIECE_BYTES) {
      this.#open.push({ parts: [part], bytes: part.length, lastSeq });
    } else {
      last.parts.push(part);
      last.bytes += part.length;
      last.lastSeq = lastSeq;
    }
    this.logBytes += part.length;
    return part.length;
  }
}
