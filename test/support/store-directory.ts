/** A store in a directory of its own, for tests of what happens on disks. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type OpenStoreOptions, openStore } from "../../src/store/open-store.ts";
import { type OpenedStore, openAndLoadBy } from "./opened-store.ts";
import { StoreShard } from "./store-shard.ts";

/** An empty directory that is gone after the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "hothot-store-"));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}

/** Opens the store in a directory and loads what is in it. That it fails is an error of the test, unless `options` see to it. */
export function openAndLoad(
  dir: string,
  shard = new StoreShard(0),
  options: Partial<OpenStoreOptions> = {},
): Promise<OpenedStore> {
  const onFailed = (error: Error): void => {
    throw error;
  };
  return openAndLoadBy((common) => openStore({ ...common, dir, onFailed, ...options }), shard);
}
