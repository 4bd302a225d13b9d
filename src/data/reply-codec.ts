/** The bytes of replies, in messages and on disk. A change here is one of the wire's and of the store's format. */

import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import { Bytes } from "./bytes.ts";
import {
  DoubleReply,
  MapReply,
  NULL_ARRAY,
  NullArray,
  OK,
  PushReply,
  Refusal,
  type Reply,
  SetReply,
  Status,
  VerbatimReply,
} from "./reply.ts";

/** Replies nest no deeper than this; RESP replies of commands stay below 5. */
const REPLY_DEPTH_MAX = 32;

const REPLY = {
  null: 0,
  false: 1,
  true: 2,
  natural: 3,
  negative: 4,
  number: 5,
  big: 6,
  string: 7,
  status: 8,
  refusal: 9,
  double: 10,
  map: 11,
  set: 12,
  verbatim: 13,
  push: 14,
  nullArray: 15,
  list: 16,
  ok: 17,
} as const;

export function writeReply(writer: ByteWriter, reply: Reply): void {
  if (typeof reply === "string") {
    writer.u8(REPLY.string);
    writer.string(reply);
  } else if (reply instanceof Bytes) {
    writer.u8(REPLY.string);
    writer.piece(reply.buffer, reply.start, reply.end);
  } else if (reply === OK) {
    writer.u8(REPLY.ok);
  } else if (reply === null) {
    writer.u8(REPLY.null);
  } else if (typeof reply === "number") {
    writeNumber(writer, reply);
  } else if (typeof reply === "boolean") {
    writer.u8(reply ? REPLY.true : REPLY.false);
  } else if (typeof reply === "bigint") {
    writer.u8(REPLY.big);
    writer.string(reply.toString());
  } else if (reply instanceof Status) {
    writer.u8(REPLY.status);
    writer.string(reply.text);
  } else if (reply instanceof Refusal) {
    writer.u8(REPLY.refusal);
    writer.string(reply.code);
    writer.string(reply.message);
  } else if (reply instanceof DoubleReply) {
    writer.u8(REPLY.double);
    writer.f64(reply.value);
  } else if (reply instanceof MapReply) {
    writer.u8(REPLY.map);
    writer.varint(reply.entries.length);
    for (const [field, value] of reply.entries) {
      writeReply(writer, field);
      writeReply(writer, value);
    }
  } else if (reply instanceof SetReply) {
    writeReplies(writer, REPLY.set, reply.members);
  } else if (reply instanceof VerbatimReply) {
    writer.u8(REPLY.verbatim);
    writer.string(reply.text);
  } else if (reply instanceof PushReply) {
    writeReplies(writer, REPLY.push, reply.items);
  } else if (reply instanceof NullArray) {
    writer.u8(REPLY.nullArray);
  } else {
    writeReplies(writer, REPLY.list, reply);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    writer.u8(REPLY.number);
    writer.f64(value);
  } else if (value >= 0) {
    writer.u8(REPLY.natural);
    writer.varint(value);
  } else {
    writer.u8(REPLY.negative);
    writer.varint(-value);
  }
}

function writeReplies(writer: ByteWriter, tag: number, items: readonly Reply[]): void {
  writer.u8(tag);
  writer.varint(items.length);
  for (const item of items) writeReply(writer, item);
}

/** @throws MalformedError */
export function readReply(reader: ByteReader, depth = 0): Reply {
  if (depth > REPLY_DEPTH_MAX) throw new MalformedError("a reply nests too deep");
  const tag = reader.u8();
  switch (tag) {
    case REPLY.null:
      return null;
    case REPLY.false:
      return false;
    case REPLY.true:
      return true;
    case REPLY.natural:
      return reader.varint();
    case REPLY.negative:
      return -reader.varint();
    case REPLY.number:
      return reader.f64();
    case REPLY.big:
      return readBig(reader);
    case REPLY.string:
      return reader.string();
    case REPLY.status:
      return new Status(reader.string());
    case REPLY.ok:
      return OK;
    case REPLY.refusal:
      return new Refusal(reader.string(), reader.string());
    case REPLY.double:
      return new DoubleReply(reader.f64());
    case REPLY.map: {
      const count = reader.count(2);
      const entries: [Reply, Reply][] = [];
      for (let i = 0; i < count; i++) {
        entries.push([readReply(reader, depth + 1), readReply(reader, depth + 1)]);
      }
      return new MapReply(entries);
    }
    case REPLY.set:
      return new SetReply(readReplies(reader, depth));
    case REPLY.verbatim:
      return new VerbatimReply(reader.string());
    case REPLY.push:
      return new PushReply(readReplies(reader, depth));
    case REPLY.nullArray:
      return NULL_ARRAY;
    case REPLY.list:
      return readReplies(reader, depth);
    default:
      throw new MalformedError(`no reply ${tag}`);
  }
}

function readReplies(reader: ByteReader, depth: number): Reply[] {
  const count = reader.count(1);
  const items: Reply[] = [];
  for (let i = 0; i < count; i++) items.push(readReply(reader, depth + 1));
  return items;
}

function readBig(reader: ByteReader): bigint {
  const text = reader.string();
  // Long digits would cost quadratic time; integer replies have 64 bits.
  if (!/^-?\d{1,40}$/.test(text)) throw new MalformedError("not an integer");
  return BigInt(text);
}
