/**
 * As much of HTTP/2 as a load of unary gRPC calls needs: headers that never touch the compression's table, so that a request
 * is the same bytes each time but for its stream's number, and a reader that tells frames apart by their first nine bytes.
 */

import type { Reader } from "./dialect.ts";

const FRAME_HEADER_BYTES = 9;
const PING_BYTES = 8;

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;

const ACK = 0x1;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;

const WINDOW_MAX = 2 ** 31 - 1;
const WINDOW_USUAL = 65_535;
const INITIAL_WINDOW_SIZE = 4;

/** What a client sends first: it lets the server send as much as it likes. */
export function clientPreface(): Buffer {
  const settings = Buffer.alloc(6);
  settings.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
  settings.writeUInt32BE(WINDOW_MAX, 2);
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(WINDOW_MAX - WINDOW_USUAL);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
    frame(SETTINGS, 0, settings),
    frame(WINDOW_UPDATE, 0, increment),
  ]);
}

/** The frames of a request before and after each place of its stream's number. */
export interface RequestFrames {
  readonly beforeFirstId: Buffer;
  readonly beforeSecondId: Buffer;
  /** The request's body follows this. */
  readonly beforeBody: Buffer;
}

/**
 * A unary gRPC call.
 * @param path such as `/package.Service/Method`.
 * @param bodyBytes length of the encoded message.
 */
export function requestFrames(path: string, bodyBytes: number): RequestFrames {
  const block = headerBlock(path);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bodyBytes, 1);
  return {
    beforeFirstId: frameStart(HEADERS, END_HEADERS, block.length),
    beforeSecondId: Buffer.concat([block, frameStart(DATA, END_STREAM, prefix.length + bodyBytes)]),
    beforeBody: prefix,
  };
}

/** RFC 7541: the names by their number in the static table where they have one, nothing entered into the dynamic one. */
function headerBlock(path: string): Buffer {
  const post = 0x83;
  const http = 0x86;
  const contentType = [0x0f, 31 - 0x0f];
  return Buffer.concat([
    Buffer.from([post, http, 0x04]),
    text(path),
    Buffer.from([0x01]),
    text("127.0.0.1"),
    Buffer.from([0x00]),
    text("te"),
    text("trailers"),
    Buffer.from(contentType),
    text("application/grpc"),
  ]);
}

function text(value: string): Buffer {
  if (value.length > 126) throw new Error("so long a header would need another encoding");
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
}

function frame(type: number, flags: number, payload: Buffer): Buffer {
  return Buffer.concat([frameStart(type, flags, payload.length), Buffer.alloc(4), payload]);
}

/** A frame's first bytes, without the four of its stream's number. */
function frameStart(type: number, flags: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUIntBE(payloadBytes, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  return bytes;
}

/** Counts a reply for each stream that has ended, and one for the server's settings. */
export class Http2Reader implements Reader {
  readonly misses = 0;
  readonly shortWaits = 0;
  firstError: string | undefined;
  readonly #respond: (bytes: Buffer) => void;
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  /** Bytes of the frame that are still to come. */
  #left = 0;
  readonly #ping = Buffer.alloc(PING_BYTES);
  #ended = 0;
  #answered = 0;
  #reset = 0;

  constructor(respond: (bytes: Buffer) => void) {
    this.#respond = respond;
  }

  /** A call that fails ends without a message. */
  get errors(): number {
    return this.#reset + Math.max(0, this.#ended - this.#answered);
  }

  consume(bytes: Uint8Array, end: number): number {
    let replies = 0;
    let at = 0;
    while (at < end) {
      if (this.#headerBytes < FRAME_HEADER_BYTES) {
        this.#header[this.#headerBytes] = bytes[at] as number;
        this.#headerBytes += 1;
        at += 1;
        if (this.#headerBytes < FRAME_HEADER_BYTES) continue;
        const header = this.#header;
        this.#left =
          ((header[0] as number) << 16) | ((header[1] as number) << 8) | (header[2] as number);
      } else {
        const taken = Math.min(this.#left, end - at);
        if (this.#header[3] === PING) this.#keepPing(bytes, at, taken);
        at += taken;
        this.#left -= taken;
      }
      if (this.#left > 0) continue;
      this.#headerBytes = 0;
      replies += this.#endFrame();
    }
    return replies;
  }

  #endFrame(): number {
    const type = this.#header[3] as number;
    const flags = this.#header[4] as number;
    switch (type) {
      case DATA:
        this.#answered += 1;
        return 0;
      case HEADERS:
        if ((flags & END_STREAM) === 0) return 0;
        this.#ended += 1;
        if (this.errors > 0) this.firstError ??= "a call failed";
        return 1;
      case RST_STREAM:
        this.#reset += 1;
        this.firstError ??= "a stream was reset";
        return 1;
      case SETTINGS:
        if ((flags & ACK) !== 0) return 0;
        this.#respond(frame(SETTINGS, ACK, Buffer.alloc(0)));
        return 1;
      case PING:
        if ((flags & ACK) === 0) this.#respond(frame(PING, ACK, Buffer.from(this.#ping)));
        return 0;
      case GOAWAY:
        throw new Error("the server ends the connection (GOAWAY)");
      default:
        return 0;
    }
  }

  #keepPing(bytes: Uint8Array, from: number, count: number): void {
    const kept = PING_BYTES - this.#left;
    for (let index = 0; index < count; index += 1)
      this.#ping[kept + index] = bytes[from + index] as number;
  }
}
