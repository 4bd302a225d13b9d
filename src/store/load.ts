/** Reads back what is stored of all shards, and believes none of it before it has been compared with the rest. */

import type { SlotRecords } from "../data/effect.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Checkpoint, RestoredLog } from "../replica/journal.ts";
import type { Entry } from "../replica/messages.ts";
import { parseLog, parseState, type ShardState } from "./codec.ts";
import type { Engine } from "./engine.ts";
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
 * @returns the shards as they are stored, with the keys that their checkpoints lack.
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
  const states = (await engine.states()).map(({ shard, bytes }) => parseState(bytes, shard));
  const books: ShardBook[] = [];
  let keys = 0;
  let entries = 0;
  for (const state of states) {
    handlers.begin(state.checkpoint);
    const read = await loadRecords(engine, handlers, state);
    const { book, log } = await loadLog(engine, state, read.lastSeq);
    handlers.restored(log);
    books.push(book);
    keys += read.count;
    entries += log.entries.length;
  }
  await engine.sweepAll(new Map(states.map((state) => [state.checkpoint.shard, state])));
  return { books, keys, entries };
}

async function loadRecords(
  engine: Engine,
  handlers: LoadHandlers,
  { checkpoint: { shard }, generation }: ShardState,
): Promise<{ readonly count: number; readonly lastSeq: number }> {
  let count = 0;
  let lastSeq = 0;
  for await (const records of engine.records(shard, generation)) {
    for (const record of records) lastSeq = Math.max(lastSeq, record.seq);
    handlers.records(shard, records);
    count += records.length;
  }
  return { count, lastSeq };
}

/** @param recordSeq the highest of any record. */
async function loadLog(
  engine: Engine,
  { checkpoint, life, generation }: ShardState,
  recordSeq: number,
): Promise<{ readonly book: ShardBook; readonly log: RestoredLog }> {
  const { shard } = checkpoint;
  const book = new ShardBook(shard);
  const entries: Entry[] = [];
  const pieces: { index: number; lastSeq: number }[] = [];
  let startedEpoch = checkpoint.startedEpoch;
  for await (const chunk of engine.log(shard, life)) {
    for (const { index, bytes } of chunk) {
      if (pieces.length > 0 && index !== (pieces.at(-1)?.index ?? 0) + 1) {
        throw corrupt(`the log of shard ${shard} has a gap before piece ${index}`);
      }
      for (const item of parseLog(bytes, shard)) {
        if (item.kind === "started") startedEpoch = Math.max(startedEpoch, item.epoch);
        else for (const entry of item.entries) entries.push(entry);
      }
      const lastSeq = entries.at(-1)?.seq ?? 0;
      if (lastSeq > checkpoint.seq) book.logBytes += bytes.length;
      pieces.push({ index, lastSeq });
    }
  }
  const [first] = entries;
  const lastSeq = entries.at(-1)?.seq ?? checkpoint.seq;
  if (first !== undefined) {
    if (entries.some((entry, index) => entry.seq !== first.seq + index)) {
      throw corrupt(`the log of shard ${shard} has a gap`);
    }
    if (first.seq > checkpoint.seq + 1 || lastSeq < checkpoint.seq) {
      throw corrupt(
        `the log of shard ${shard} (${first.seq} to ${lastSeq}) does not belong to its checkpoint at ${checkpoint.seq}`,
      );
    }
  }
  if (recordSeq > lastSeq) {
    throw corrupt(`shard ${shard} has a key of entry ${recordSeq}, but its log ends at ${lastSeq}`);
  }
  book.loaded(pieces);
  book.life = life;
  book.generation = generation;
  book.lastSeq = lastSeq;
  book.checkpointSeq = checkpoint.seq;
  for (const entry of entries) if (entry.seq > checkpoint.seq) book.note(entry);
  return { book, log: { checkpoint, entries, startedEpoch } };
}
