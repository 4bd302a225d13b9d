/**
 * The frames in which messages travel between nodes. A frame is its payload's length (4 bytes, little endian) and the payload:
 * one message or several, whose bytes are the business of `message-codec.ts`.
 *
 * The encoder writes a whole batch into one buffer. The decoder takes any split of the stream and never trusts it: what
 * is malformed throws `PeerProtocolError`, and costs memory only in proportion to the bytes that really came.
 */

import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Message } from "../replica/messages.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import { MessageReader, MessageWriter } from "./message-codec.ts";

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
/** A frame takes no further message once it is so long: a receiver looks at a frame when all of it is there. */
const SHARED_BYTES_MAX = 16 * 1024;

/** Gathers the frames of a batch. */
export class FrameEncoder {
  readonly #writer = new ByteWriter();
  readonly #messages = new MessageWriter(this.#writer);
  readonly #frameBytesMax: number;
  /** Where the frame begins that takes the next message too; -1 if a new one has to begin. */
  #frameStart = -1;

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
    this.#frameStart = -1;
  }

  /**
   * Adds a message.
   * @throws PeerProtocolError (`frame-too-large`) past the bound; the batch is as it was before.
   */
  append(message: Message): void {
    const isShared =
      this.#frameStart >= 0 && this.#writer.length - this.#frameStart < SHARED_BYTES_MAX;
    if (isShared && this.#add(message) <= this.#frameBytesMax) return;
    // What does not fit in beside others may fit alone.
    const start = this.#writer.length;
    this.#frameStart = start;
    this.#writer.u32(0);
    this.#messages.beginFrame();
    const bytes = this.#add(message);
    if (bytes <= this.#frameBytesMax) return;
    this.#writer.truncate(start);
    this.#frameStart = -1;
    throw new PeerProtocolError(
      "frame-too-large",
      `a message of ${bytes} bytes (${message.kind}) is above the bound of ${this.#frameBytesMax}`,
    );
  }

  /**
   * Adds a message to the last frame, unless it is too large then.
   * @returns the bytes that the frame has with it.
   */
  #add(message: Message): number {
    const writer = this.#writer;
    const start = writer.length;
    this.#messages.write(message);
    const bytes = writer.length - this.#frameStart - HEADER_BYTES;
    if (bytes <= this.#frameBytesMax) writer.u32At(this.#frameStart, bytes);
    else {
      writer.truncate(start);
      this.#messages.takenBack();
    }
    return bytes;
  }
}

/** Turns a stream of bytes into messages. After it has thrown it must not be used again. */
export class FrameDecoder {
  readonly #frameBytesMax: number;
  readonly #messages = new MessageReader();
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
      this.#messages.beginFrame(new ByteReader(buffer, at + HEADER_BYTES, at + needed));
      for (let message = this.#next(); message !== undefined; message = this.#next()) {
        if (!onMessage(message)) return;
      }
      at += needed;
      needed = HEADER_BYTES;
    }
    this.#held = limit - at;
    this.#chunks = this.#held === 0 ? [] : [buffer.subarray(at, limit)];
    this.#needed = needed;
  }

  /** The frame's next message; undefined at its end. */
  #next(): Message | undefined {
    try {
      return this.#messages.read();
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      throw malformed(error.message, error);
    }
  }
}
