/** What nodes send each other, counted in the bytes that the product's own encoders make of it. */

import { type MessageEncoder, WIRE_CODEC } from "../../src/peers/codec.ts";
import { encodeDatagrams } from "../../src/peers/heartbeat-datagram.ts";
import type { Configuration } from "../../src/replica/configuration.ts";
import type { Message } from "../../src/replica/messages.ts";

export interface Count {
  messages: number;
  bytes: number;
}

/** Counts since the last `take`. Heartbeats are counted as datagrams, the rest as frames of the data links. */
export class Traffic {
  readonly #encoder = newEncoder();
  /** Of each sender of entries: what it has said once it does not say again. */
  readonly #encoders = new Map<string, MessageEncoder>();
  readonly #documents = new WeakMap<Configuration, number>();
  #counts = new Map<string, Count>();

  /** @param from the sender's name, which its datagrams carry. */
  sent(from: string, message: Message): void {
    if (message.kind === "heartbeat") this.#beat(from, message);
    else this.add(message.kind, 1, this.#frameBytes(from, message));
  }

  add(kind: string, messages: number, bytes: number): void {
    let count = this.#counts.get(kind);
    if (count === undefined) {
      count = { messages: 0, bytes: 0 };
      this.#counts.set(kind, count);
    }
    count.messages += messages;
    count.bytes += bytes;
  }

  /** @returns the counts by kind of message, which begin anew. */
  take(): ReadonlyMap<string, Count> {
    const counts = this.#counts;
    this.#counts = new Map();
    return counts;
  }

  /** @returns the bytes of a document in the register. */
  documentBytes(configuration: Configuration): number {
    let bytes = this.#documents.get(configuration);
    if (bytes === undefined) {
      bytes = Buffer.byteLength(JSON.stringify(configuration));
      this.#documents.set(configuration, bytes);
    }
    return bytes;
  }

  #beat(from: string, message: Extract<Message, { readonly kind: "heartbeat" }>): void {
    const route = {
      from,
      fromIncarnation: message.fromIncarnation,
      toIncarnation: message.toIncarnation,
      version: WIRE_CODEC.versions.highest,
    };
    const datagrams = encodeDatagrams(route, 1, this.#encoded(from, message).bytes(), undefined);
    let bytes = 0;
    for (const datagram of datagrams) bytes += datagram.length;
    this.add("heartbeat", datagrams.length, bytes);
  }

  #frameBytes(from: string, message: Message): number {
    // Its length is nearly all of the frame, and many nodes send the same one.
    if (message.kind === "configuration") return this.documentBytes(message.configuration);
    return this.#encoded(from, message).length;
  }

  /** The message in a frame of its own. */
  #encoded(from: string, message: Message): MessageEncoder {
    const encoder = message.kind === "append" ? this.#encoderOf(from) : this.#encoder;
    encoder.reset(true);
    encoder.append(message);
    return encoder;
  }

  #encoderOf(from: string): MessageEncoder {
    let encoder = this.#encoders.get(from);
    if (encoder === undefined) {
      encoder = newEncoder();
      this.#encoders.set(from, encoder);
    }
    return encoder;
  }
}

function newEncoder(): MessageEncoder {
  return WIRE_CODEC.createEncoder(WIRE_CODEC.versions.highest, 1 << 30);
}
