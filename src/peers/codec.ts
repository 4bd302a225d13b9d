/**
 * The bytes of every message between nodes. A frame is its payload's length (4 bytes, little endian) and the payload: a
 * byte for the kind, then the fields in the order in which the code below writes them. Integers are varints, times are
 * doubles, keys and values are length and bytes; a configuration is JSON.
 *
 * The encoder writes a whole batch into one buffer. The decoder takes any split of the stream and never trusts it: what
 * is malformed throws `PeerProtocolError`, and costs memory only in proportion to the bytes that really came.
 */

import { Command } from "../data/command.ts";
import type { KeyRecord } from "../data/effect.ts";
import { readReply, writeReply } from "../data/reply-codec.ts";
import { unreachable } from "../kit/assert.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Configuration } from "../replica/configuration.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import {
  readStamp,
  readStampRecords,
  writeStamp,
  writeStampRecords,
} from "../replica/entry-codec.ts";
import type { Ack, EpochRow, Heartbeat, Message, ShardBeat } from "../replica/messages.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import type { Request } from "../replica/ports.ts";
import { malformed, PeerProtocolError } from "./errors.ts";

/** A range of wire versions, both ends included. */
export interface WireVersions {
  readonly lowest: number;
  readonly highest: number;
}

/**
 * The bytes of messages in every version that this build speaks. A release that changes the format of anything in this file
 * raises `highest`, and its encoder and decoder take the version where formats differ; `lowest` is then what the release
 * before spoke, so that two adjacent releases always have one version in common.
 */
export interface WireCodec {
  readonly versions: WireVersions;
  /**
   * @param version agreed in the handshake, within `versions`.
   * @param frameBytesMax bound on a payload, as the receiver has it.
   */
  createEncoder(version: number, frameBytesMax: number): MessageEncoder;
  createDecoder(version: number, frameBytesMax: number): MessageDecoder;
}

/** What `FrameEncoder` does for its callers. */
export type MessageEncoder = Pick<FrameEncoder, "length" | "bytes" | "reset" | "append">;
/** What `FrameDecoder` does for its callers. */
export type MessageDecoder = Pick<FrameDecoder, "push">;

export const WIRE_CODEC: WireCodec = {
  versions: { lowest: 1, highest: 1 },
  createEncoder: (_version, frameBytesMax) => new FrameEncoder(frameBytesMax),
  createDecoder: (_version, frameBytesMax) => new FrameDecoder(frameBytesMax),
};

/** Largest payload of a frame, bytes. Two of the largest values fit; a peer that claims more is not a peer. */
export const FRAME_BYTES_MAX = 1024 * 1024 * 1024 + 1024 * 1024;
const HEADER_BYTES = 4;

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
} as const;

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
const OUTCOMES = ["done", "conflict", "unknown"] as const;

/** Gathers the frames of a batch. */
export class FrameEncoder {
  readonly #writer = new ByteWriter();
  readonly #frameBytesMax: number;

  /** @param frameBytesMax bound on a payload, as the receiver has it. */
  constructor(frameBytesMax: number = FRAME_BYTES_MAX) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Bytes gathered since the last `reset`. */
  get length(): number {
    return this.#writer.length;
  }

  /** All frames gathered, without a copy: valid until the next `append`. */
  bytes(): Buffer {
    return this.#writer.bytes();
  }

  /** Begins a new batch. @param keepsBuffer false while a socket still holds the bytes. */
  reset(keepsBuffer: boolean): void {
    this.#writer.reset(keepsBuffer);
  }

  /**
   * Adds a frame.
   * @throws PeerProtocolError (`frame-too-large`) past the bound; the batch is as it was before.
   */
  append(message: Message): void {
    const writer = this.#writer;
    const start = writer.length;
    writer.u32(0);
    writeMessage(writer, message);
    const bytes = writer.length - start - HEADER_BYTES;
    if (bytes > this.#frameBytesMax) {
      writer.truncate(start);
      throw new PeerProtocolError(
        "frame-too-large",
        `a message of ${bytes} bytes (${message.kind}) is above the bound of ${this.#frameBytesMax}`,
      );
    }
    writer.u32At(start, bytes);
  }
}

/** Turns a stream of bytes into messages. After it has thrown it must not be used again. */
export class FrameDecoder {
  readonly #frameBytesMax: number;
  /** Bytes of a frame that is not complete yet, in the chunks in which they came. */
  #chunks: Buffer[] = [];
  #held = 0;
  /** Bytes that must be there before it is worth looking again. */
  #needed = HEADER_BYTES;

  /** @param frameBytesMax largest payload that is accepted, bytes. */
  constructor(frameBytesMax: number = FRAME_BYTES_MAX) {
    this.#frameBytesMax = frameBytesMax;
  }

  /**
   * @param chunk what holds the next bytes of the stream, from `start` to before `end`; kept until its frames are complete.
   * @param onMessage called for every message that is complete now, in order; returns false to drop the rest.
   * @throws PeerProtocolError at malformed input.
   */
  push(chunk: Buffer, start: number, end: number, onMessage: (message: Message) => boolean): void {
    const isWhole = this.#held === 0;
    this.#held += end - start;
    if (!isWhole || this.#held < this.#needed) {
      this.#chunks.push(chunk.subarray(start, end));
      if (this.#held < this.#needed) return;
    }
    const buffer = isWhole ? chunk : Buffer.concat(this.#chunks, this.#held);
    const limit = isWhole ? end : this.#held;
    let at = isWhole ? start : 0;
    let needed = HEADER_BYTES;
    while (limit - at >= HEADER_BYTES) {
      const bytes = buffer.readUInt32LE(at);
      if (bytes > this.#frameBytesMax) {
        throw new PeerProtocolError("frame-too-large", `a frame claims ${bytes} bytes`);
      }
      needed = HEADER_BYTES + bytes;
      if (limit - at < needed) break;
      const reader = new ByteReader(buffer, at + HEADER_BYTES, at + needed);
      const message = read(reader);
      if (reader.left !== 0) {
        throw malformed(`bytes are left after a ${message.kind}`);
      }
      at += needed;
      needed = HEADER_BYTES;
      if (!onMessage(message)) return;
    }
    this.#held = limit - at;
    this.#chunks = this.#held === 0 ? [] : [buffer.subarray(at, limit)];
    this.#needed = needed;
  }
}

function writeMessage(writer: ByteWriter, message: Message): void {
  switch (message.kind) {
    case "heartbeat":
      writer.u8(KIND.heartbeat);
      writeHeartbeat(writer, message);
      return;
    case "append":
      writer.u8(KIND.append);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writer.varint(message.commitSeq);
      writer.varint(message.ackSeq);
      writer.varint(message.appliesBelow);
      writer.f64(message.wallMs);
      message.entries.write(writer);
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
      message.entries.write(writer);
      return;
    case "forward":
      writer.u8(KIND.forward);
      writer.varint(message.shard);
      writer.varint(message.epoch);
      writeStamp(writer, message.stamp);
      writeRequest(writer, message.request);
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

/** @throws PeerProtocolError */
function read(reader: ByteReader): Message {
  try {
    return readMessage(reader);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw malformed(error.message, error);
  }
}

function readMessage(reader: ByteReader): Message {
  const kind = reader.u8();
  switch (kind) {
    case KIND.heartbeat:
      return readHeartbeat(reader);
    case KIND.append:
      return {
        kind: "append",
        shard: reader.varint(),
        epoch: reader.varint(),
        commitSeq: reader.varint(),
        ackSeq: reader.varint(),
        appliesBelow: reader.varint(),
        wallMs: reader.time(),
        entries: EntryBatch.read(reader),
      };
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
        entries: EntryBatch.read(reader),
      };
    case KIND.forward:
      return {
        kind: "forward",
        shard: reader.varint(),
        epoch: reader.varint(),
        stamp: readStamp(reader),
        request: readRequest(reader),
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
      if (outcome === undefined) throw malformed("no such outcome");
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
      throw malformed(`no message kind ${kind}`);
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
    if ((flags & ~BEAT_MASK) !== 0) throw malformed("no such beat flag");
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
  if (flags > 3) throw malformed("no such request flag");
  const commandCount = reader.count(1);
  const commands: Command[] = [];
  const spans: number[] = [];
  for (let i = 0; i < commandCount; i++) {
    const argumentCount = reader.count(1);
    if (argumentCount === 0) throw malformed("a command has no name");
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
    throw malformed("a configuration is not JSON", error);
  }
  try {
    return parseConfiguration(value);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw malformed(error.message, error);
  }
}
