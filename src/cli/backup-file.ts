/** A backup as a file: written under another name until it is whole, and believed by nobody who has not compared its checksums. */

import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { SLOT_COUNT } from "../replica/configuration.ts";
import {
  BACKUP_MAGIC,
  type BackupBlock,
  BackupBlockParser,
  type BackupEnd,
  BackupError,
  type BackupHeader,
  type BackupRecord,
  type BackupShard,
  BackupTotals,
  backupBlockBytes,
  type ReadBlock,
  ShardPartChecker,
} from "../store/backup-format.ts";

const READ_BYTES = 256 * 1024;
/** It holds all data: nobody but its owner may read it. */
const FILE_MODE = 0o600;

/** What is in a backup. */
export interface BackupSummary {
  readonly header: BackupHeader;
  readonly shards: readonly (BackupShard & { readonly keys: number })[];
  readonly keys: number;
  /** Of these, keys with an end. */
  readonly expiring: number;
}

/** Where a backup is being written: `FILE.partial`, which becomes FILE when it is whole. */
export class BackupWriter {
  readonly #path: string;
  readonly #file: FileHandle;
  #at = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws Error with Node's code, `EEXIST` if the partial file is there already. */
  static async create(path: string): Promise<BackupWriter> {
    return new BackupWriter(path, await open(partialPath(path), "wx", FILE_MODE));
  }

  /** Bytes written. */
  get bytes(): number {
    return this.#at;
  }

  async write(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const left = bytes.length - done;
      done += (await this.#file.write(bytes, done, left, this.#at + done)).bytesWritten;
    }
    this.#at += bytes.length;
  }

  /** Forgets all after the first `bytes` bytes. */
  async cut(bytes: number): Promise<void> {
    await this.#file.truncate(bytes);
    this.#at = bytes;
  }

  /** Puts it in the place of what was there before, once it is on the disk. */
  async finish(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
    await rename(partialPath(this.#path), this.#path);
    const folder = await open(dirname(this.#path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(partialPath(this.#path), { force: true });
  }
}

/** Where a backup is written before it is whole. */
export function partialPath(path: string): string {
  return `${path}.partial`;
}

/** What a file begins with. */
export function headBytes(header: BackupHeader): Buffer {
  return Buffer.concat([BACKUP_MAGIC, backupBlockBytes(header)]);
}

/**
 * Reads a file to its end.
 * @throws BackupError if it is not whole, and what the file system throws.
 */
export async function summarizeBackup(path: string): Promise<BackupSummary> {
  let header: BackupHeader | undefined;
  const shards: (BackupShard & { keys: number })[] = [];
  let keys = 0;
  let expiring = 0;
  for await (const block of readBackup(path)) {
    const shard = shards.at(-1);
    if (block.kind === "header") header = block;
    else if (block.kind === "shard") shards.push({ ...block, keys: 0 });
    else if (block.kind === "records" && shard !== undefined) {
      shard.keys += block.records.length;
      keys += block.records.length;
      for (const { expireAtMs } of block.records) if (expireAtMs !== 0) expiring += 1;
    }
  }
  if (header === undefined) throw new BackupError("truncated", "the backup has no header");
  return { header, shards, keys, expiring };
}

/** As `readBackup`, the records only. */
export async function* readBackupRecords(path: string): AsyncGenerator<readonly BackupRecord[]> {
  for await (const block of readBackup(path)) if (block.kind === "records") yield block.records;
}

/**
 * Reads a file block by block. That all is there is known only at the end.
 * @throws BackupError, and what the file system throws.
 */
export async function* readBackup(path: string): AsyncGenerator<BackupBlock> {
  const parser = new BackupBlockParser();
  const checker = new FileChecker();
  let hasMagic = false;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
    parser.push(chunk as Buffer);
    if (!hasMagic) {
      const magic = parser.take(BACKUP_MAGIC.length);
      if (magic === undefined) continue;
      if (!magic.equals(BACKUP_MAGIC)) throw new BackupError("no-backup", "it is no backup");
      hasMagic = true;
    }
    for (let read = parser.next(); read !== undefined; read = parser.next()) {
      checker.take(read);
      yield read.block;
    }
  }
  if (!hasMagic) throw new BackupError("no-backup", "it is no backup");
  if (!checker.isWhole) throw new BackupError("truncated", "the backup ends early");
  if (parser.bytesLeft > 0) throw new BackupError("corrupt", "something follows its end");
}

class FileChecker {
  #totals: BackupTotals | undefined;
  #part = new ShardPartChecker();
  #end: BackupEnd | undefined;

  get isWhole(): boolean {
    return this.#end !== undefined;
  }

  /** @throws BackupError (`corrupt`) */
  take(read: ReadBlock): void {
    const { block, bytes } = read;
    if (this.#end !== undefined) throw new BackupError("corrupt", "something follows its end");
    if (this.#totals === undefined) {
      if (block.kind !== "header") throw new BackupError("corrupt", "the header is missing");
      this.#totals = new BackupTotals(block, bytes);
    } else if (block.kind === "end") {
      const expected = this.#totals.end(SLOT_COUNT);
      const isRight =
        this.#part.shard === undefined &&
        block.shards === expected.shards &&
        block.keys === expected.keys &&
        block.checksum === expected.checksum;
      if (!isRight) throw new BackupError("corrupt", "the backup is not what its end says");
      this.#end = block;
    } else {
      this.#part.take(read);
      const { shard, end } = this.#part;
      if (shard === undefined || end === undefined) return;
      this.#totals.add(shard, end);
      this.#part = new ShardPartChecker();
    }
  }
}
