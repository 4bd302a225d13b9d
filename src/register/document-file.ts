/** One document in one file, replaced as a whole: after a crash at any moment it is the old one or the new one. */

import { randomBytes } from "node:crypto";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Configuration } from "../replica/configuration.ts";
import { parseConfiguration } from "../replica/parse-configuration.ts";
import { RegisterError } from "./register.ts";

/**
 * @returns undefined if there is no file.
 * @throws RegisterError (`corrupt`) if the file is there but holds no valid document: starting from nothing would let a
 *   deposed node rule again, so an operator has to decide.
 */
export async function loadDocument(path: string): Promise<Configuration | undefined> {
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
