/**
 * The bytes of a backup, in a file and on their way to it. A backup is a sequence of blocks, each with its length and checksum:
 *
 *     "HOTHOTBK"  header  ( shard  records…  shard-end )…  end
 *
 * The ends repeat what came before as counts and as a checksum over all of it, so that a block that is missing, doubled or in
 * another place is found too. A shard's part is a stream of its own: a node makes it, and the file takes its blocks as they are.
 */

import { crc32 } from "node:zlib";
import type { KeyRecord } from "../data/effect.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { NodeId, ShardId } from "../replica/configuration.ts";

/** Version of all that follows the frames of the blocks. */
export const BACKUP_FORMAT = 1;
/** What a file begins with, whatever its version. */
export const BACKUP_MAGIC = Buffer.from("HOTHOTBK", "latin1");
/** Bytes of records that one block gathers; a larger record has a block to itself. */
export const RECORDS_BYTES = 128 * 1024;

const FRAME_BYTES = 8;
/** A key and a value of the longest there are, and what goes with them. */
const BODY_BYTES_MAX = 0x4000_0000 + 1024;
const RECORD_BYTES_MIN = 3;
const KINDS = { header: 1, shard: 2, records: 3, "shard-end": 4, end: 5 } as const;

/** A key, its value and its end (ms since 1970, 0 for none). */
export type BackupRecord = Pick<KeyRecord, "key" | "value" | "expireAtMs">;

export interface BackupHeader {
  readonly kind: "header";
  readonly clusterId: string;
  /** Wall clock of who asked for the backup, ms since 1970. */
  readonly startedAtMs: number;
  readonly shardCount: number;
}

export interface BackupShard {
  readonly kind: "shard";
  readonly shard: ShardId;
  readonly firstSlot: number;
  readonly lastSlot: number;
  /** The state is as of this entry, which is committed, and of all before it. */
  readonly seq: number;
  /** The epoch in which that was seen to be committed. */
  readonly epoch: number;
  readonly node: NodeId;
  /** Wall clock of the node at that moment, ms since 1970. */
  readonly takenAtMs: number;
}

export interface BackupShardEnd {
  readonly kind: "shard-end";
  readonly keys: number;
  /** Over all blocks of the shard before this one. */
  readonly checksum: number;
}

export interface BackupEnd {
  readonly kind: "end";
  readonly shards: number;
  readonly keys: number;
  /** Over the checksums of the header and of all shards. */
  readonly checksum: number;
}

export type BackupBlock =
  | BackupHeader
  | BackupShard
  | { readonly kind: "records"; readonly records: readonly BackupRecord[] }
  | BackupShardEnd
  | BackupEnd;

export type BackupErrorCode =
  /** The bytes never were a backup. */
  | "no-backup"
  /** A newer version of this program made it. */
  | "newer-format"
  /** It ends early. */
  | "truncated"
  /** It is not what was written. */
  | "corrupt";

/** A backup that cannot be believed. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  readonly code: BackupErrorCode;

  constructor(code: BackupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const writer = new ByteWriter();

/** The bytes of a block with its frame. */
export function backupBlockBytes(block: BackupBlock): Buffer {
  writer.reset(true);
  writer.u32(0);
  writer.u32(0);
  writer.u8(KINDS[block.kind]);
  switch (block.kind) {
    case "header":
      writer.varint(BACKUP_FORMAT);
      writer.utf8(block.clusterId);
      writer.varint(block.startedAtMs);
      writer.varint(block.shardCount);
      break;
    case "shard":
      writer.varint(block.shard);
      writer.varint(block.firstSlot);
      writer.varint(block.lastSlot);
      writer.varint(block.seq);
      writer.varint(block.epoch);
      writer.utf8(block.node);
      writer.varint(block.takenAtMs);
      break;
    case "records":
      writer.varint(block.records.length);
      for (const { key, value, expireAtMs } of block.records) {
        writer.string(key);
        writer.string(value);
        writer.varint(expireAtMs);
      }
      break;
    case "shard-end":
      writer.varint(block.keys);
      writer.u32(block.checksum);
      break;
    case "end":
      writer.varint(block.shards);
      writer.varint(block.keys);
      writer.u32(block.checksum);
  }
  writer.u32At(0, writer.length - FRAME_BYTES);
  writer.u32At(4, crc32(writer.bytes().subarray(FRAME_BYTES)));
  return Buffer.from(writer.bytes());
}

/** @returns the checksum over `bytes` after those with the checksum `before`; 0 for none. */
export function chainChecksum(before: number, bytes: Buffer): number {
  return crc32(bytes, before);
}

/** A block that was read. */
export interface ReadBlock {
  readonly block: BackupBlock;
  /** The block as it was read, with its frame. */
  readonly bytes: Buffer;
}

/** Finds blocks in a stream of bytes that come in any pieces. */
export class BackupBlockParser {
  #pieces: Buffer[] = [];
  #bytes = 0;

  push(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  /** Bytes that no block has been made of yet. */
  get bytesLeft(): number {
    return this.#bytes;
  }

  /** Takes so many bytes as they are; undefined if they are not all there yet. */
  take(count: number): Buffer | undefined {
    if (this.#bytes < count) return undefined;
    const all = this.#joined(count);
    this.#pieces[0] = all.subarray(count);
    this.#bytes -= count;
    return all.subarray(0, count);
  }

  /**
   * @returns the next block; undefined if more bytes are needed.
   * @throws BackupError (`corrupt`, `newer-format`)
   */
  next(): ReadBlock | undefined {
    if (this.#bytes < FRAME_BYTES) return undefined;
    const frame = this.#joined(FRAME_BYTES);
    const length = frame.readUInt32LE(0);
    if (length === 0 || length > BODY_BYTES_MAX) throw corrupt("a block has an impossible length");
    const bytes = this.take(FRAME_BYTES + length);
    if (bytes === undefined) return undefined;
    if (crc32(bytes.subarray(FRAME_BYTES)) !== bytes.readUInt32LE(4)) {
      throw corrupt("a block is not what its checksum says");
    }
    return { block: parseBody(bytes), bytes };
  }

  /** The first piece, made so long that `count` bytes are in it. */
  #joined(count: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#pieces;
    if (first.length >= count) return first;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}

/** Follows the blocks of one shard, and finds what is wrong with their order, number or content. */
export class ShardPartChecker {
  #shard: BackupShard | undefined;
  #end: BackupShardEnd | undefined;
  #keys = 0;
  #checksum = 0;

  /** Keys that have come so far. */
  get keys(): number {
    return this.#keys;
  }

  /** The shard's first block; undefined before it came. */
  get shard(): BackupShard | undefined {
    return this.#shard;
  }

  /** Its last block; undefined before it came. */
  get end(): BackupShardEnd | undefined {
    return this.#end;
  }

  /** @throws BackupError (`corrupt`) */
  take({ block, bytes }: ReadBlock): void {
    if ((this.#shard === undefined) !== (block.kind === "shard") || this.#end !== undefined) {
      throw corrupt(`a block of the kind ${block.kind} is out of place`);
    }
    switch (block.kind) {
      case "shard":
        this.#shard = block;
        break;
      case "records":
        this.#keys += block.records.length;
        break;
      case "shard-end":
        if (block.keys !== this.#keys || block.checksum !== this.#checksum) {
          throw corrupt(`shard ${this.#shard?.shard} is not whole`);
        }
        this.#end = block;
        return;
      default:
        throw corrupt(`a block of the kind ${block.kind} is out of place`);
    }
    this.#checksum = chainChecksum(this.#checksum, bytes);
  }
}

/** Sums up what the end of a backup has to say, from its header on. */
export class BackupTotals {
  readonly #shardCount: number;
  #checksum: number;
  #shards = 0;
  #keys = 0;
  #nextSlot = 0;

  constructor(header: BackupHeader, bytes: Buffer) {
    this.#shardCount = header.shardCount;
    this.#checksum = chainChecksum(0, bytes);
  }

  /** @throws BackupError (`corrupt`) if it is not the shard that has to come next. */
  add(shard: BackupShard, end: BackupShardEnd): void {
    if (shard.shard !== this.#shards || shard.firstSlot !== this.#nextSlot) {
      throw corrupt(`shard ${shard.shard} is out of place`);
    }
    this.#shards += 1;
    this.#keys += end.keys;
    this.#nextSlot = shard.lastSlot + 1;
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(end.checksum);
    this.#checksum = chainChecksum(this.#checksum, checksum);
  }

  /** @throws BackupError (`corrupt`) if not all shards were added. */
  end(slots: number): BackupEnd {
    if (this.#shards !== this.#shardCount || this.#nextSlot !== slots) {
      throw corrupt("not all shards are there");
    }
    return { kind: "end", shards: this.#shards, keys: this.#keys, checksum: this.#checksum };
  }
}

function parseBody(bytes: Buffer): BackupBlock {
  const reader = new ByteReader(bytes, FRAME_BYTES, bytes.length);
  let block: BackupBlock;
  try {
    block = readBody(reader);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw corrupt(`a block cannot be read: ${error.message}`, error);
  }
  if (reader.left !== 0) throw corrupt("a block goes on behind its end");
  return block;
}

function readBody(reader: ByteReader): BackupBlock {
  const kind = reader.u8();
  switch (kind) {
    case KINDS.header: {
      const format = reader.varint();
      if (format !== BACKUP_FORMAT) {
        throw new BackupError(
          "newer-format",
          `the backup has format ${format}, and this version of hothot knows ${BACKUP_FORMAT}: install a newer one`,
        );
      }
      return {
        kind: "header",
        clusterId: reader.utf8(),
        startedAtMs: reader.varint(),
        shardCount: reader.varint(),
      };
    }
    case KINDS.shard:
      return {
        kind: "shard",
        shard: reader.varint(),
        firstSlot: reader.varint(),
        lastSlot: reader.varint(),
        seq: reader.varint(),
        epoch: reader.varint(),
        node: reader.utf8(),
        takenAtMs: reader.varint(),
      };
    case KINDS.records: {
      const records: BackupRecord[] = [];
      for (let left = reader.count(RECORD_BYTES_MIN); left > 0; left--) {
        records.push({
          key: reader.string(),
          value: reader.string(),
          expireAtMs: reader.varint(),
        });
      }
      return { kind: "records", records };
    }
    case KINDS["shard-end"]:
      return { kind: "shard-end", keys: reader.varint(), checksum: readChecksum(reader) };
    case KINDS.end:
      return {
        kind: "end",
        shards: reader.varint(),
        keys: reader.varint(),
        checksum: readChecksum(reader),
      };
    default:
      throw corrupt(`there is no block of the kind ${kind}`);
  }
}

function readChecksum(reader: ByteReader): number {
  const low = reader.u8() | (reader.u8() << 8) | (reader.u8() << 16);
  return low + reader.u8() * 2 ** 24;
}

function corrupt(message: string, cause?: unknown): BackupError {
  return new BackupError("corrupt", message, cause === undefined ? undefined : { cause });
}
