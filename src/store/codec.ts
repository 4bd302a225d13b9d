/**
 * The bytes of what is stored, whatever engine keeps them: a shard's state and the pieces of its log. Each begins with a
 * checksum, and nothing is believed before it was compared. Entries and stamps have the bytes that they have in messages.
 */

import { crc32 } from "node:zlib";
import { unreachable } from "../kit/assert.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { ShardId } from "../replica/configuration.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import { readStampRecords, writeStampRecords } from "../replica/entry-codec.ts";
import { Issuers } from "../replica/issuers.ts";
import type { Checkpoint } from "../replica/journal.ts";
import type { Live } from "./engine.ts";
import { corrupt } from "./errors.ts";

/** Version of everything that is stored, keys of the engine included. A newer one is not touched. */
export const STORE_FORMAT = 1;

const CHECKSUM_BYTES = 4;
const LOG_ITEM = { entries: 1, started: 2, divided: 3, settled: 4, issuers: 5 } as const;

/** What is live of a shard, and since when. */
export interface ShardState extends Live {
  readonly checkpoint: Checkpoint;
}

/** One item of a shard's log. */
export type LogItem =
  | { readonly kind: "entries"; readonly entries: EntryBatch }
  | { readonly kind: "started"; readonly epoch: number }
  /**
   * The slots from `at` on are the shard `into`'s from here on. Until it is settled, what is stored of that one is this one's
   * state and log so far, with its own log of the life `life` and its own records of the generation `generation`.
   */
  | {
      readonly kind: "divided";
      readonly into: ShardId;
      readonly at: number;
      readonly life: number;
      readonly generation: number;
    }
  /** What is stored of the shard `into`, if anything is, does not need this one's any more. */
  | { readonly kind: "settled"; readonly into: ShardId };

const writer = new ByteWriter();

export function stateBytes({ life, generation, checkpoint }: ShardState): Buffer {
  writer.reset(true);
  writer.varint(life);
  writer.varint(generation);
  writer.varint(checkpoint.shard);
  writer.varint(checkpoint.firstSlot);
  writer.varint(checkpoint.lastSlot);
  writer.varint(checkpoint.seq);
  writer.varint(checkpoint.epochs.length);
  for (const { epoch, firstSeq } of checkpoint.epochs) {
    writer.varint(epoch);
    writer.varint(firstSeq);
  }
  writer.varint(checkpoint.startedEpoch);
  writeStampRecords(writer, checkpoint.stamps);
  return sealed([writer.bytes()]);
}

/** @throws StoreError (`corrupt`) */
export function parseState(bytes: Buffer, shard: ShardId): ShardState {
  return parsed(bytes, `the state of shard ${shard}`, (reader) => {
    const life = reader.varint();
    const generation = reader.varint();
    if (reader.varint() !== shard) throw corrupt(`the state of shard ${shard} is another's`);
    const firstSlot = reader.varint();
    const lastSlot = reader.varint();
    const seq = reader.varint();
    const count = reader.count(2);
    const epochs: { epoch: number; firstSeq: number }[] = [];
    for (let i = 0; i < count; i++) {
      epochs.push({ epoch: reader.varint(), firstSeq: reader.varint() });
    }
    const startedEpoch = reader.varint();
    const stamps = readStampRecords(reader);
    return {
      life,
      generation,
      checkpoint: { shard, firstSlot, lastSlot, seq, epochs, startedEpoch, stamps },
    };
  });
}

/**
 * One item of a log, without a checksum: pieces are made of several.
 * @returns its bytes in parts, for those of entries are there already.
 */
export function logItemParts(item: LogItem): Buffer[] {
  writer.reset(true);
  writer.u8(LOG_ITEM[item.kind]);
  const parts: Buffer[] = [];
  switch (item.kind) {
    case "entries": {
      item.entries.writeHead(writer);
      const { buffer, start, end } = item.entries.encoded;
      parts.push(buffer.subarray(start, end));
      break;
    }
    case "started":
      writer.varint(item.epoch);
      break;
    case "divided":
      writer.varint(item.into);
      writer.varint(item.at);
      writer.varint(item.life);
      writer.varint(item.generation);
      break;
    case "settled":
      writer.varint(item.into);
      break;
    default:
      unreachable(item);
  }
  return [Buffer.from(writer.bytes()), ...parts];
}

/** What numbers mean that stand in entries behind this in the same piece. */
export function issuersPart(issuers: Issuers, numbers: readonly number[]): Buffer {
  writer.reset(true);
  writer.u8(LOG_ITEM.issuers);
  issuers.write(writer, numbers);
  return Buffer.from(writer.bytes());
}

/** A piece of a log out of its items. */
export function sealed(parts: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(CHECKSUM_BYTES), ...parts]);
  bytes.writeUInt32LE(crc32(bytes.subarray(CHECKSUM_BYTES)));
  return bytes;
}

/** @throws StoreError (`corrupt`) */
export function parseLog(bytes: Buffer, shard: ShardId): readonly LogItem[] {
  return parsed(bytes, `a piece of the log of shard ${shard}`, (reader) => {
    const items: LogItem[] = [];
    const issuers = new Issuers();
    while (reader.left > 0) {
      const kind = reader.u8();
      if (kind === LOG_ITEM.issuers) issuers.read(reader);
      else items.push(readLogItem(kind, reader, issuers));
    }
    return items;
  });
}

function readLogItem(kind: number, reader: ByteReader, issuers: Issuers): LogItem {
  switch (kind) {
    case LOG_ITEM.entries:
      return { kind: "entries", entries: EntryBatch.read(reader, issuers) };
    case LOG_ITEM.started:
      return { kind: "started", epoch: reader.varint() };
    case LOG_ITEM.divided: {
      const into = reader.varint();
      const at = reader.varint();
      const life = reader.varint();
      return { kind: "divided", into, at, life, generation: reader.varint() };
    }
    case LOG_ITEM.settled:
      return { kind: "settled", into: reader.varint() };
    default:
      throw corrupt(`no log item ${kind}`);
  }
}

function parsed<Result>(
  bytes: Buffer,
  what: string,
  parse: (reader: ByteReader) => Result,
): Result {
  if (bytes.length < CHECKSUM_BYTES) throw corrupt(`${what} is too short`);
  if (crc32(bytes.subarray(CHECKSUM_BYTES)) !== bytes.readUInt32LE()) {
    throw corrupt(`${what} is not what its checksum says`);
  }
  const reader = new ByteReader(bytes, CHECKSUM_BYTES, bytes.length);
  let result: Result;
  try {
    result = parse(reader);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw corrupt(`${what} cannot be read: ${error.message}`, error);
  }
  if (reader.left !== 0) throw corrupt(`${what} goes on behind its end`);
  return result;
}
