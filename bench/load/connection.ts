/**
 * One connection to a server. All of a process's connections receive into one buffer, and nothing is allocated for a reply.
 */

import { connect, type Socket } from "node:net";
import type { Batch } from "./batch.ts";
import type { Dialect, Reader } from "./dialect.ts";
import type { Endpoint } from "./job.ts";
import { type KeySource, patchKey } from "./keys.ts";

const RECEIVE_BYTES = 1 << 20;
const CONNECT_MS_MAX = 10_000;

const received = new Uint8Array(RECEIVE_BYTES);

/** Told of whole replies. */
export type OnReplies = (connection: Connection, replies: number) => void;

export class Connection {
  readonly index: number;
  readonly reader: Reader;
  /** Replies that are still to come. */
  outstanding = 0;
  /** For the pace's use: when the batch that is under way was sent, ms. */
  sentMs = 0;
  /** For the pace's use: the batch that is under way. */
  batch: Batch | undefined;
  onReplies: OnReplies = () => undefined;
  onFailure: (error: Error) => void = () => undefined;
  readonly #socket: Socket;
  readonly #keys: KeySource;
  #streamId = 1;
  #lastKey = 0;
  #isEnded = false;

  private constructor(index: number, endpoint: Endpoint, dialect: Dialect, keys: KeySource) {
    this.index = index;
    this.#keys = keys;
    this.reader = dialect.reader((bytes) => this.#socket.write(bytes));
    this.#socket = connect({
      host: endpoint.host,
      port: endpoint.port,
      noDelay: true,
      onread: { buffer: received, callback: (count) => this.#onRead(count) },
    });
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  /** @throws Error if there is no answer to the greeting in time. */
  static async open(
    index: number,
    endpoint: Endpoint,
    dialect: Dialect,
    keys: KeySource,
  ): Promise<Connection> {
    const connection = new Connection(index, endpoint, dialect, keys);
    const greeting = dialect.greeting(index);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        connection.close();
        reject(new Error(`port ${endpoint.port} did not answer within ${CONNECT_MS_MAX} ms`));
      }, CONNECT_MS_MAX);
      connection.onFailure = (error) => {
        clearTimeout(timer);
        reject(new Error(`port ${endpoint.port}: ${error.message}`, { cause: error }));
      };
      connection.onReplies = () => {
        if (connection.outstanding > 0) return;
        clearTimeout(timer);
        resolve();
      };
      connection.outstanding = greeting.replies;
      connection.#socket.write(greeting.bytes);
    });
    return connection;
  }

  /** Sends a batch with the next keys. */
  send(batch: Batch): void {
    const { bytes, keyEnds, source = this.#keys } = batch;
    for (let index = 0; index < keyEnds.length; index += 1) {
      this.#lastKey = source.next();
      patchKey(bytes, keyEnds[index] as number, this.#lastKey);
    }
    this.#sendPatched(batch);
  }

  /** Sends a batch of one operation with the last key of the one before. */
  sendOnSameKey(batch: Batch): void {
    for (const end of batch.keyEnds) patchKey(batch.bytes, end, this.#lastKey);
    this.#sendPatched(batch);
  }

  close(): void {
    this.#isEnded = true;
    this.#socket.destroy();
  }

  #sendPatched(batch: Batch): void {
    const { bytes, streamIds } = batch;
    // Each stream's number, which is odd, stands in two places.
    for (let index = 0; index < streamIds.length; index += 1)
      bytes.writeUInt32BE(this.#streamId + (index & ~1), streamIds[index] as number);
    this.#streamId += streamIds.length;
    this.outstanding += batch.replies;
    this.#socket.write(bytes);
    // What the kernel has not taken at once is still read by the socket, so it may not be written over.
    if (this.#socket.writableLength > 0) batch.bytes = Buffer.from(bytes);
  }

  #onRead(count: number): boolean {
    try {
      const replies = this.reader.consume(received, count);
      if (replies > 0) {
        this.outstanding -= replies;
        this.onReplies(this, replies);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
    return true;
  }

  #fail(error: Error): void {
    if (this.#isEnded) return;
    this.close();
    this.onFailure(error);
  }
}
