/** A store in a directory of its own, for tests of what happens on disks. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { LoadReport } from "../../src/store/load.ts";
import type { CorruptReport, OpenStoreOptions } from "../../src/store/open-store.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { Restored, StoreShard, sourceOf } from "./store-shard.ts";

/** An empty directory that is gone after the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "hothot-store-"));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}

export interface OpenedStore {
  readonly store: Store;
  readonly restored: Restored;
  readonly report: LoadReport;
  readonly damages: readonly CorruptReport[];
  /** Items saved so far. */
  saved(): number;
}

/** Opens the store of node `n1` of cluster `c1` and loads what is in it. */
export async function openAndLoad(
  dir: string,
  shard = new StoreShard(0),
  options: Partial<OpenStoreOptions> = {},
): Promise<OpenedStore> {
  const damages: CorruptReport[] = [];
  let saved = 0;
  const store = await openStore({
    dir,
    clusterId: "c1",
    nodeId: "n1",
    durability: "fsync",
    flushMs: 10,
    source: sourceOf(new Map([[0, shard]])),
    onSaved: (items) => {
      saved = items;
    },
    onFailed: (error) => {
      throw error;
    },
    onCorrupt: (damage) => damages.push(damage),
    ...options,
  });
  const restored = new Restored();
  const report = await store.load(restored);
  return { store, restored, report, damages, saved: () => saved };
}
