/** Opens the durable copy of a node as its cluster's settings and its own options want it. */

import type { Logger } from "pino";
import { ShardEngine } from "../commands/shard-engine.ts";
import { Disk } from "../node/disk.ts";
import type { Configuration, NodeId } from "../replica/configuration.ts";
import { StoreError } from "../store/errors.ts";
import { openStore } from "../store/open-store.ts";
import { hashKey } from "./hash-key.ts";
import { FAILED, MISFIT, StartError } from "./start-error.ts";

/** A directory of the node's own, or a database of a Redis server. */
export type DiskPlace = { readonly dataDir: string } | { readonly storeUrl: string };

/**
 * @returns undefined if the cluster keeps everything in memory only.
 * @throws StartError if the node and the cluster want different things, or the place cannot be used.
 */
export async function openNodeDisk(
  { nodeId, disk: place }: { readonly nodeId: NodeId; readonly disk?: DiskPlace },
  { clusterId, settings }: Configuration,
  log: Logger,
): Promise<Disk | undefined> {
  const { durability, flushMs } = settings;
  if (durability === "none") {
    if (place !== undefined) {
      log.warn("the cluster keeps its data in memory only (durability none): nothing is written");
    }
    return undefined;
  }
  if (place === undefined) {
    throw new StartError(
      `the cluster keeps its data on disk (durability ${durability}): give this node a directory with --data-dir`,
      { exitStatus: MISFIT },
    );
  }
  try {
    return await Disk.open({
      open: async (wiring) => {
        const options = { clusterId, nodeId, durability, flushMs, ...wiring };
        if ("dataDir" in place) return openStore({ ...options, dir: place.dataDir });
        // Loaded only here: a node with a disk, or with none, starts faster without the client library.
        const { openRedisStore } = await import("../store/open-redis-store.ts");
        return openRedisStore({ ...options, url: place.storeUrl });
      },
      createStateMachine: (range) => new ShardEngine(range, hashKey),
      log: (level, text, fields) => log[level](fields, text),
    });
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    // A process that is about to end, or a disk that is about to be mounted, is no reason to give up.
    const exitStatus = error.code === "locked" || error.code === "io" ? FAILED : MISFIT;
    throw new StartError(error.message, { exitStatus, cause: error });
  }
}
