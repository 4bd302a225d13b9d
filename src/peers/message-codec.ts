/**
 * The bytes of every message between nodes: a byte for the kind, then the fields in the order in which the code below writes
 * them. Integers are varints, times are doubles, keys and values are length and bytes; a configuration is JSON.
 *
 * What a write costs on the wire decides what the cluster's network can do, so what goes with each of them leaves out what the
 * line, or the message before it in the same frame, has said: who gave a stamp, the command's name, the time.
 */

import { Command } from "../data/command.ts";
import type { KeyRecord } from "../data/effect.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import { unreachable } from "../kit/assert.ts";
import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import { type Configuration, SLOT_COUNT } from "../replica/configuration.ts";
import type { EpochRow } from "../replica/entry.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import {
  readCounter,
  readStampRecords,
  writeCounter,
  writeStampRecords,
} from "../replica/entry-codec.ts";
import { Issuers } from "../replica/issuers.ts";
import type { Ack, Append, Forward, Heartbeat, Message, ShardBeat } from "../replica/messages.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import type { Request } from "../replica/ports.ts";

const KIND = {
  heartbeat: 1,
  append: 2,
  epochStart: 3,
  acks: 4,
  position: 5,
  fetch: 6,
  tail: 7,
  forward: 8,
  answer: 9,
  fetchConfiguration: 10,
  configuration: 11,
  swapRequest: 12,
  swapAnswer: 13,
  feedStart: 14,
  copyStart: 15,
  copyChunk: 16,
  copyAck: 17,
  redirect: 18,
  /** Of a line and not of a node: what the numbers mean by which the entries behind it name who gave their stamps. */
  issuers: 19,
  /** A forward of one command, a write without a transaction; `writeAgain` has the name of the one before it in its frame. */
  write: 20,
  writeAgain: 21,
} as const;

/** Flags of an append, for fields that mostly are what another one says. */
const APPEND = {
  /** Nothing is to be left out. */
  appliesAll: 1,
  /** The primary has all the entries itself. */
  acksAll: 2,
  /** The commit is told by its distance from the first entry. */
  commitsBefore: 4,
  /** The time is that of the append before it in its frame. */
  sameTime: 8,
} as const;
const APPEND_MASK = 15;

/** Flags of a shard's part of a heartbeat; four of them save bytes where a field is what it mostly is. */
const BEAT = {
  echoes: 1,
  ready: 2,
  nextShard: 4,
  sameEpoch: 8,
  allCommitted: 16,
  started: 32,
  lacksDisk: 64,
} as const;
const BEAT_MASK = 127;

const REQUEST = { isTransaction: 1, isWrite: 2 } as const;
const NOTHING_WATCHED: Request["watched"] = [];
const OUTCOMES = ["done", "conflict", "unknown"] as const;

/** What has its bytes alone, whatever was written before it. */
type OtherMessage = Exclude<Message, Append | Forward>;

/** What a frame has said so far: the time of its last append, and where the name of its last write is. */
class Said {
  wallMs = Number.NaN;
  nameStart = 0;
  nameEnd = 0;
}

/** Writes the messages of one line. */
export class MessageWriter {
  readonly #writer: ByteWriter;
  /** Whose numbers the receiver knows, and how many of them. */
  #issuers: Issuers | undefined;
  #issuersTold = 0;
  #said = new Said();

  constructor(writer: ByteWriter) {
    this.#writer = writer;
  }

  /** What was written last is not sent. */
  takenBack(): void {
    this.#issuers = undefined;
  }

  /** What is written from here on is in another frame. */
  beginFrame(): void {
    this.#said = new Said();
  }

  write(message: Message): void {
    switch (message.kind) {
      case "append":
        this.#tell(message.entries.issuers);
        this.#append(message);
        return;
      case "tail":
        this.#tell(message.entries.issuers);
        writeMessage(this.#writer, message);
        return;
      case "forward":
        this.#forward(message);
        return;
      default:
        writeMessage(this.#writer, message);
    }
  }

  #tell(issuers: Issuers): void {
    const told = issuers === this.#issuers ? this.#issuersTold : 0;
    const { end } = issuers;
    if (told === end) return;
    this.#issuers = issuers;
    this.#issuersTold = end;
    this.#writer.u8(KIND.issuers);
    issuers.write(
      this.#writer,
      Array.from({ length: end - told }, (_, index) => told + index),
    );
  }

  #append(message: Append): void {
    const writer = this.#writer;
    const { entries, commitSeq, ackSeq, appliesBelow, wallMs } = message;
    const { firstSeq, length } = entries;
    const flags =
      (appliesBelow === SLOT_COUNT ? APPEND.appliesAll : 0) |
      (ackSeq === firstSeq + length - 1 ? APPEND.acksAll : 0) |
      (commitSeq < firstSeq ? APPEND.commitsBefore : 0) |
      (wallMs === this.#said.wallMs ? APPEND.sameTime : 0);
    writer.u8(KIND.append);
    writer.varint(message.shard);
    writer.varint(message.epoch);
    entries.writeHead(writer);
    writer.u8(flags);
    if ((flags & APPEND.appliesAll) === 0) writer.varint(appliesBelow);
    if ((flags & APPEND.acksAll) === 0) writer.varint(ackSeq);
    writer.varint((flags & APPEND.commitsBefore) === 0 ? commitSeq : firstSeq - commitSeq);
    if ((flags & APPEND.sameTime) === 0) writer.f64(wallMs);
    entries.writeBody(writer);
    this.#said.wallMs = wallMs;
  }

  #forward(message: Forward): void {
    const writer = this.#writer;
    const { commands, isTransaction, isWrite, watched } = message.request;
    const [command] = commands;
    const isWriteAlone =
      command !== undefined &&
      commands.length === 1 &&
      isWrite &&
      !isTransaction &&
      watched.length === 0;
    if (!isWriteAlone) {
      writer.u8(KIND.forward);
      this.#forwardHead(message);
      writeRequest(writer, message.request);
      return;
    }
    const isAgain = this.#isNameOf(command);
    writer.u8(isAgain ? KIND.writeAgain : KIND.write);
    this.#forwardHead(message);
    writer.varint(command.count);
    for (let i = isAgain ? 1 : 0; i < command.count; i++) {
      writer.piece(command.buffer, command.start(i), command.end(i));
      if (i > 0) continue;
      this.#said.nameEnd = writer.length;
      this.#said.nameStart = writer.length - (command.end(0) - command.start(0));
    }
  }

  #forwardHead(message: Forward): void {
    this.#writer.varint(message.shard);
    this.#writer.varint(message.epoch);
    writeCounter(this.#writer, message);
  }

  #isNameOf(command: Command): boolean {
    const { bytes } = this.#writer.memory;
    const start = command.start(0);
    const length = command.end(0) - start;
    if (length === 0 || length !== this.#said.nameEnd - this.#said.nameStart) return false;
    for (let i = 0; i < length; i++) {
      if (bytes[this.#said.nameStart + i] !== command.buffer[start + i]) return false;
    }
    return true;
  }
}

/** Reads what a `MessageWriter` wrote; a frame is there as a whole. */
export class MessageReader {
  #reader: ByteReader | undefined;
  readonly #issuers = new Issuers();
  #said = new Said();

  /** @param reader of the frame's payload. */
  beginFrame(reader: ByteReader): void {
    this.#reader = reader;
    this.#said = new Said();
  }

  /**
   * @returns the next message; undefined at the frame's end.
   * @throws MalformedError
   */
  read(): Message | undefined {
    const reader = this.#reader;
    while (reader !== undefined && reader.left > 0) {
      const kind = reader.u8();
      switch (kind) {
        case KIND.issuers:
          this.#issuers.read(reader);
          break;
        case KIND.append:
          return this.#append(reader);
        case KIND.forward:
        case KIND.write:
        case KIND.writeAgain:
          return this.#forward(kind, reader);
        default:
          return readMessage(kind, reader, this.#issuers);
      }
    }
    return undefined;
  }

  #append(reader: ByteReader): Append {
    const shard = reader.varint();
    const epoch = reader.varint();
    const { firstSeq, length } = EntryBatch.readHead(reader);
    const flags = reader.u8();
    if ((flags & ~APPEND_MASK) !== 0) throw new MalformedError("no such flag of an append");
    const appliesBelow = (flags & APPEND.appliesAll) === 0 ? reader.varint() : SLOT_COUNT;
    const ackSeq = (flags & APPEND.acksAll) === 0 ? reader.varint() : firstSeq + length - 1;
    const commit = reader.varint();
    const commitSeq = (flags & APPEND.commitsBefore) === 0 ? commit : firstSeq - commit;
    if (commitSeq < 0) throw new MalformedError("no such commit");
    const wallMs = (flags & APPEND.sameTime) === 0 ? reader.time() : this.#said.wallMs;
    if (Number.isNaN(wallMs)) throw new MalformedError("no time was told before");
    this.#said.wallMs = wallMs;
    const entries = EntryBatch.readBody(reader, firstSeq, length, this.#issuers);
    return { kind: "append", shard, epoch, commitSeq, ackSeq, appliesBelow, wallMs, entries };
  }

  #forward(kind: number, reader: ByteReader): Forward {
    const shard = reader.varint();
    const epoch = reader.varint();
    const { counter, doneBelow } = readCounter(reader);
    const request = kind === KIND.forward ? readRequest(reader) : this.#write(kind, reader);
    return { kind: "forward", shard, epoch, counter, doneBelow, request };
  }

  #write(kind: number, reader: ByteReader): Request {
    const count = reader.count(1);
    if (count === 0) throw new MalformedError("a command has no name");
    if (kind === KIND.write) {
      this.#said.nameStart = reader.piece();
      this.#said.nameEnd = reader.at;
    } else if (this.#said.nameEnd === 0) throw new MalformedError("no name was told before");
    const spans = [this.#said.nameStart, this.#said.nameEnd];
    for (let i = 1; i < count; i++) spans.push(reader.piece(), reader.at);
    const commands = [new Command(reader.buffer, spans, 0, count)];
    return { commands, isTransaction: false, isWrite: true, watched: NOTHING_WATCHED };
  }
}

function writeMessage(writer: ByteWriter, message: OtherMessage): void {
  switch (message.kind) {
    case "heartbeat":
      writer.u8(KIND.heartbeat);
      writeHeartbeat(writer, message);
      return;
    case "epoch-start":
      writer.u8(KIND.epochStart);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.startSeq);
      writer.varint(message.fromSeq);
      writer.f64(message.wallMs);
      return;
    case "acks":
      writer.u8(KIND.acks);
      writer.varint(message.acks.length);
      for (const { shard, epoch, seq } of message.acks) {
        writer.varint(shard);
        writer.varint(epoch);
        writer.varint(seq);
      }
      return;
    case "position":
      writer.u8(KIND.position);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.u8(message.isListed ? 1 : 0);
      writer.u8(message.isUsable ? 1 : 0);
      writer.u8(message.isFresh ? 1 : 0);
      writer.varint(message.lastSeq);
      writer.varint(message.lastEpoch);
      writer.varint(message.startedEpoch);
      return;
    case "fetch":
      writer.u8(KIND.fetch);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.fromSeq);
      return;
    case "tail":
      writer.u8(KIND.tail);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      message.entries.writeHead(writer);
      message.entries.writeBody(writer);
      return;
    case "answer":
      writer.u8(KIND.answer);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.counter);
      writeReply(writer, message.reply);
      return;
    case "redirect":
      writer.u8(KIND.redirect);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.counter);
      return;
    case "fetch-configuration":
      writer.u8(KIND.fetchConfiguration);
      return;
    case "configuration":
      writer.u8(KIND.configuration);
      writer.utf8(JSON.stringify(message.configuration));
      return;
    case "swap-request":
      writer.u8(KIND.swapRequest);
      writer.varint(message.id);
      writer.utf8(JSON.stringify(message.configuration));
      return;
    case "swap-answer":
      writer.u8(KIND.swapAnswer);
      writer.varint(message.id);
      writer.u8(OUTCOMES.indexOf(message.outcome));
      if (message.configuration === undefined) {
        writer.u8(0);
      } else {
        writer.u8(1);
        writer.utf8(JSON.stringify(message.configuration));
      }
      return;
    case "feed-start":
      writer.u8(KIND.feedStart);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.copyId);
      writer.varint(message.fromSeq);
      writer.f64(message.wallMs);
      return;
    case "copy-start":
      writer.u8(KIND.copyStart);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.copyId);
      writer.varint(message.seq);
      writeEpochs(writer, message.epochs);
      writer.varint(message.commitSeq);
      writer.f64(message.wallMs);
      writeStampRecords(writer, message.stamps);
      return;
    case "copy-chunk":
      writer.u8(KIND.copyChunk);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.copyId);
      writer.varint(message.index);
      writer.u8(message.isLast ? 1 : 0);
      writer.varint(message.records.length);
      for (const record of message.records) {
        writer.string(record.key);
        writer.string(record.value);
        writer.f64(record.expireAtMs);
        writer.varint(record.seq);
      }
      return;
    case "copy-ack":
      writer.u8(KIND.copyAck);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.copyId);
      writer.varint(message.index);
      return;
    default:
      unreachable(message);
  }
}

/** @param issuers whose numbers stand in entries. */
function readMessage(kind: number, reader: ByteReader, issuers: Issuers): Message {
  switch (kind) {
    case KIND.heartbeat:
      return readHeartbeat(reader);
    case KIND.epochStart:
      return {
        kind: "epoch-start",
        shard: reader.varint(),
        epoch: reader.varint(),
        startSeq: reader.varint(),
        fromSeq: reader.varint(),
        wallMs: reader.time(),
      };
    case KIND.acks:
      return { kind: "acks", acks: readAcks(reader) };
    case KIND.position:
      return {
        kind: "position",
        shard: reader.varint(),
        epoch: reader.varint(),
        isListed: reader.flag(),
        isUsable: reader.flag(),
        isFresh: reader.flag(),
        lastSeq: reader.varint(),
        lastEpoch: reader.varint(),
        startedEpoch: reader.varint(),
      };
    case KIND.fetch:
      return {
        kind: "fetch",
        shard: reader.varint(),
        epoch: reader.varint(),
        fromSeq: reader.varint(),
      };
    case KIND.tail:
      return {
        kind: "tail",
        shard: reader.varint(),
        epoch: reader.varint(),
        entries: EntryBatch.read(reader, issuers),
      };
    case KIND.answer:
      return {
        kind: "answer",
        shard: reader.varint(),
        epoch: reader.varint(),
        counter: reader.varint(),
        reply: readReply(reader),
      };
    case KIND.redirect:
      return {
        kind: "redirect",
        shard: reader.varint(),
        epoch: reader.varint(),
        counter: reader.varint(),
      };
    case KIND.fetchConfiguration:
      return { kind: "fetch-configuration" };
    case KIND.configuration:
      return { kind: "configuration", configuration: readConfiguration(reader) };
    case KIND.swapRequest:
      return {
        kind: "swap-request",
        id: reader.varint(),
        configuration: readConfiguration(reader),
      };
    case KIND.swapAnswer: {
      const id = reader.varint();
      const outcome = OUTCOMES[reader.u8()];
      if (outcome === undefined) throw new MalformedError("no such outcome");
      const configuration = reader.flag() ? readConfiguration(reader) : undefined;
      return { kind: "swap-answer", id, outcome, configuration };
    }
    case KIND.feedStart:
      return {
        kind: "feed-start",
        shard: reader.varint(),
        epoch: reader.varint(),
        copyId: reader.varint(),
        fromSeq: reader.varint(),
        wallMs: reader.time(),
      };
    case KIND.copyStart:
      return {
        kind: "copy-start",
        shard: reader.varint(),
        epoch: reader.varint(),
        copyId: reader.varint(),
        seq: reader.varint(),
        epochs: readEpochs(reader),
        commitSeq: reader.varint(),
        wallMs: reader.time(),
        stamps: readStampRecords(reader),
      };
    case KIND.copyChunk:
      return {
        kind: "copy-chunk",
        shard: reader.varint(),
        epoch: reader.varint(),
        copyId: reader.varint(),
        index: reader.varint(),
        isLast: reader.flag(),
        records: readRecords(reader),
      };
    case KIND.copyAck:
      return {
        kind: "copy-ack",
        shard: reader.varint(),
        epoch: reader.varint(),
        copyId: reader.varint(),
        index: reader.varint(),
      };
    default:
      throw new MalformedError(`no message kind ${kind}`);
  }
}

function writeHeartbeat(writer: ByteWriter, beat: Heartbeat): void {
  writer.varint(beat.fromIncarnation);
  writer.varint(beat.toIncarnation);
  writer.f64(beat.sentAtMs);
  writer.f64(beat.echoMs);
  writer.f64(beat.wallMs);
  writer.varint(beat.version);
  writer.varint(beat.shards.length);
  let shard = -1;
  let epoch = 0;
  for (const item of beat.shards) {
    const flags =
      (item.echoes ? BEAT.echoes : 0) |
      (item.ready ? BEAT.ready : 0) |
      (item.lacksDisk ? BEAT.lacksDisk : 0) |
      (item.shard === shard + 1 ? BEAT.nextShard : 0) |
      (item.epoch === epoch ? BEAT.sameEpoch : 0) |
      (item.commitSeq === item.ackSeq ? BEAT.allCommitted : 0) |
      (item.startedEpoch === item.epoch ? BEAT.started : 0);
    writer.u8(flags);
    if ((flags & BEAT.nextShard) === 0) writer.varint(item.shard);
    if ((flags & BEAT.sameEpoch) === 0) writer.varint(item.epoch);
    writer.varint(item.ackSeq);
    if ((flags & BEAT.allCommitted) === 0) writer.varint(item.commitSeq);
    if ((flags & BEAT.started) === 0) writer.varint(item.startedEpoch);
    shard = item.shard;
    epoch = item.epoch;
  }
}

function readHeartbeat(reader: ByteReader): Heartbeat {
  const fromIncarnation = reader.varint();
  const toIncarnation = reader.varint();
  const sentAtMs = reader.time();
  const echoMs = reader.time();
  const wallMs = reader.time();
  const version = reader.varint();
  const count = reader.count(2);
  const shards: ShardBeat[] = [];
  let shard = -1;
  let epoch = 0;
  for (let i = 0; i < count; i++) {
    const flags = reader.u8();
    if ((flags & ~BEAT_MASK) !== 0) throw new MalformedError("no such beat flag");
    shard = (flags & BEAT.nextShard) === 0 ? reader.varint() : shard + 1;
    if ((flags & BEAT.sameEpoch) === 0) epoch = reader.varint();
    const ackSeq = reader.varint();
    const commitSeq = (flags & BEAT.allCommitted) === 0 ? reader.varint() : ackSeq;
    const startedEpoch = (flags & BEAT.started) === 0 ? reader.varint() : epoch;
    shards.push({
      shard,
      epoch,
      echoes: (flags & BEAT.echoes) !== 0,
      ackSeq,
      commitSeq,
      startedEpoch,
      ready: (flags & BEAT.ready) !== 0,
      lacksDisk: (flags & BEAT.lacksDisk) !== 0,
    });
  }
  return {
    kind: "heartbeat",
    fromIncarnation,
    toIncarnation,
    sentAtMs,
    echoMs,
    wallMs,
    version,
    shards,
  };
}

function writeEpochs(writer: ByteWriter, epochs: readonly EpochRow[]): void {
  writer.varint(epochs.length);
  for (const { epoch, firstSeq } of epochs) {
    writer.varint(epoch);
    writer.varint(firstSeq);
  }
}

function readAcks(reader: ByteReader): readonly Ack[] {
  const acks: Ack[] = [];
  for (let left = reader.count(3); left > 0; left--) {
    acks.push({ shard: reader.varint(), epoch: reader.varint(), seq: reader.varint() });
  }
  return acks;
}

function readEpochs(reader: ByteReader): readonly EpochRow[] {
  const epochs: EpochRow[] = [];
  for (let left = reader.count(2); left > 0; left--) {
    epochs.push({ epoch: reader.varint(), firstSeq: reader.varint() });
  }
  return epochs;
}

function readRecords(reader: ByteReader): readonly KeyRecord[] {
  const count = reader.count(11);
  const records: KeyRecord[] = [];
  for (let i = 0; i < count; i++) {
    records.push({
      key: reader.string(),
      value: reader.string(),
      expireAtMs: reader.time(),
      seq: reader.varint(),
    });
  }
  return records;
}

function writeRequest(writer: ByteWriter, request: Request): void {
  writer.u8(
    (request.isTransaction ? REQUEST.isTransaction : 0) | (request.isWrite ? REQUEST.isWrite : 0),
  );
  writer.varint(request.commands.length);
  for (const command of request.commands) {
    writer.varint(command.count);
    for (let i = 0; i < command.count; i++) {
      writer.piece(command.buffer, command.start(i), command.end(i));
    }
  }
  writer.varint(request.watched.length);
  for (const watch of request.watched) {
    writer.string(watch.key);
    writer.varint(watch.version);
  }
}

function readRequest(reader: ByteReader): Request {
  const flags = reader.u8();
  if (flags > 3) throw new MalformedError("no such request flag");
  const commandCount = reader.count(1);
  const commands: Command[] = [];
  const spans: number[] = [];
  for (let i = 0; i < commandCount; i++) {
    const argumentCount = reader.count(1);
    if (argumentCount === 0) throw new MalformedError("a command has no name");
    const first = spans.length;
    for (let j = 0; j < argumentCount; j++) spans.push(reader.piece(), reader.at);
    commands.push(new Command(reader.buffer, spans, first, argumentCount));
  }
  const watchedCount = reader.count(2);
  const watched: { key: string; version: number }[] = [];
  for (let i = 0; i < watchedCount; i++) {
    watched.push({ key: reader.string(), version: reader.varint() });
  }
  return {
    commands,
    isTransaction: (flags & REQUEST.isTransaction) !== 0,
    isWrite: (flags & REQUEST.isWrite) !== 0,
    watched,
  };
}

function readConfiguration(reader: ByteReader): Configuration {
  const json = reader.utf8();
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new MalformedError("a configuration is not JSON", { cause: error });
  }
  try {
    return parseConfiguration(value);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new MalformedError(error.message, { cause: error });
  }
}
