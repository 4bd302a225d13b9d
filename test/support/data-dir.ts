/** A directory for a cluster's data, and what becomes of the files in it. */

import { spawnSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
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

/** Made by this process. */
const directories: string[] = [];

/** @returns a new directory that is removed when this process ends, by when its clusters have ended. */
export function dataDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), "hothot-data-"));
  if (directories.length === 0) process.once("exit", removeDirectories);
  directories.push(dir);
  return dir;
}

function removeDirectories(): void {
  for (const dir of directories) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}

/**
 * Arguments of `hothot up` for tests that hold wherever nodes keep their data: nowhere by default, and on disk where the
 * environment says so, as `HOTHOT_TEST_DURABILITY=fsync`.
 */
export function storeArguments(): readonly string[] {
  const durability = process.env["HOTHOT_TEST_DURABILITY"] ?? "none";
  return durability === "none" ? [] : ["--data-dir", dataDirectory(), "--durability", durability];
}

/**
 * Makes a directory a small file system of its own, until this process ends. It takes root.
 * @returns what fills it up to the last byte, and what makes room again.
 */
export function smallDisk(
  dir: string,
  mib: number,
): { readonly fill: () => void; readonly makeRoom: () => void } {
  mkdirSync(dir, { recursive: true });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", dir]);
  if (mounted.status !== 0) throw new Error(`mount: ${mounted.stderr.toString()}`);
  process.prependOnceListener("exit", () => spawnSync("umount", ["--lazy", dir]));
  const ballast = join(dir, "ballast");
  return {
    fill: () => {
      const file = openSync(ballast, "w");
      try {
        for (let bytes = 64 * 1024; bytes > 0; bytes = Math.floor(bytes / 2)) {
          while (isWritten(file, bytes));
        }
      } finally {
        closeSync(file);
      }
    },
    makeRoom: () => rmSync(ballast, { force: true }),
  };
}

function isWritten(file: number, bytes: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(bytes)) > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
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
