/** Gives replies their bytes, in the RESP version that the client speaks. */

import { Bytes } from "../data/bytes.ts";
import {
  DoubleReply,
  MapReply,
  NullArray,
  PushReply,
  Refusal,
  type Reply,
  SetReply,
  Status,
  VerbatimReply,
} from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { allocate, copyBytes, type Memory } from "../kit/memory.ts";

/**
 * How a reply is written: as RESP2, as RESP3, or as `exact`, which is RESP3 made lossless for our own nodes (the null
 * array and big integers stay what they are) and which `ReplyParser` reads like the others.
 */
export type ReplyForm = 2 | 3 | "exact";

const FIRST_BYTES = 4096;
/** A buffer beyond this is handed over rather than copied, so that no writer keeps a giant one. */
const KEPT_BYTES_MAX = 256 * 1024;
/** Up to this length a loop is faster than a call into the runtime. */
const SHORT_STRING = 24;
const LINE_END = /[\r\n]/g;

const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;
const ZERO = 48;
const PLUS = 43;
const MINUS = 45;
const COLON = 58;
const DOLLAR = 36;
const ASTERISK = 42;
const UNDERSCORE = 95;
const HASH = 35;
const COMMA = 44;
const PERCENT = 37;
const TILDE = 126;
const EQUALS = 61;
const GREATER = 62;
const PARENTHESIS = 40;
const LETTER_T = 116;
const LETTER_F = 102;

/** Gathers replies (and requests) in one growing buffer that is used again after each `take` or `reset`. */
export class ReplyWriter {
  #memory = allocate(FIRST_BYTES);
  /** The same memory. */
  #buffer = this.#memory.bytes;
  #length = 0;

  /** Bytes gathered since the last `take` or `reset`. */
  get length(): number {
    return this.#length;
  }

  /** @returns what was written since the last call; the caller may keep it. */
  take(): Buffer {
    const gathered = this.#buffer.subarray(0, this.#length);
    this.#length = 0;
    if (this.#buffer.length <= KEPT_BYTES_MAX) return Buffer.from(gathered);
    this.#use(allocate(FIRST_BYTES));
    return gathered;
  }

  /**
   * What was gathered from `start` to before `end`, without a copy: valid until the next `truncate` or `reset`, or for ever if
   * `reset` is told so.
   */
  bytes(start = 0, end = this.#length): Buffer {
    return this.#buffer.subarray(start, end);
  }

  /** Forgets what was gathered after the first `length` bytes. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Appends what was gathered from `start` to before `end` once more. */
  repeat(start: number, end: number): void {
    this.#reserve(end - start);
    this.#length += this.#buffer.copy(this.#buffer, this.#length, start, end);
  }

  /**
   * Begins anew.
   * @param keepsBuffer false if someone (a socket) still reads the bytes; another buffer is taken then.
   */
  reset(keepsBuffer: boolean): void {
    this.#length = 0;
    const isGiant = this.#buffer.length > KEPT_BYTES_MAX;
    if (!keepsBuffer || isGiant) this.#use(allocate(FIRST_BYTES));
  }

  #use(memory: Memory): void {
    this.#memory = memory;
    this.#buffer = memory.bytes;
  }

  /** Appends one reply. */
  write(reply: Reply, form: ReplyForm): void {
    if (typeof reply === "string") this.#bulk(reply);
    else if (typeof reply === "number") this.#integer(reply);
    else if (reply === null) this.#null(form);
    else if (reply instanceof Bytes) this.#piece(reply);
    else if (reply instanceof Status) this.#line(PLUS, reply.text);
    else if (reply instanceof Refusal) this.#refusal(reply);
    else if (typeof reply === "boolean") this.#boolean(reply, form);
    else if (typeof reply === "bigint") this.#bigInteger(reply, form);
    else if (reply instanceof DoubleReply) this.#double(reply.value, form);
    else if (reply instanceof VerbatimReply) this.#verbatim(reply.text, form);
    else if (reply instanceof NullArray) this.#nullArray(form);
    else this.#aggregate(reply, form);
  }

  /**
   * Appends a request as clients send it.
   * @param args binary strings, the command's name first.
   */
  writeRequest(args: readonly string[]): void {
    this.#header(ASTERISK, args.length);
    for (const argument of args) this.#bulk(argument);
  }

  #aggregate(reply: MapReply | SetReply | PushReply | readonly Reply[], form: ReplyForm): void {
    if (reply instanceof MapReply) {
      if (form === 2) this.#header(ASTERISK, reply.entries.length * 2);
      else this.#header(PERCENT, reply.entries.length);
      for (const [field, value] of reply.entries) {
        this.write(field, form);
        this.write(value, form);
      }
    } else if (reply instanceof SetReply) {
      this.#items(form === 2 ? ASTERISK : TILDE, reply.members, form);
    } else if (reply instanceof PushReply) {
      this.#items(form === 2 ? ASTERISK : GREATER, reply.items, form);
    } else {
      this.#items(ASTERISK, reply, form);
    }
  }

  #items(type: number, items: readonly Reply[], form: ReplyForm): void {
    this.#header(type, items.length);
    for (const item of items) this.write(item, form);
  }

  #null(form: ReplyForm): void {
    if (form === 2) this.#line(DOLLAR, "-1");
    else this.#line(UNDERSCORE, "");
  }

  #nullArray(form: ReplyForm): void {
    if (form === 3) this.#line(UNDERSCORE, "");
    else this.#line(ASTERISK, "-1");
  }

  #boolean(value: boolean, form: ReplyForm): void {
    this.#reserve(4);
    this.#byte(form === 2 ? COLON : HASH);
    if (form === 2) this.#byte(value ? ZERO + 1 : ZERO);
    else this.#byte(value ? LETTER_T : LETTER_F);
    this.#end();
  }

  #integer(value: number): void {
    assert(Number.isSafeInteger(value), "an integer reply must be a safe integer");
    this.#header(COLON, value);
  }

  #bigInteger(value: bigint, form: ReplyForm): void {
    this.#line(form === "exact" ? PARENTHESIS : COLON, value.toString());
  }

  #double(value: number, form: ReplyForm): void {
    const text = doubleText(value);
    if (form === 2) this.#bulk(text);
    else this.#line(COMMA, text);
  }

  #refusal(refusal: Refusal): void {
    const text = refusal.message === "" ? refusal.code : `${refusal.code} ${refusal.message}`;
    // An argument that the message quotes must not be able to end the line and begin a reply of its own.
    this.#line(MINUS, text.replace(LINE_END, " "));
  }

  #verbatim(text: string, form: ReplyForm): void {
    if (form === 2) {
      this.#bulk(text);
      return;
    }
    this.#header(EQUALS, text.length + 4);
    this.#text("txt:");
    this.#text(text);
    this.#reserve(2);
    this.#end();
  }

  #bulk(text: string): void {
    this.#header(DOLLAR, text.length);
    this.#text(text);
    this.#reserve(2);
    this.#end();
  }

  #piece({ buffer, start, end, memory }: Bytes): void {
    const length = end - start;
    this.#header(DOLLAR, length);
    this.#reserve(length + 2);
    if (memory !== undefined) {
      copyBytes(memory, start, end, this.#memory, this.#length);
      this.#length += length;
    } else if (length > SHORT_STRING) {
      buffer.copy(this.#buffer, this.#length, start, end);
      this.#length += length;
    } else {
      for (let at = start; at < end; at += 1) this.#byte(buffer[at] as number);
    }
    this.#end();
  }

  #line(type: number, text: string): void {
    this.#reserve(1);
    this.#byte(type);
    this.#text(text);
    this.#reserve(2);
    this.#end();
  }

  #header(type: number, count: number): void {
    if (count < 0 || count > 999) {
      this.#line(type, count.toString());
      return;
    }
    // Almost all are short, and need no string.
    this.#reserve(6);
    this.#byte(type);
    const tens = Math.trunc(count / 10);
    const hundreds = Math.trunc(tens / 10);
    if (hundreds > 0) this.#byte(ZERO + hundreds);
    if (tens > 0) this.#byte(ZERO + (tens - hundreds * 10));
    this.#byte(ZERO + (count - tens * 10));
    this.#end();
  }

  #text(text: string): void {
    this.#reserve(text.length);
    if (text.length > SHORT_STRING) {
      this.#length += this.#buffer.write(text, this.#length, "latin1");
      return;
    }
    for (let at = 0; at < text.length; at += 1) this.#byte(text.charCodeAt(at));
  }

  #byte(byte: number): void {
    this.#buffer[this.#length] = byte;
    this.#length += 1;
  }

  #end(): void {
    this.#byte(CARRIAGE_RETURN);
    this.#byte(LINE_FEED);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const grown = allocate(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown.bytes, 0, 0, this.#length);
    this.#use(grown);
  }
}

/**
 * Appends one reply to `out`.
 * @param form the RESP version to speak.
 */
export function encodeReply(reply: Reply, form: ReplyForm, out: ReplyWriter): void {
  out.write(reply, form);
}

/**
 * @param args binary strings, the command's name first.
 * @returns the bytes of the request as clients send it.
 */
export function encodeRequest(args: readonly string[]): Buffer {
  const writer = new ReplyWriter();
  writer.writeRequest(args);
  return writer.take();
}

function doubleText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  return Object.is(value, -0) ? "-0" : String(value);
}
