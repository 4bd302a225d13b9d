/** The bytes of entries and stamps, in messages and on disk. A change here is one of the wire's and of the store's format. */

import { Effects } from "../data/effects.ts";
import { OK, type Reply } from "../data/reply.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Memory } from "../kit/memory.ts";
import type { Entry, Stamp, StampRecord } from "./entry.ts";
import type { Issuer, Issuers } from "./issuers.ts";

/**
 * Bits of an entry's first byte. The second byte is the number of who gave the stamp, if there is one: it is where whoever
 * takes an entry into its log can put another.
 */
const FLAG = {
  stamped: 1,
  /** The issuer is told by its number. */
  numbered: 2,
  /** Its form is `plain`, or with the next one `stub`. */
  plain: 4,
  stub: 8,
} as const;
/** Which of them go together. */
const KINDS: ReadonlySet<number> = new Set([
  0,
  FLAG.stamped,
  FLAG.stamped | FLAG.numbered,
  FLAG.stamped | FLAG.plain,
  FLAG.stamped | FLAG.plain | FLAG.numbered,
  FLAG.stamped | FLAG.plain | FLAG.numbered | FLAG.stub,
]);
const ISSUER_AT = 1;
/** What follows the issuer's number: the epoch and two numbers of the stamp. */
const NUMBERS_BEHIND_ISSUER = 3;
/** Counters of stamps of one node and shard that can be in flight at once: more than it takes operations in the time that they have. */
const COUNTERS_MAX = 2 ** 24;

/**
 * Writes an entry without its seq: entries stand one after the other.
 * @param issuers whose numbers to use.
 */
export function writeEntry(writer: ByteWriter, entry: Entry, issuers: Issuers): void {
  const { stamp, form } = entry;
  const number = stamp && issuers.numberOf(stamp.node, stamp.incarnation);
  let flags = form === undefined ? 0 : FLAG.plain;
  if (form === "stub") flags |= FLAG.stub;
  if (stamp !== undefined) flags |= FLAG.stamped;
  if (number !== undefined) flags |= FLAG.numbered;
  writer.u8(flags);
  if (number !== undefined) writer.u8(number);
  writer.varint(entry.epoch);
  if (stamp !== undefined) {
    if (number === undefined) writeStamp(writer, stamp);
    else writeCounter(writer, stamp);
  }
  if (form === "stub") return;
  if (form === "plain") {
    entry.effects.writeBody(writer);
    return;
  }
  writeReply(writer, entry.reply);
  entry.effects.write(writer);
}

/**
 * @param issuers whose numbers they are.
 * @throws MalformedError
 */
export function readEntry(reader: ByteReader, seq: number, issuers: Issuers): Entry {
  const flags = reader.u8();
  if (!KINDS.has(flags)) throw new MalformedError("no such entry");
  const issuer = (flags & FLAG.numbered) === 0 ? undefined : issuerAt(issuers, reader.u8());
  const epoch = reader.varint();
  let stamp: Stamp | undefined;
  if (issuer !== undefined) stamp = readStampOf(issuer, reader);
  else if ((flags & FLAG.stamped) !== 0) stamp = readStamp(reader);
  if ((flags & FLAG.plain) === 0) {
    const reply = readReply(reader);
    return { seq, epoch, stamp, reply, effects: Effects.read(reader), form: undefined };
  }
  const isStub = (flags & FLAG.stub) !== 0;
  const effects = isStub ? Effects.NONE : Effects.readSet(reader);
  return { seq, epoch, stamp, reply: OK, effects, form: isStub ? "stub" : "plain" };
}

function issuerAt(issuers: Issuers, number: number): Issuer {
  const issuer = issuers.at(number);
  if (issuer === undefined) throw new MalformedError("nobody has this number");
  return issuer;
}

function writeStamp(writer: ByteWriter, { node, incarnation, counter, doneBelow }: Stamp): void {
  writer.string(node);
  writer.varint(incarnation);
  writer.varint(counter);
  writer.varint(doneBelow);
}

function readStamp(reader: ByteReader): Stamp {
  const node = reader.string();
  const incarnation = reader.varint();
  const counter = reader.varint();
  const doneBelow = reader.varint();
  checkCounter(counter, doneBelow);
  return { node, incarnation, counter, doneBelow };
}

function readStampOf({ node, incarnation }: Issuer, reader: ByteReader): Stamp {
  const { counter, doneBelow } = readCounter(reader);
  return { node, incarnation, counter, doneBelow };
}

/** What a stamp says beside who gave it. */
type Counter = Pick<Stamp, "counter" | "doneBelow">;

export function writeCounter(writer: ByteWriter, { counter, doneBelow }: Counter): void {
  writer.varint(counter);
  writer.varint(counter - doneBelow);
}

/** @throws MalformedError */
export function readCounter(reader: ByteReader): Counter {
  const counter = reader.varint();
  const doneBelow = counter - reader.varint();
  checkCounter(counter, doneBelow);
  return { counter, doneBelow };
}

function checkCounter(counter: number, doneBelow: number): void {
  if (doneBelow < 0 || counter < doneBelow || counter - doneBelow >= COUNTERS_MAX) {
    throw new MalformedError("no such counter of a stamp");
  }
}

// ---------------------------------------------------------------- entries as bytes

/** The number by which the entry whose bytes begin at `at` tells who gave its stamp, if it does so. */
export function numberIn(bytes: Buffer, at: number): number | undefined {
  const isNumbered = ((bytes[at] as number) & FLAG.numbered) !== 0;
  return isNumbered ? bytes[at + ISSUER_AT] : undefined;
}

/** Puts another number there. */
export function renumber(bytes: Buffer, at: number, number: number): void {
  bytes[at + ISSUER_AT] = number;
}

/** Whether it is plain, and this issuer asked for it. */
export function isPlainOf(bytes: Buffer, at: number, issuer: number): boolean {
  const wanted = FLAG.numbered | FLAG.plain;
  return ((bytes[at] as number) & wanted) === wanted && bytes[at + ISSUER_AT] === issuer;
}

/** Writes the stub of a plain entry with a number. */
export function writeStub(writer: ByteWriter, entry: Memory, at: number): void {
  let end = at + ISSUER_AT + 1;
  for (let left = NUMBERS_BEHIND_ISSUER; left > 0; end += 1) {
    if ((entry.bytes[end] as number) < 0x80) left -= 1;
  }
  writer.u8((entry.bytes[at] as number) | FLAG.stub);
  writer.copy(entry, at + ISSUER_AT, end);
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
