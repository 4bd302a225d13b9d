/** A store in a Redis server that belongs to one node; see `redis-engine.ts` for what is in it. */

import type { Engine } from "./engine.ts";
import { StoreError } from "./errors.ts";
import type { CorruptReport } from "./open-store.ts";
import { compareOwner, type Owner, ownerBytes, parseOwner } from "./owner.ts";
import { IDENTITY_NAME, RedisConnection, RedisEngine } from "./redis-engine.ts";
import { Store, type StoreSettings, type Vault } from "./store.ts";

export interface OpenRedisStoreOptions extends StoreSettings, Owner {
  /** `redis://[user:password@]host:port[/db]`. */
  readonly url: string;
  /** Something stored was damaged. The node has to get its data from its peers. */
  onCorrupt(report: CorruptReport): void;
}

/**
 * Opens a node's store in a Redis server. The database must be the node's own: empty at first, and written by nobody else.
 * @throws StoreError `locked`, `wrong-cluster`, `wrong-node`, `newer-format`: with nothing touched; `io`.
 */
export async function openRedisStore(options: OpenRedisStoreOptions): Promise<Store> {
  const place = withoutPassword(options.url);
  const connection = await RedisConnection.open(options.url);
  let isNew: boolean;
  try {
    await keepOthersAway(connection, place, options);
    isNew = await checkOwner(connection, place, options);
  } catch (error) {
    connection.close();
    throw error;
  }
  const vault: Vault = {
    engine: new RedisEngine(connection),
    isNew,
    setAside: async (reason) => {
      const engine = new RedisEngine(connection);
      const movedTo = `hothot:corrupt-${new Date().toISOString()}:`;
      await engine.setAside(movedTo);
      options.onCorrupt({ reason: reason.message, movedTo: `${movedTo}* in ${place}` });
      vault.engine = engine satisfies Engine;
    },
    close: async () => connection.close(),
  };
  return new Store(vault, options);
}

/** The name of a connection is the lock: it goes when the process does. Two that start at once may both be refused. */
async function keepOthersAway(
  connection: RedisConnection,
  place: string,
  { clusterId, nodeId }: Owner,
): Promise<void> {
  const info = String(await connection.send("CLIENT", "INFO"));
  const database = / db=(\d+) /.exec(info)?.[1];
  const name = "hothot-store";
  await connection.send("CLIENT", "SETNAME", name);
  const clients = String(await connection.send("CLIENT", "LIST")).split("\n");
  const rivals = clients.filter(
    (line) => line.includes(` name=${name} `) && line.includes(` db=${database} `),
  );
  if (rivals.length > 1) {
    throw new StoreError(
      `another process uses ${place}: stop it first, or give node ${nodeId} of ${clusterId} one of its own`,
      { code: "locked" },
    );
  }
}

/** @returns whether nothing is there yet. */
async function checkOwner(
  connection: RedisConnection,
  place: string,
  owner: Owner,
): Promise<boolean> {
  const stored = await connection.send("GET", IDENTITY_NAME);
  if (Buffer.isBuffer(stored)) {
    compareOwner(place, parseOwner(stored), owner);
    return false;
  }
  if ((await connection.send("DBSIZE")) !== 0) {
    throw new StoreError(
      `${place} has keys that are not of HotHot: give this node a database of its own, or empty it`,
      { code: "wrong-cluster" },
    );
  }
  await connection.transact([["SET", IDENTITY_NAME, ownerBytes(owner)]]);
  return true;
}

function withoutPassword(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `redis://${hostname}:${port === "" ? "6379" : port}${pathname}`;
}
