/**
 * NATS's key-value store for the load generator: a put is a message to the key's subject that the stream acknowledges, a get
 * asks for the last message of the subject directly.
 */

import { type Batch, BatchBuilder, fixedValue, isWrite } from "./batch.ts";
import type { Dialect, Reader } from "./dialect.ts";
import type { LoadJob, OperationKind } from "./job.ts";
import { keyText } from "./keys.ts";

/** Name of the bucket; its stream is `KV_` and the name, and its keys lie below `$KV.` and the name. */
export const BUCKET = "bench";

export class NatsDialect implements Dialect {
  /** No: each connection has a reply subject of its own. */
  readonly sharesBatches = false;
  readonly #value: Buffer;

  constructor(job: Pick<LoadJob, "valueBytes">) {
    this.#value = fixedValue(job.valueBytes);
  }

  greeting(connection: number): { readonly bytes: Buffer; readonly replies: number } {
    const options = JSON.stringify({ verbose: false, headers: true, no_responders: true });
    const text = `CONNECT ${options}\r\nSUB ${inbox(connection)} 1\r\nPING\r\n`;
    return { bytes: Buffer.from(text, "latin1"), replies: 1 };
  }

  batch(operations: readonly OperationKind[], connection: number): Batch {
    const builder = new BatchBuilder();
    for (const operation of operations) this.#addOperation(builder, operation, connection);
    return builder.build({
      replies: operations.length,
      operations: operations.length,
      writes: operations.filter(isWrite).length,
    });
  }

  reader(respond: (bytes: Buffer) => void): Reader {
    return new NatsReader(respond);
  }

  #addOperation(builder: BatchBuilder, operation: OperationKind, connection: number): void {
    switch (operation) {
      case "get":
        builder.add(`PUB $JS.API.DIRECT.GET.KV_${BUCKET}.$KV.${BUCKET}.`).addKey(keyText(0));
        builder.add(` ${inbox(connection)} 0\r\n\r\n`);
        return;
      case "set":
        builder.add(`PUB $KV.${BUCKET}.`).addKey(keyText(0));
        builder.add(` ${inbox(connection)} ${this.#value.length}\r\n`);
        builder.add(this.#value).add("\r\n");
        return;
      default:
        throw new Error(`NATS has no ${operation}`);
    }
  }
}

function inbox(connection: number): string {
  return `_INBOX.bench.${String(connection).padStart(4, "0")}`;
}

const LF = 0x0a;
const BLANK = 0x20;
const FOUR = 0x34;
const LETTER_E = 0x65;
/** As many bytes of a payload as tell how it went. */
const SIGN_BYTES = 10;

/** Counts messages, and the answer to the greeting's PING. */
class NatsReader implements Reader {
  misses = 0;
  errors = 0;
  readonly shortWaits = 0;
  firstError: string | undefined;
  readonly #respond: (bytes: Buffer) => void;
  /** The line's first bytes: two letters tell all kinds of lines apart. */
  #first = 0;
  #second = 0;
  #lineBytes = 0;
  /** The last number of the line: of a message, its length. */
  #number = 0;
  /** Bytes of the payload, its end included, that are still to come. */
  #left = 0;
  #payloadBytes = 0;
  readonly #sign = new Uint8Array(SIGN_BYTES);
  #text = "";

  constructor(respond: (bytes: Buffer) => void) {
    this.#respond = respond;
  }

  consume(bytes: Uint8Array, end: number): number {
    let replies = 0;
    let at = 0;
    while (at < end) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, end - at);
        for (
          let index = this.#payloadBytes;
          index < SIGN_BYTES && index < this.#payloadBytes + taken;
          index += 1
        )
          this.#sign[index] = bytes[at + index - this.#payloadBytes] as number;
        this.#payloadBytes += taken;
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) {
          this.#endMessage();
          replies += 1;
        }
        continue;
      }
      const byte = bytes[at] as number;
      at += 1;
      if (byte === LF) replies += this.#endLine();
      else this.#takeOfLine(byte);
    }
    return replies;
  }

  #takeOfLine(byte: number): void {
    if (this.#lineBytes === 0) {
      this.#first = byte;
      this.#text = "";
    } else if (this.#lineBytes === 1) this.#second = byte;
    this.#lineBytes += 1;
    if (byte === BLANK) this.#number = 0;
    else if (byte >= 0x30 && byte <= 0x39) this.#number = this.#number * 10 + byte - 0x30;
    if (this.#first === 0x2d) this.#text += String.fromCharCode(byte);
  }

  /** @returns 1 for PONG, which ends the greeting. */
  #endLine(): number {
    this.#lineBytes = 0;
    switch (String.fromCharCode(this.#first, this.#second)) {
      case "MS":
      case "HM":
        this.#left = this.#number + 2;
        this.#payloadBytes = 0;
        return 0;
      case "PO":
        return 1;
      case "PI":
        this.#respond(Buffer.from("PONG\r\n", "latin1"));
        return 0;
      case "-E":
        throw new Error(`NATS: ${this.#text.trim()}`);
      default:
        return 0;
    }
  }

  /**
   * An acknowledgement is JSON whose first field is `stream`, or `error`. What was got has headers that begin with
   * `NATS/1.0` and an end of line, or a status in its place: 404 where there is nothing.
   */
  #endMessage(): void {
    const sign = this.#sign;
    if (this.#first === 0x4d) {
      if (sign[2] === LETTER_E) this.#fail("an acknowledgement is an error");
    } else if (sign[8] === BLANK) {
      if (sign[9] === FOUR) this.misses += 1;
      else this.#fail("nobody answers for the stream");
    }
  }

  #fail(why: string): void {
    this.errors += 1;
    this.firstError ??= why;
  }
}
