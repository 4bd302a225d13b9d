/**
 * A store in a directory of a disk:
 *
 *     identity/          whose it is; open as long as the store is, which keeps other processes away
 *     data/              what is stored
 *     corrupt-<time>/    what was damaged, for whoever wants to look into it; nothing reads or deletes it
 *
 * Both `identity` and `data` are LevelDBs. The lock of a LevelDB is one of the operating system, so a process that dies in
 * whatever way leaves none behind.
 */

import { mkdir, open, readdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Engine } from "./engine.ts";
import { corrupt, StoreError } from "./errors.ts";
import { LevelEngine, openLevel } from "./level-engine.ts";
import { compareOwner, type Owner, ownerBytes, parseOwner } from "./owner.ts";
import { Store, type StoreSettings, type Vault } from "./store.ts";

const IDENTITY = "identity";
const DATA = "data";

/** What was damaged, and where it is now. */
export interface CorruptReport {
  readonly reason: string;
  readonly movedTo: string;
}

export interface OpenStoreOptions extends StoreSettings, Owner {
  /** Made if it is missing. */
  readonly dir: string;
  /** Something stored was damaged. The node has to get its data from its peers. */
  onCorrupt(report: CorruptReport): void;
}

/**
 * Opens a node's store, or makes an empty one.
 * @throws StoreError `locked`, `wrong-cluster`, `wrong-node`, `newer-format`: with nothing touched, and a message that says what
 *   to do; `io`.
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  return new Store(await Directory.open(options), options);
}

type Identity = Awaited<ReturnType<typeof openLevel>>;

class Directory implements Vault {
  engine: Engine;
  readonly isNew: boolean;
  readonly #dir: string;
  readonly #identity: Identity;
  readonly #onCorrupt: (report: CorruptReport) => void;

  private constructor(
    dir: string,
    {
      identity,
      engine,
      isNew,
    }: { readonly identity: Identity; readonly engine: Engine; readonly isNew: boolean },
    onCorrupt: (report: CorruptReport) => void,
  ) {
    this.#dir = dir;
    this.#identity = identity;
    this.engine = engine;
    this.isNew = isNew;
    this.#onCorrupt = onCorrupt;
  }

  static async open(options: OpenStoreOptions): Promise<Directory> {
    const { dir } = options;
    let isDamaged = false;
    const report = (found: CorruptReport): void => {
      isDamaged = true;
      options.onCorrupt(found);
    };
    const identity = await openIdentity(dir, options, report);
    try {
      const isEmpty = (await withDisk(dir, () => readdir(join(dir, DATA)))).length === 0;
      const engine = await openData(dir, report);
      return new Directory(dir, { identity, engine, isNew: isEmpty || isDamaged }, report);
    } catch (error) {
      await identity.close();
      throw error;
    }
  }

  async setAside(reason: StoreError): Promise<void> {
    // A damaged LevelDB may not even close; what it has open then stays open until the process ends.
    await this.engine.close().catch(() => {});
    const movedTo = await moveAside(this.#dir, [DATA]);
    this.#onCorrupt({ reason: reason.message, movedTo });
    this.engine = await openData(this.#dir, this.#onCorrupt);
  }

  async close(): Promise<void> {
    try {
      await this.engine.close();
    } finally {
      await this.#identity.close();
    }
  }
}

async function openIdentity(
  dir: string,
  owner: Owner,
  report: (found: CorruptReport) => void,
): Promise<Identity> {
  const path = join(dir, IDENTITY);
  await withDisk(dir, async () => {
    await mkdir(path, { recursive: true });
    await mkdir(join(dir, DATA), { recursive: true });
    await syncDirectory(dir);
    await syncDirectory(dirname(dir));
  });
  try {
    return await checkedIdentity(dir, owner);
  } catch (error) {
    if (!(error instanceof StoreError && error.code === "corrupt")) throw error;
    // Without it nobody knows whose the data is.
    const movedTo = await moveAside(dir, [IDENTITY, DATA]);
    report({ reason: `${IDENTITY}: ${error.message}`, movedTo });
    return checkedIdentity(dir, owner);
  }
}

async function checkedIdentity(dir: string, owner: Owner): Promise<Identity> {
  const identity = await openNamed(dir);
  try {
    const [stored, isEmpty] = await withDisk(dir, async () => [
      await identity.get(Buffer.from("owner")),
      (await readdir(join(dir, DATA))).length === 0,
    ]);
    if (stored !== undefined) {
      compareOwner(dir, parseOwner(stored), owner);
    } else if (isEmpty) {
      await withDisk(dir, () =>
        identity.put(Buffer.from("owner"), ownerBytes(owner), { sync: true }),
      );
    } else {
      throw corrupt("it names no owner, though there is data");
    }
    return identity;
  } catch (error) {
    await identity.close();
    throw error;
  }
}

async function openNamed(dir: string): Promise<Identity> {
  try {
    return await openLevel(join(dir, IDENTITY));
  } catch (error) {
    if (!(error instanceof StoreError && error.code === "locked")) throw error;
    throw new StoreError(
      `another process uses ${dir}: stop it first, or give this node a directory of its own`,
      { code: "locked", cause: error },
    );
  }
}

/** Opens what is stored; if it is damaged, puts it aside and begins an empty one. */
async function openData(dir: string, report: (found: CorruptReport) => void): Promise<Engine> {
  const path = join(dir, DATA);
  await withDisk(dir, () => mkdir(path, { recursive: true }));
  try {
    return await LevelEngine.open(path);
  } catch (error) {
    if (!(error instanceof StoreError && error.code === "corrupt")) throw error;
    const movedTo = await moveAside(dir, [DATA]);
    report({ reason: error.message, movedTo });
    await withDisk(dir, () => mkdir(path, { recursive: true }));
    return LevelEngine.open(path);
  }
}

/** @returns the directory in which the named ones are now. */
async function moveAside(dir: string, names: readonly string[]): Promise<string> {
  return withDisk(dir, async () => {
    const time = new Date().toISOString().replaceAll(":", "").replace(".", "-");
    const present = await readdir(dir);
    let path = join(dir, `corrupt-${time}`);
    for (let i = 2; present.includes(path.slice(dir.length + 1)); i++) {
      path = join(dir, `corrupt-${time}-${i}`);
    }
    await mkdir(path);
    for (const name of names) {
      if (present.includes(name)) await rename(join(dir, name), join(path, name));
      await mkdir(join(dir, name), { recursive: true });
    }
    await syncDirectory(dir);
    return path;
  });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function withDisk<Result>(dir: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new StoreError(`the disk under ${dir} failed: ${why}`, { code: "io", cause: error });
  }
}
