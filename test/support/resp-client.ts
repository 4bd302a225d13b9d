/** A bare RESP connection for tests: sends any bytes, and reads replies one by one. */

import { connect, type Socket } from "node:net";

import type { Reply } from "../../src/data/reply.ts";
import { ProtocolError } from "../../src/resp/protocol-error.ts";
import { ReplyParser } from "../../src/resp/reply-parser.ts";
import { encodeRequest } from "../../src/resp/reply-writer.ts";

export class RespClient {
  readonly socket: Socket;
  readonly #parser = new ReplyParser();
  #isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#parser.push(chunk);
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  static async connect(port: number): Promise<RespClient> {
    const socket = connect({ port, host: "127.0.0.1" });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RespClient(socket);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends bytes as they are. */
  write(text: string): void {
    this.socket.write(Buffer.from(text, "latin1"));
  }

  /** Sends requests, all in one write. */
  send(...requests: readonly (readonly string[])[]): void {
    this.socket.write(Buffer.concat(requests.map(encodeRequest)));
  }

  /** Sends one request and waits for its reply. */
  ask(...args: readonly string[]): Promise<Reply> {
    this.send(args);
    return this.next();
  }

  /** @throws Error if the connection closes first. */
  async next(): Promise<Reply> {
    for (;;) {
      const reply = this.#parser.next();
      if (reply instanceof ProtocolError) throw reply;
      if (reply !== undefined) return reply;
      if (this.#isClosed) throw new Error("the connection was closed");
      await this.#change();
    }
  }

  async take(count: number): Promise<Reply[]> {
    const replies: Reply[] = [];
    while (replies.length < count) replies.push(await this.next());
    return replies;
  }

  /** Waits until the other end has closed. */
  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#change();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
