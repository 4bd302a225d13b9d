/** The bytes of entries and stamps, in messages and on disk. A change here is one of the wire's and of the store's format. */

import { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Entry, Stamp, StampRecord } from "./messages.ts";

const STAMPED = 1;
const FLAGS = 1;

/** Writes an entry without its seq: entries stand one after the other. */
export function writeEntry(writer: ByteWriter, entry: Entry): void {
  writer.u8(entry.stamp === undefined ? 0 : STAMPED);
  writer.varint(entry.epoch);
  if (entry.stamp !== undefined) writeStamp(writer, entry.stamp);
  writeReply(writer, entry.reply);
  entry.effects.write(writer);
}

/** @throws MalformedError */
export function readEntry(reader: ByteReader, seq: number): Entry {
  const flags = reader.u8();
  if (flags > FLAGS) throw new MalformedError("no such flag of an entry");
  const epoch = reader.varint();
  const stamp = (flags & STAMPED) === 0 ? undefined : readStamp(reader);
  const reply = readReply(reader);
  return { seq, epoch, stamp, reply, effects: Effects.read(reader) };
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
