/**
 * A process that appends to a store until it is killed or its disk fails, and tells on standard output how far it is saved:
 * `saved <seq>` after each batch, and at the end `failed <why>`. What it writes at a seq is known: see `written`.
 *
 * Arguments: directory, first seq to write.
 */

import { pathToFileURL } from "node:url";
import type { Effect } from "../../src/data/effect.ts";
import { EntryBatch } from "../../src/replica/entry-batch.ts";
import type { JournalItem } from "../../src/replica/journal.ts";
import { openAndLoad } from "./store-directory.ts";
import { begun, StoreShard } from "./store-shard.ts";

const ITEMS_MAX_AHEAD = 400;

/** The effects of the entry `seq`. */
export function written(seq: number): readonly Effect[] {
  const key = `k${(seq * 7919) % 500}`;
  if (seq % 997 === 0) return [{ kind: "flush" }];
  if (seq % 13 === 0) return [{ kind: "delete", key }];
  if (seq % 5 === 0) return [{ kind: "append", key, bytes: `+${seq}` }];
  return [{ kind: "set", key, value: `${seq}`.repeat(20), expireAtMs: 0 }];
}

async function main(dir: string): Promise<void> {
  const shard = new StoreShard(0);
  const seqs: number[] = [];
  let told = 0;
  const say = (line: string): boolean => process.stdout.write(`${line}\n`);
  const { store, restored } = await openAndLoad(dir, shard, {
    checkpoints: { everyMs: 50, logBytes: 100_000, pauseMs: 0 },
    onSaved: (items) => {
      const seq = seqs[items - 1] ?? 0;
      if (items > told && seq > 0) say(`saved ${seq}`);
      told = items;
    },
    onFailed: (error) => {
      say(`failed ${error.code} ${error.message}`);
      clearInterval(timer);
      void store.close();
    },
  });
  const before = restored.shards.get(0);
  const items: JournalItem[] = before === undefined ? [...begun(0)] : [];
  for (const record of before?.contents() ?? []) shard.keys.set(record.key, record);
  shard.seq = before?.seq ?? 0;
  for (const _ of items) seqs.push(0);
  const timer = setInterval(() => {
    while (seqs.length - told < ITEMS_MAX_AHEAD) {
      const entry = shard.order(written(shard.seq + 1));
      items.push({ kind: "entries", shard: 0, entries: EntryBatch.of([entry]) });
      seqs.push(entry.seq);
    }
    store.append(items.splice(0));
  }, 1);
}

const [, script = "", dir = ""] = process.argv;
if (import.meta.url === pathToFileURL(script).href) await main(dir);
