/** Reads back what is stored of all shards, and believes none of it before it has been compared with the rest. */

import type { SlotRecords } from "../data/effect.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Entry } from "../replica/entry.ts";
import type { Checkpoint, RestoredLog } from "../replica/journal.ts";
import { type LogItem, parseLog, parseState, type ShardState } from "./codec.ts";
import type { Engine, Live } from "./engine.ts";
import { corrupt } from "./errors.ts";
import { ShardBook } from "./shard-book.ts";

/** Told what is stored, shard by shard. */
export interface LoadHandlers {
  /** A shard follows; its checkpoint is `restored`'s. */
  begin(checkpoint: Checkpoint): void;
  /** Some of its keys, in any order, some of them newer than the checkpoint. */
  records(shard: ShardId, records: SlotRecords): void;
  /**
   * Its log, after all its keys. The state is what the keys and the entries after the checkpoint make. A record whose seq,
   * before an entry's first effect, is the entry's or a higher one is newer than the entry: then
   * - the entry's effects on its key are left out, and a `flush` leaves it alone;
   * - a `delete` or `expire` of a key that is not there does nothing: a later entry deletes the key.
   */
  restored(log: RestoredLog): void;
  /** What is stored is damaged, and was put aside: all that the handlers were given is to be forgotten. */
  discard(): void;
}

/** What was loaded. */
export interface LoadReport {
  readonly shards: number;
  readonly keys: number;
  readonly entries: number;
  /** Time that it took, ms. */
  readonly ms: number;
}

/**
 * @returns the shards as they are stored, with the keys that their checkpoints lack; those that need another one behind it, and
 *   the last that was divided first.
 * @throws StoreError (`corrupt`, `io`)
 */
export async function loadShards(
  engine: Engine,
  handlers: LoadHandlers,
): Promise<{
  readonly books: readonly ShardBook[];
  readonly keys: number;
  readonly entries: number;
}> {
  const states: States = new Map(
    (await engine.states()).map(({ shard, bytes }) => [shard, parseState(bytes, shard)]),
  );
  const books: ShardBook[] = [];
  const live = new Map<ShardId, Live>();
  let keys = 0;
  let entries = 0;
  for (const state of states.values()) {
    const parts = await loadParts(engine, state, states);
    for (const { checkpoint } of parts) handlers.begin(checkpoint);
    // The first one's records have those of the others as they were, and so on.
    for (const part of parts) keys += await loadRecords(engine, handlers, { part, parts });
    for (const part of parts) {
      const { book, checkpoint, startedEpoch } = part;
      if (part.recordSeq > part.lastSeq) {
        throw corrupt(
          `shard ${book.shard} has a key of entry ${part.recordSeq}, but its log ends at ${part.lastSeq}`,
        );
      }
      handlers.restored({ checkpoint, entries: part.entries, startedEpoch });
      live.set(book.shard, book);
      entries += part.entries.length;
    }
    const [first, ...others] = parts;
    if (first !== undefined) books.push(first.book);
    books.push(...others.map(({ book }) => book).reverse());
  }
  await engine.sweepAll(live);
  return { books, keys, entries };
}

/** Of all shards that have one. */
type States = ReadonlyMap<ShardId, ShardState>;

/** A shard of which something is stored, by itself or as part of another. */
interface Part {
  readonly book: ShardBook;
  checkpoint: Checkpoint;
  entries: readonly Entry[];
  startedEpoch: number;
  lastSeq: number;
  /** The highest of any record. */
  recordSeq: number;
}

/** @returns the shard of the state, and those that were divided from it and need it still. */
async function loadParts(
  engine: Engine,
  state: ShardState,
  states: States,
): Promise<readonly Part[]> {
  const { checkpoint, life, generation } = state;
  const book = new ShardBook(checkpoint.shard);
  book.life = life;
  book.generation = generation;
  book.slots = { first: checkpoint.firstSlot, last: checkpoint.lastSlot };
  const part: Part = {
    book,
    checkpoint,
    entries: [],
    startedEpoch: checkpoint.startedEpoch,
    lastSeq: checkpoint.seq,
    recordSeq: 0,
  };
  return loadLog(engine, part, states);
}

/** Reads the part's own log, and then what was divided from it. */
async function loadLog(engine: Engine, part: Part, states: States): Promise<readonly Part[]> {
  const { book, checkpoint } = part;
  const { shard, life } = book;
  const entries = [...part.entries];
  const divided = new Map<ShardId, Part>();
  const pieces: { index: number; lastSeq: number }[] = [];
  for await (const chunk of engine.log(shard, life)) {
    for (const { index, bytes } of chunk) {
      if (pieces.length > 0 && index !== (pieces.at(-1)?.index ?? 0) + 1) {
        throw corrupt(`the log of shard ${shard} has a gap before piece ${index}`);
      }
      for (const item of parseLog(bytes, shard)) {
        if (item.kind === "started") part.startedEpoch = Math.max(part.startedEpoch, item.epoch);
        else if (item.kind === "settled") divided.delete(item.into);
        else if (item.kind === "divided") {
          // A checkpoint from after it has neither its keys nor its log.
          if (!isBetween(item.at, book)) continue;
          const child = divide(part, entries, item);
          // A shard with a state of its own needs this one no more; of one that became void before, no log says so.
          const isSettled = (states.get(item.into)?.life ?? 0) >= item.life;
          if (!isSettled) divided.set(item.into, child);
        } else for (const entry of item.entries) entries.push(entry);
      }
      const lastSeq = entries.at(-1)?.seq ?? 0;
      if (lastSeq > checkpoint.seq) book.logBytes += bytes.length;
      pieces.push({ index, lastSeq });
    }
  }
  part.entries = entries;
  part.lastSeq = entries.at(-1)?.seq ?? checkpoint.seq;
  checkLog(part);
  book.loaded(pieces);
  if (book.base !== undefined) book.phase = "filling";
  book.lastSeq = part.lastSeq;
  book.checkpointSeq = checkpoint.seq;
  for (const entry of entries) if (entry.seq > checkpoint.seq) book.note(entry);
  const parts = [part];
  for (const child of divided.values()) {
    child.book.needs(book);
    parts.push(...(await loadLog(engine, child, states)));
  }
  return parts;
}

/** Begins the part that comes out of another, which keeps the rest. */
function divide(
  from: Part,
  entries: readonly Entry[],
  { into, at, life, generation }: Extract<LogItem, { kind: "divided" }>,
): Part {
  const book = new ShardBook(into);
  book.life = life;
  book.generation = generation;
  from.book.giveSlots(book, at);
  const { checkpoint } = from;
  const { lastSlot } = checkpoint;
  from.checkpoint = { ...checkpoint, lastSlot: at - 1 };
  return {
    book,
    checkpoint: { ...checkpoint, shard: into, firstSlot: at, lastSlot },
    entries: [...entries],
    startedEpoch: from.startedEpoch,
    lastSeq: 0,
    recordSeq: 0,
  };
}

/** Whether a book has slots on both sides. */
function isBetween(at: number, { slots }: ShardBook): boolean {
  return slots !== undefined && at > slots.first && at <= slots.last;
}

function checkLog({ book, checkpoint, entries, lastSeq }: Part): void {
  const [first] = entries;
  if (first === undefined) return;
  if (entries.some((entry, index) => entry.seq !== first.seq + index)) {
    throw corrupt(`the log of shard ${book.shard} has a gap`);
  }
  if (first.seq > checkpoint.seq + 1 || lastSeq < checkpoint.seq) {
    throw corrupt(
      `the log of shard ${book.shard} (${first.seq} to ${lastSeq}) does not belong to its checkpoint at ${checkpoint.seq}`,
    );
  }
}

/** @returns how many of the records are of a part's. */
async function loadRecords(
  engine: Engine,
  handlers: LoadHandlers,
  { part, parts }: { readonly part: Part; readonly parts: readonly Part[] },
): Promise<number> {
  const { shard, generation } = part.book;
  let count = 0;
  for await (const records of engine.records(shard, generation)) {
    for (const owner of parts) {
      const own = parts.length === 1 ? records : records.filter(({ key }) => owner.book.holds(key));
      for (const record of own) owner.recordSeq = Math.max(owner.recordSeq, record.seq);
      if (own.length > 0) handlers.records(owner.book.shard, own);
      count += own.length;
    }
  }
  return count;
}
