/** The bytes of entries and stamps, in messages and on disk. A change here is one of the wire's and of the store's format. */

import { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import { type ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Incarnation, NodeId } from "./configuration.ts";
import type { Entry, Stamp, StampRecord } from "./messages.ts";

const STAMPED = 1;
const FLAGS = 1;
/** Counters of stamps of one node and shard that can be in flight at once: more than it takes operations in the time that they have. */
const COUNTERS_MAX = 2 ** 24;

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

/** Who gives a stamp, with the bytes that say so: the same few in all stamps, so they are looked up and not made each time. */
interface Origin {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly bytes: Buffer;
}

const ORIGINS_MAX = 16;
/** The last that were met; what is in it changes nothing but the time that it takes. */
const origins: Origin[] = [];
let originsMet = 0;

function meet(node: NodeId, incarnation: Incarnation): Origin {
  const writer = new ByteWriter();
  writer.string(node);
  writer.varint(incarnation);
  const origin = { node, incarnation, bytes: Buffer.from(writer.bytes()) };
  origins[originsMet % ORIGINS_MAX] = origin;
  originsMet += 1;
  return origin;
}

export function writeStamp(writer: ByteWriter, stamp: Stamp): void {
  const { node, incarnation } = stamp;
  let origin = origins.find((known) => known.incarnation === incarnation && known.node === node);
  origin ??= meet(node, incarnation);
  writer.raw(origin.bytes, 0, origin.bytes.length);
  writer.varint(stamp.counter);
  writer.varint(stamp.doneBelow);
}

/** @throws MalformedError */
export function readStamp(reader: ByteReader): Stamp {
  const known = origins.find(({ bytes }) => reader.skips(bytes));
  const { node, incarnation } = known ?? meet(reader.string(), reader.varint());
  const counter = reader.varint();
  const doneBelow = reader.varint();
  checkCounter(counter, doneBelow);
  return { node, incarnation, counter, doneBelow };
}

function checkCounter(counter: number, doneBelow: number): void {
  if (counter < doneBelow || counter - doneBelow >= COUNTERS_MAX) {
    throw new MalformedError("no such counter of a stamp");
  }
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
      const counter = reader.varint();
      checkCounter(counter, doneBelow);
      ordered.push({ counter, seq: reader.varint(), reply: readReply(reader) });
    }
    records.push({ node, incarnation, doneBelow, ordered });
  }
  return records;
}
