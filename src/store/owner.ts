/** Whose a store is: stored in it, and compared before anything in it is touched. */

import { crc32 } from "node:zlib";
import type { NodeId } from "../replica/configuration.ts";
import { STORE_FORMAT } from "./codec.ts";
import { corrupt, StoreError } from "./errors.ts";

/** The node that a store belongs to. */
export interface Owner {
  readonly clusterId: string;
  readonly nodeId: NodeId;
}

/** An owner, and the format of what is its. */
export interface StoredOwner extends Owner {
  readonly format: number;
}

/** What is stored of an owner. */
export function ownerBytes({ clusterId, nodeId }: Owner): Buffer {
  const json = Buffer.from(JSON.stringify({ format: STORE_FORMAT, clusterId, nodeId }));
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(json));
  return Buffer.concat([checksum, json]);
}

/** @throws StoreError (`corrupt`) */
export function parseOwner(bytes: Buffer): StoredOwner {
  const json = bytes.subarray(4);
  if (bytes.length < 4 || bytes.readUInt32LE() !== crc32(json)) {
    throw corrupt("the owner is not what its checksum says");
  }
  return JSON.parse(json.toString()) as StoredOwner;
}

/**
 * @param place of the store, as an operator knows it.
 * @throws StoreError (`newer-format`, `wrong-cluster`, `wrong-node`)
 */
export function compareOwner(place: string, stored: StoredOwner, owner: Owner): void {
  if (stored.format > STORE_FORMAT) {
    throw new StoreError(
      `${place} has format ${stored.format}, and this version reads ${STORE_FORMAT} at most: start the version that wrote it, or give this node an empty one`,
      { code: "newer-format" },
    );
  }
  if (stored.clusterId !== owner.clusterId) {
    throw new StoreError(
      `${place} belongs to cluster ${stored.clusterId} (node ${stored.nodeId}), not to cluster ${owner.clusterId}: give this node one of its own`,
      { code: "wrong-cluster" },
    );
  }
  if (stored.nodeId !== owner.nodeId) {
    throw new StoreError(
      `${place} belongs to node ${stored.nodeId}, not to node ${owner.nodeId}: give this node one of its own`,
      { code: "wrong-node" },
    );
  }
}
