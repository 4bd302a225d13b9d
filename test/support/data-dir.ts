/** A directory for a cluster's data, and what becomes of the files in it. */

import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @returns a new directory that is removed when this process ends, by when its clusters have ended. */
export function dataDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), "hothot-data-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}

/**
 * Damages what a node that does not run has stored: flips bits in the middle of its largest file.
 * @param dir of the node.
 * @returns which file it was.
 */
export function damage(dir: string): string {
  const files = readdirSync(join(dir, "data"))
    .filter((name) => /\.(?:ldb|log)$/.test(name))
    .map((name) => ({ name, bytes: statSync(join(dir, "data", name)).size }))
    .sort((a, b) => b.bytes - a.bytes);
  const [largest] = files;
  if (largest === undefined || largest.bytes < 1_000) throw new Error(`${dir} holds nothing`);
  const file = openSync(join(dir, "data", largest.name), "r+");
  try {
    const middle = Math.floor(largest.bytes / 2);
    const bytes = Buffer.alloc(8);
    readSync(file, bytes, 0, bytes.length, middle);
    for (const [at, byte] of bytes.entries()) bytes[at] = byte ^ 0xff;
    writeSync(file, bytes, 0, bytes.length, middle);
  } finally {
    closeSync(file);
  }
  return largest.name;
}
