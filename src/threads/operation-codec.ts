/**
 * The bytes of operations and of their answers on their way between two threads of one process. Both run the same build, so that a
 * command's place in the table means the same to both, and neither distrusts the other.
 *
 *     frame of operations   configuration's version, then operations to its end
 *     operation             flags, shard, session, id, commands; keys that are watched, if the flags say so
 *     frame of answers      answers to its end: id, kind, reply
 */

import { Bytes } from "../data/bytes.ts";
import { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import type { ByteReader, ByteWriter } from "../kit/bytes.ts";
import type { ShardId } from "../replica/configuration.ts";
import type { Request, Watch } from "../replica/ports.ts";
import type { Operation } from "../replica/surface.ts";
import type { AnsweredOperation } from "../router/door.ts";

const FLAG = { isTransaction: 1, isWrite: 2, isWatching: 4 } as const;
/** A value, which most answers are, is a piece of the frame; the rest is made of objects anyway. */
const ANSWER = { piece: 0, reply: 1 } as const;
const NOTHING_WATCHED: readonly Watch[] = [];

/** Who sends answers to where operations came from. */
export interface Answerer {
  /** @param id by which the other thread knows the operation. */
  answer(id: number, reply: Reply): void;
}

/** An operation of another thread. */
export class ArrivedOperation implements AnsweredOperation {
  shard: ShardId;
  readonly request: Request;
  readonly session: number;
  submittedMs = 0;
  readonly #id: number;
  readonly #answerer: Answerer;

  constructor(shard: ShardId, request: Request, session: number, id: number, answerer: Answerer) {
    this.shard = shard;
    this.request = request;
    this.session = session;
    this.#id = id;
    this.#answerer = answerer;
  }

  answered(reply: Reply): void {
    this.#answerer.answer(this.#id, reply);
  }
}

/** @param id by which its answer will be known. */
export function writeOperation(
  writer: ByteWriter,
  { shard, session, request }: Operation,
  id: number,
): void {
  const { commands, watched, isTransaction, isWrite } = request;
  const isWatching = watched.length > 0;
  writer.u8(
    (isTransaction ? FLAG.isTransaction : 0) |
      (isWrite ? FLAG.isWrite : 0) |
      (isWatching ? FLAG.isWatching : 0),
  );
  writer.varint(shard);
  writer.varint(session);
  writer.varint(id);
  writer.varint(commands.length);
  for (const command of commands) writeCommand(writer, command);
  if (!isWatching) return;
  writer.varint(watched.length);
  for (const { key, version } of watched) {
    writer.string(key);
    writer.varint(version);
  }
}

/**
 * The commands' arguments stay where the reader's bytes are.
 * @param answerer gets the answer.
 */
export function readOperation(reader: ByteReader, answerer: Answerer): ArrivedOperation {
  const flags = reader.u8();
  const shard = reader.varint();
  const session = reader.varint();
  const id = reader.varint();
  const commands = new Array<Command>(reader.varint());
  for (let at = 0; at < commands.length; at += 1) commands[at] = readCommand(reader);
  const request: Request = {
    commands,
    isTransaction: (flags & FLAG.isTransaction) !== 0,
    isWrite: (flags & FLAG.isWrite) !== 0,
    watched: (flags & FLAG.isWatching) === 0 ? NOTHING_WATCHED : readWatched(reader),
  };
  return new ArrivedOperation(shard, request, session, id, answerer);
}

export function writeAnswer(writer: ByteWriter, id: number, reply: Reply): void {
  writer.varint(id);
  if (reply instanceof Bytes) {
    writer.u8(ANSWER.piece);
    writer.piece(reply.buffer, reply.start, reply.end);
  } else {
    writer.u8(ANSWER.reply);
    writeReply(writer, reply);
  }
}

/** What follows an answer's id. A value stays where the reader's bytes are. */
export function readAnswer(reader: ByteReader): Reply {
  if (reader.u8() !== ANSWER.piece) return readReply(reader);
  const start = reader.piece();
  return new Bytes(reader.buffer, start, reader.at);
}

function writeCommand(writer: ByteWriter, command: Command): void {
  const { buffer, count } = command;
  // Its place in the table, or 0 if nobody has looked it up.
  writer.varint(command.code + 1);
  writer.varint(count);
  for (let index = 0; index < count; index += 1) {
    writer.piece(buffer, command.start(index), command.end(index));
  }
}

function readCommand(reader: ByteReader): Command {
  const code = reader.varint() - 1;
  const count = reader.varint();
  // Of the right length at once: it never grows.
  const spans = new Array<number>(2 * count);
  for (let at = 0; at < 2 * count; at += 2) {
    spans[at] = reader.piece();
    spans[at + 1] = reader.at;
  }
  const command = new Command(reader.buffer, spans, 0, count);
  command.code = code;
  return command;
}

function readWatched(reader: ByteReader): Watch[] {
  const watched: Watch[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    watched.push({ key: reader.string(), version: reader.varint() });
  }
  return watched;
}
