/** The bytes of entries and stamps, in messages and on disk. A change here is one of the wire's and of the store's format. */

import type { Effect } from "../data/effect.ts";
import { readEffect, writeEffect } from "../data/effect-codec.ts";
import type { Reply } from "../data/reply.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import type { ByteReader, ByteWriter } from "../kit/bytes.ts";
import type { Entry, Stamp, StampRecord } from "./messages.ts";

export function writeEntries(writer: ByteWriter, entries: readonly Entry[]): void {
  writer.varint(entries.length);
  for (const entry of entries) {
    writer.varint(entry.seq);
    writer.varint(entry.epoch);
    if (entry.stamp === undefined) {
      writer.u8(0);
    } else {
      writer.u8(1);
      writeStamp(writer, entry.stamp);
    }
    writeReply(writer, entry.reply);
    writer.varint(entry.effects.length);
    for (const effect of entry.effects) writeEffect(writer, effect);
  }
}

/** @throws MalformedError at malformed input. */
export function readEntries(reader: ByteReader): readonly Entry[] {
  const count = reader.count(5);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const seq = reader.varint();
    const epoch = reader.varint();
    const stamp = reader.flag() ? readStamp(reader) : undefined;
    const reply = readReply(reader);
    const effectCount = reader.count(1);
    const effects: Effect[] = [];
    for (let j = 0; j < effectCount; j++) effects.push(readEffect(reader));
    entries.push({ seq, epoch, stamp, reply, effects });
  }
  return entries;
}

export function writeStamp(writer: ByteWriter, stamp: Stamp): void {
  writer.string(stamp.node);
  writer.varint(stamp.incarnation);
  writer.varint(stamp.counter);
  writer.varint(stamp.doneBelow);
}

/** @throws MalformedError */
export function readStamp(reader: ByteReader): Stamp {
  return {
    node: reader.string(),
    incarnation: reader.varint(),
    counter: reader.varint(),
    doneBelow: reader.varint(),
  };
}

/** Stamps as messages and the store's checkpoints carry them. */
export function writeStampRecords(writer: ByteWriter, records: readonly StampRecord[]): void {
  writer.varint(records.length);
  for (const record of records) {
    writer.string(record.node);
    writer.varint(record.incarnation);
    writer.varint(record.doneBelow);
    writer.varint(record.ordered.length);
    for (const item of record.ordered) {
      writer.varint(item.counter);
      writer.varint(item.seq);
      writeReply(writer, item.reply);
    }
  }
}

/** @throws MalformedError at malformed input. */
export function readStampRecords(reader: ByteReader): readonly StampRecord[] {
  const count = reader.count(4);
  const records: StampRecord[] = [];
  for (let i = 0; i < count; i++) {
    const node = reader.string();
    const incarnation = reader.varint();
    const doneBelow = reader.varint();
    const orderedCount = reader.count(3);
    const ordered: { counter: number; seq: number; reply: Reply }[] = [];
    for (let j = 0; j < orderedCount; j++) {
      ordered.push({
        counter: reader.varint(),
        seq: reader.varint(),
        reply: readReply(reader),
      });
    }
    records.push({ node, incarnation, doneBelow, ordered });
  }
  return records;
}
