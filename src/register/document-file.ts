/** One document in one file, replaced as a whole: after a crash at any moment it is the old one or the new one. */

import { randomBytes } from "node:crypto";
import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Configuration } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import { RegisterError } from "./register.ts";

/**
 * Reads the file, and removes what a crash in the middle of a replacement has left beside it.
 * @returns undefined if there is no file.
 * @throws RegisterError (`corrupt`, or `newer-format`) if the file is there but holds no valid document: starting from
 *   nothing would let a deposed node rule again, so an operator has to decide.
 */
export async function loadDocument(path: string): Promise<Configuration | undefined> {
  await removeRemains(path);
  let json: string;
  try {
    json = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return parseConfiguration(JSON.parse(json));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof ConfigurationError && error.code === "newer-format") {
      throw new RegisterError(`a newer HotHot has written ${path} (${why}); upgrade this program`, {
        code: "newer-format",
        cause: error,
      });
    }
    throw new RegisterError(
      `${path} holds no valid configuration (${why}); restore it, or remove it to begin a new cluster`,
      { code: "corrupt", cause: error },
    );
  }
}

/** Makes the file hold this document; when it returns, a loss of power cannot undo it. */
export async function saveDocument(path: string, configuration: Configuration): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(`${JSON.stringify(configuration, undefined, 1)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Files that `saveDocument` had begun when the process was killed. */
async function removeRemains(path: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  const names = await readdir(dirname(path)).catch(() => []);
  for (const name of names) {
    if (name.startsWith(prefix) && /^\d+\.[0-9a-f]{8}\.tmp$/.test(name.slice(prefix.length))) {
      await rm(join(dirname(path), name), { force: true });
    }
  }
}
