/**
 * Turns the bytes of a client into commands. It knows no socket, keeps no memory of the chunks it was fed once their
 * commands were taken, and takes bytes in any pieces.
 *
 * A command that is whole in one chunk, as nearly all are, is taken at once, as pieces of that chunk. Any other goes
 * through the states below, byte by byte, and is gathered in memory of its own; so does what is not quite as it should be.
 *
 *     start ──'*'──▶ count ──▶ bulk-type ──'$'──▶ bulk-length ──▶ bulk-body ─┐
 *       │                          ▲───────────── more arguments ────────────┤
 *       └─other─▶ inline           command ◀──────── the last ───────────────┘
 */

import { constants } from "node:buffer";

import { Command } from "../data/command.ts";
import { unreachable } from "../kit/assert.ts";
import { ByteGatherer } from "./byte-gatherer.ts";
import { splitInlineRequest } from "./inline-request.ts";
import { LengthReader } from "./length-reader.ts";
import { ProtocolError } from "./protocol-error.ts";

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
const DOLLAR = 36;
const ASTERISK = 42;
const ZERO = 48;
/** Digits of a number in a header that is read at once. */
const DIGITS_MAX = 9;
/**
 * Bytes of commands for each start or end of an argument, as many clients send them: an array that grows with each makes
 * garbage of several times its length.
 */
const PLACE_BYTES = 12;
/** Places that are made at first; more come as they are needed. */
const PLACES_MAX = 512;

/** Redis's default `proto-max-bulk-len`, but never more than a string of this platform can hold. */
export const BULK_BYTES_MAX = Math.min(512 * 1024 * 1024, constants.MAX_STRING_LENGTH);
/** Arguments of one request. */
export const MULTIBULK_COUNT_MAX = 1024 * 1024;
/** Bytes of an inline request, and of the number in a header. */
export const INLINE_BYTES_MAX = 64 * 1024;
/** Bytes of all arguments of one request, as Redis's default `client-query-buffer-limit`. */
export const REQUEST_BYTES_MAX = 1024 * 1024 * 1024;
/** Arguments of one request of a client that has yet to authenticate. */
export const UNAUTHENTICATED_COUNT_MAX = 10;
/** Bytes of each argument of a client that has yet to authenticate. */
export const UNAUTHENTICATED_BULK_BYTES_MAX = 16_384;

interface Chunk {
  readonly chunk: Buffer;
  readonly start: number;
  readonly end: number;
}

type State = "start" | "inline" | "count" | "bulk-type" | "bulk-length" | "bulk-body" | "command";

const NO_BYTES = Buffer.alloc(0);

export class RequestParser {
  /** While true, the much lower limits for strangers hold; they apply to headers read from then on. */
  isRestricted = false;
  /** Bound on one argument in bytes; applies to headers read from then on. */
  bulkBytesMax = BULK_BYTES_MAX;

  readonly #length = new LengthReader();
  readonly #gatherer = new ByteGatherer();
  #waiting: Chunk[] = [];
  #chunk: Buffer = NO_BYTES;
  #position = 0;
  /** Where the chunk's bytes end. */
  #limit = 0;
  /** How far a command has been looked at that may be whole. */
  #cursor = 0;
  #state: State = "start";
  /** Bytes that are still to come of a line end. Redis does not look at them; we do, for a wrong length shows here. */
  #lineEndLeft = 0;
  #line = "";
  /** Of the commands of this chunk that were whole in it, and how much of it they take. */
  #spans: number[] = [];
  #spansUsed = 0;
  /** Of the command that is gathered. */
  #gathered: number[] = [];
  #argsLeft = 0;
  #argsBytes = 0;
  #bulkBytes = 0;
  #error: ProtocolError | undefined;

  /**
   * Takes bytes from `start` to before `end` of a chunk. They must not be changed afterwards; the chunk is let go once the
   * commands in it are.
   */
  push(chunk: Buffer, start = 0, end = chunk.length): void {
    if (this.#error !== undefined || start === end) return;
    const isIdle = this.#position === this.#limit && this.#waiting.length === 0;
    if (isIdle) this.#use(chunk, start, end);
    else this.#waiting.push({ chunk, start, end });
  }

  /** True if bytes are left that no command has been made of yet, such as half a command. */
  get hasBytesLeft(): boolean {
    const isAtStart = this.#state === "start" && this.#lineEndLeft === 0;
    return !isAtStart || this.#position < this.#limit || this.#waiting.length > 0;
  }

  /**
   * @returns the next command, undefined if more bytes are needed, or what is wrong with the bytes: then nothing comes any
   * more but the same error.
   */
  next(): Command | ProtocolError | undefined {
    for (;;) {
      if (this.#error !== undefined) return this.#error;
      const isComplete = this.#state === "command" && this.#lineEndLeft === 0;
      if (this.#position === this.#limit && !isComplete) {
        const next = this.#waiting.shift();
        // Also lets go of the chunk that was used up, which an incomplete command must not keep alive.
        this.#use(next?.chunk ?? NO_BYTES, next?.start ?? 0, next?.end ?? 0);
        if (next === undefined) return undefined;
      }
      if (this.#lineEndLeft > 0) this.#onLineEnd();
      else {
        const isPlain = this.#state === "start" && !this.isRestricted;
        const command = (isPlain ? this.#takeWhole() : undefined) ?? this.#step();
        if (command !== undefined) return command;
      }
    }
  }

  #use(chunk: Buffer, start: number, end: number): void {
    this.#chunk = chunk;
    this.#position = start;
    this.#limit = end;
    // What was taken from the chunk before may still need its own.
    if (this.#spansUsed === 0) return;
    this.#spans = [];
    this.#spansUsed = 0;
  }

  /**
   * Takes a command that is whole in the chunk, and written in the plainest way.
   * @returns undefined if the next bytes are anything else; then nothing has been taken.
   */
  #takeWhole(): Command | undefined {
    const chunk = this.#chunk;
    const limit = this.#limit;
    this.#cursor = this.#position;
    const count = this.#readWholeHeader(ASTERISK);
    if (count < 1 || count > MULTIBULK_COUNT_MAX) return undefined;
    const first = this.#spansUsed;
    if (this.#spans.length === 0) {
      const places = Math.ceil((limit - this.#position) / PLACE_BYTES);
      this.#spans = new Array(Math.min(places, PLACES_MAX));
    }
    const spans = this.#spans;
    let used = first;
    let bytes = 0;
    for (let index = 0; index < count; index += 1) {
      const length = this.#readWholeHeader(DOLLAR);
      const start = this.#cursor;
      const end = start + length;
      bytes += length;
      const isAllowed = length <= this.bulkBytesMax && bytes <= REQUEST_BYTES_MAX;
      const isHere = length >= 0 && end + 2 <= limit;
      if (!isAllowed || !isHere || chunk[end] !== CARRIAGE_RETURN || chunk[end + 1] !== LINE_FEED) {
        return undefined;
      }
      spans[used] = start;
      spans[used + 1] = end;
      used += 2;
      this.#cursor = end + 2;
    }
    this.#position = this.#cursor;
    this.#spansUsed = used;
    return new Command(chunk, spans, first, count);
  }

  /** Reads a header such as `*3` with its line end at the cursor. @returns -1 if it is not whole, or written in another way. */
  #readWholeHeader(type: number): number {
    const chunk = this.#chunk;
    const limit = this.#limit;
    const start = this.#cursor + 1;
    if (start >= limit || chunk[start - 1] !== type) return -1;
    const digitsEnd = Math.min(limit, start + DIGITS_MAX);
    let at = start;
    let number = 0;
    while (at < digitsEnd) {
      const digit = (chunk[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
      at += 1;
    }
    const isNumber = at === start + 1 || (at > start && chunk[start] !== ZERO);
    if (!isNumber || at + 2 > limit) return -1;
    if (chunk[at] !== CARRIAGE_RETURN || chunk[at + 1] !== LINE_FEED) return -1;
    this.#cursor = at + 2;
    return number;
  }

  #step(): Command | undefined {
    switch (this.#state) {
      case "start":
        this.#onStart();
        return undefined;
      case "inline":
        return this.#onInline();
      case "count":
        this.#onCount();
        return undefined;
      case "bulk-type":
        this.#onBulkType();
        return undefined;
      case "bulk-length":
        this.#onBulkLength();
        return undefined;
      case "bulk-body":
        this.#onBulkBody();
        return undefined;
      case "command":
        return this.#takeCommand();
      default:
        return unreachable(this.#state);
    }
  }

  #fail(detail: string): void {
    this.#error = new ProtocolError(detail);
    this.#waiting = [];
    this.#use(NO_BYTES, 0, 0);
    this.#gathered = [];
    this.#gatherer.finish();
  }

  #onLineEnd(): void {
    const wanted = this.#lineEndLeft === 2 ? CARRIAGE_RETURN : LINE_FEED;
    if (this.#chunk[this.#position] !== wanted) {
      this.#fail("expected a line end");
      return;
    }
    this.#position += 1;
    this.#lineEndLeft -= 1;
  }

  #onStart(): void {
    const byte = this.#chunk[this.#position];
    if (byte === undefined) return;
    if (byte === ASTERISK) {
      this.#position += 1;
      this.#state = "count";
    } else {
      this.#state = "inline";
    }
  }

  #onInline(): Command | undefined {
    const rest = this.#chunk.subarray(this.#position, this.#limit).indexOf(LINE_FEED);
    const end = rest < 0 ? -1 : this.#position + rest;
    const stop = end < 0 ? this.#limit : end;
    // Judged by the line alone and not by how it was cut into chunks, so that a request always meets the same answer.
    if (this.#line.length + (stop - this.#position) > INLINE_BYTES_MAX) {
      this.#fail("too big inline request");
      return undefined;
    }
    this.#line += this.#chunk.toString("latin1", this.#position, stop);
    this.#position = end < 0 ? stop : stop + 1;
    if (end < 0) return undefined;
    const line = this.#line.endsWith("\r") ? this.#line.slice(0, -1) : this.#line;
    this.#line = "";
    this.#state = "start";
    const args = splitInlineRequest(line);
    if (args === undefined) this.#fail("unbalanced quotes in request");
    return args === undefined || args.length === 0 ? undefined : Command.from(args);
  }

  /** @returns whether the header's number has been read; if not, more bytes are needed or it is far too long. */
  #readLength(tooLong: string): boolean {
    const end = this.#length.read(this.#chunk, this.#position, this.#limit);
    this.#position = end < 0 ? this.#limit : end;
    if (this.#length.length > INLINE_BYTES_MAX) {
      this.#fail(tooLong);
      return false;
    }
    if (end < 0) return false;
    this.#lineEndLeft = 1;
    return true;
  }

  #onCount(): void {
    if (!this.#readLength("too big mbulk count string")) return;
    const count = this.#length.finish();
    if (count === undefined || count > MULTIBULK_COUNT_MAX) {
      this.#fail("invalid multibulk length");
    } else if (this.isRestricted && count > UNAUTHENTICATED_COUNT_MAX) {
      this.#fail("unauthenticated multibulk length");
    } else if (count <= 0) {
      this.#state = "start";
    } else {
      this.#argsLeft = count;
      this.#argsBytes = 0;
      this.#state = "bulk-type";
    }
  }

  #onBulkType(): void {
    const byte = this.#chunk[this.#position];
    if (byte === undefined) return;
    if (byte !== DOLLAR) {
      this.#fail(`expected '$', got '${String.fromCharCode(byte)}'`);
      return;
    }
    this.#position += 1;
    this.#state = "bulk-length";
  }

  #onBulkLength(): void {
    if (!this.#readLength("too big bulk count string")) return;
    const length = this.#length.finish();
    if (length === undefined || length < 0 || length > this.bulkBytesMax) {
      this.#fail("invalid bulk length");
    } else if (this.isRestricted && length > UNAUTHENTICATED_BULK_BYTES_MAX) {
      this.#fail("unauthenticated bulk length");
    } else if (this.#argsBytes + length > REQUEST_BYTES_MAX) {
      this.#fail("too big request");
    } else {
      this.#bulkBytes = length;
      this.#argsBytes += length;
      this.#gatherer.begin(length);
      this.#state = "bulk-body";
    }
  }

  #onBulkBody(): void {
    const gatherer = this.#gatherer;
    this.#position += gatherer.take(this.#chunk, this.#position, this.#limit);
    if (!gatherer.isComplete) return;
    this.#gathered.push(gatherer.length - this.#bulkBytes, gatherer.length);
    this.#argsLeft -= 1;
    this.#lineEndLeft = 2;
    this.#state = this.#argsLeft === 0 ? "command" : "bulk-type";
  }

  #takeCommand(): Command {
    const spans = this.#gathered;
    this.#gathered = [];
    this.#state = "start";
    return new Command(this.#gatherer.finish(), spans, 0, spans.length / 2);
  }
}
