/**
 * Turns the bytes of a server back into replies, RESP2 and RESP3 alike: for our own nodes, for the clients of `hothot
 * check` and for tests. Takes bytes in any pieces.
 */

import {
  DoubleReply,
  MapReply,
  NULL_ARRAY,
  PushReply,
  Refusal,
  type Reply,
  SetReply,
  Status,
  VerbatimReply,
} from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { ByteGatherer } from "./byte-gatherer.ts";
import { ProtocolError } from "./protocol-error.ts";
import { BULK_BYTES_MAX, INLINE_BYTES_MAX } from "./request-parser.ts";

/** Aggregates within aggregates. */
export const REPLY_DEPTH_MAX = 32;
/** Elements of one aggregate. */
export const REPLY_COUNT_MAX = 0xffff_ffff;

const CARRIAGE_RETURN = 13;
const LENGTH = /^(0|[1-9][0-9]{0,14})$/;
const INTEGER = /^[+-]?[0-9]{1,19}$/;
const BIG_INTEGER = /^[+-]?[0-9]+$/;
const DOUBLE = /^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$/;
const NO_BYTES = Buffer.alloc(0);

type Aggregate = "array" | "map" | "set" | "push" | "attribute";
type Bulk = "string" | "refusal" | "verbatim";

interface Frame {
  readonly kind: Aggregate;
  readonly items: Reply[];
  left: number;
}

export class ReplyParser {
  readonly #gatherer = new ByteGatherer();
  #waiting: Buffer[] = [];
  #chunk: Buffer = NO_BYTES;
  #position = 0;
  #skip = 0;
  #line = "";
  /** The kind of the length-prefixed string that is being read. */
  #bulk: Bulk | undefined;
  #bulkBytes = 0;
  /** A finished reply whose line end is still to come. */
  #whole: { readonly reply: Reply } | undefined;
  #stack: Frame[] = [];
  #error: ProtocolError | undefined;

  /** @param chunk must not be changed afterwards; it is let go once the replies in it are taken. */
  push(chunk: Buffer): void {
    if (this.#error === undefined && chunk.length > 0) this.#waiting.push(chunk);
  }

  /** True if bytes are left that no reply has been made of yet, such as half a reply. */
  get hasBytesLeft(): boolean {
    const isBetween = this.#skip === 0 && this.#line === "" && this.#stack.length === 0;
    const isRead = this.#position === this.#chunk.length && this.#waiting.length === 0;
    return !isBetween || !isRead || this.#bulk !== undefined;
  }

  /**
   * @returns the next reply, undefined if more bytes are needed, or what is wrong with the bytes: then nothing comes any
   * more but the same error. Attributes of RESP3 are read and dropped.
   */
  next(): Reply | ProtocolError | undefined {
    while (this.#error === undefined) {
      if (this.#position === this.#chunk.length) {
        this.#chunk = this.#waiting.shift() ?? NO_BYTES;
        this.#position = 0;
        if (this.#chunk.length === 0) return undefined;
      }
      if (this.#skip > 0) {
        this.#position += 1;
        this.#skip -= 1;
        if (this.#skip > 0 || this.#whole === undefined) continue;
        const { reply } = this.#whole;
        this.#whole = undefined;
        return reply;
      }
      if (this.#bulk === undefined) this.#readLine();
      else this.#readBulk(this.#bulk);
    }
    return this.#error;
  }

  #fail(detail: string): void {
    this.#error = new ProtocolError(detail);
    this.#waiting = [];
    this.#chunk = NO_BYTES;
    this.#position = 0;
    this.#stack = [];
    this.#gatherer.finish();
  }

  #readLine(): void {
    const end = this.#chunk.indexOf(CARRIAGE_RETURN, this.#position);
    const stop = end < 0 ? this.#chunk.length : end;
    if (this.#line.length + (stop - this.#position) > INLINE_BYTES_MAX) {
      this.#fail("too big line");
      return;
    }
    this.#line += this.#chunk.toString("latin1", this.#position, stop);
    this.#position = stop;
    if (end < 0) return;
    this.#skip = 2;
    const line = this.#line;
    this.#line = "";
    this.#onLine(line.charAt(0), line.slice(1));
  }

  #readBulk(kind: Bulk): void {
    const end = this.#position + this.#bulkBytes;
    if (end <= this.#chunk.length && this.#gatherer.reservedBytes === 0) {
      const text = this.#chunk.toString("latin1", this.#position, end);
      this.#position = end;
      this.#finishBulk(kind, text);
      return;
    }
    this.#position += this.#gatherer.take(this.#chunk, this.#position, this.#chunk.length);
    if (this.#gatherer.isComplete)
      this.#finishBulk(kind, this.#gatherer.finish().toString("latin1"));
  }

  #finishBulk(kind: Bulk, text: string): void {
    this.#bulk = undefined;
    this.#skip = 2;
    if (kind === "string") this.#complete(text);
    else if (kind === "refusal") this.#complete(refusalOf(text));
    else if (text.charAt(3) === ":") this.#complete(new VerbatimReply(text.slice(4)));
    else this.#fail("invalid verbatim string");
  }

  #onLine(type: string, text: string): void {
    switch (type) {
      case "+":
        this.#complete(new Status(text));
        return;
      case "-":
        this.#complete(refusalOf(text));
        return;
      case ":":
        this.#onInteger(text);
        return;
      case "(":
        if (BIG_INTEGER.test(text)) this.#complete(BigInt(text.replace("+", "")));
        else this.#fail("invalid big number");
        return;
      case ",":
        this.#onDouble(text);
        return;
      case "#":
        if (text === "t" || text === "f") this.#complete(text === "t");
        else this.#fail("invalid boolean");
        return;
      case "_":
        this.#complete(null);
        return;
      case "$":
        if (text === "-1") this.#complete(null);
        else this.#openBulk("string", text);
        return;
      case "!":
        this.#openBulk("refusal", text);
        return;
      case "=":
        this.#openBulk("verbatim", text);
        return;
      case "*":
        if (text === "-1") this.#complete(NULL_ARRAY);
        else this.#openAggregate("array", text, 1);
        return;
      case "~":
        this.#openAggregate("set", text, 1);
        return;
      case ">":
        this.#openAggregate("push", text, 1);
        return;
      case "%":
        this.#openAggregate("map", text, 2);
        return;
      case "|":
        this.#openAggregate("attribute", text, 2);
        return;
      default:
        this.#fail(`unexpected type '${type}'`);
    }
  }

  #onInteger(text: string): void {
    if (!INTEGER.test(text)) {
      this.#fail("invalid integer");
      return;
    }
    const value = Number(text);
    this.#complete(Number.isSafeInteger(value) ? value + 0 : BigInt(text.replace("+", "")));
  }

  #onDouble(text: string): void {
    if (text === "inf" || text === "+inf")
      this.#complete(new DoubleReply(Number.POSITIVE_INFINITY));
    else if (text === "-inf") this.#complete(new DoubleReply(Number.NEGATIVE_INFINITY));
    else if (text === "nan") this.#complete(new DoubleReply(Number.NaN));
    else if (DOUBLE.test(text)) this.#complete(new DoubleReply(Number(text)));
    else this.#fail("invalid double");
  }

  #openBulk(kind: Bulk, text: string): void {
    const length = LENGTH.test(text) ? Number(text) : undefined;
    if (length === undefined || length > BULK_BYTES_MAX) {
      this.#fail("invalid bulk length");
      return;
    }
    this.#bulk = kind;
    this.#bulkBytes = length;
    this.#gatherer.begin(length);
    // An empty string has no bytes that could end it: its two line ends come one after the other.
    if (length === 0) {
      this.#finishBulk(kind, "");
      this.#skip = 4;
    }
  }

  #openAggregate(kind: Aggregate, text: string, perEntry: number): void {
    const count = LENGTH.test(text) ? Number(text) : undefined;
    if (count === undefined || count > REPLY_COUNT_MAX) {
      this.#fail("invalid multibulk length");
    } else if (this.#stack.length >= REPLY_DEPTH_MAX) {
      this.#fail("too deeply nested");
    } else {
      this.#stack.push({ kind, items: [], left: count * perEntry });
      this.#closeFull();
    }
  }

  /** Puts a finished value where it belongs. */
  #complete(value: Reply): void {
    const frame = this.#stack.at(-1);
    if (frame === undefined) {
      this.#whole = { reply: value };
      return;
    }
    frame.items.push(value);
    frame.left -= 1;
    this.#closeFull();
  }

  #closeFull(): void {
    const frame = this.#stack.at(-1);
    if (frame === undefined || frame.left > 0) return;
    this.#stack.pop();
    // What an attribute describes follows it, so it is no element of anything.
    if (frame.kind === "attribute") return;
    this.#complete(aggregateOf(frame.kind, frame.items));
  }
}

/**
 * @param bytes exactly one reply.
 * @throws ProtocolError if it is none, less or more.
 */
export function decodeReply(bytes: Buffer): Reply {
  const parser = new ReplyParser();
  parser.push(bytes);
  const reply = parser.next();
  if (reply instanceof ProtocolError) throw reply;
  if (reply === undefined) throw new ProtocolError("incomplete reply");
  if (parser.hasBytesLeft) throw new ProtocolError("more than one reply");
  return reply;
}

function aggregateOf(kind: Exclude<Aggregate, "attribute">, items: Reply[]): Reply {
  if (kind === "array") return items;
  if (kind === "set") return new SetReply(items);
  if (kind === "push") return new PushReply(items);
  assert(items.length % 2 === 0, "a map has as many values as fields");
  const entries: [Reply, Reply][] = [];
  for (let at = 0; at < items.length; at += 2) {
    entries.push([items[at] ?? null, items[at + 1] ?? null]);
  }
  return new MapReply(entries);
}

function refusalOf(text: string): Refusal {
  const space = text.indexOf(" ");
  if (space < 0) return new Refusal(text, "");
  return new Refusal(text.slice(0, space), text.slice(space + 1));
}
