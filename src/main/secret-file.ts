/** Where the cluster's secret comes from: a file that only its owner may read, or the environment. */

import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { SECRET_BYTES_MAX, SECRET_BYTES_MIN } from "../peers/secret.ts";

/** Read by others than the owner. */
const OPEN_TO_OTHERS = 0o077;
const OWNER_ONLY = 0o600;

/**
 * @param text the secret, perhaps with white space around it; its bytes are taken as they are.
 * @returns undefined for undefined.
 * @throws Error that says what a secret has to be.
 */
export function secretFromText(text: string | undefined): Buffer | undefined {
  if (text === undefined) return undefined;
  const secret = Buffer.from(text.trim(), "utf8");
  if (secret.length < SECRET_BYTES_MIN || secret.length > SECRET_BYTES_MAX) {
    throw new Error(
      `it has ${secret.length} bytes and needs ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX}; ` +
        "make one with: openssl rand -hex 32",
    );
  }
  return secret;
}

/**
 * @param warn called if others than the owner may read the file.
 * @throws Error if it cannot be read or holds no secret; the message names the file and never what is in it.
 */
export function readSecretFile(path: string, warn: (text: string) => void): Buffer | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
    const { mode } = statSync(path);
    if (process.platform !== "win32" && (mode & OPEN_TO_OTHERS) !== 0) {
      warn(`others may read the cluster secret in ${path}; close it with: chmod 600 ${path}`);
    }
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  try {
    return secretFromText(text);
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/**
 * Makes the file with a new secret; one that is there already is kept.
 * @throws the system's error if it cannot be written.
 */
export function ensureSecretFile(path: string): void {
  try {
    const secret = `${randomBytes(SECRET_BYTES_MIN).toString("hex")}\n`;
    writeFileSync(path, secret, { mode: OWNER_ONLY, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** @returns whether nobody outside this machine can speak from this address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
