/** Opens stores of any kind alike for tests, and gathers what they say. */

import type { LoadReport } from "../../src/store/load.ts";
import type { CorruptReport, OpenStoreOptions } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { Restored, type StoreShard, sourceOf } from "./store-shard.ts";

export interface OpenedStore {
  readonly store: Store;
  readonly restored: Restored;
  readonly report: LoadReport;
  readonly damages: readonly CorruptReport[];
  /** Items saved so far. */
  saved(): number;
  failure(): Error | undefined;
}

/**
 * Opens a store of node `n1` of cluster `c1` and loads what is in it.
 * @param open opens it, given all but its place.
 */
export async function openAndLoadBy(
  open: (options: Omit<OpenStoreOptions, "dir">) => Promise<Store>,
  shard: StoreShard,
): Promise<OpenedStore> {
  const damages: CorruptReport[] = [];
  let saved = 0;
  let failure: Error | undefined;
  const store = await open({
    clusterId: "c1",
    nodeId: "n1",
    durability: "fsync",
    flushMs: 10,
    source: sourceOf(new Map([[0, shard]])),
    onSaved: (items) => {
      saved = items;
    },
    onFailed: (error) => {
      failure = error;
    },
    onCorrupt: (damage) => damages.push(damage),
  });
  const restored = new Restored();
  const report = await store.load(restored);
  return { store, restored, report, damages, saved: () => saved, failure: () => failure };
}
