/** A connection to a node's RESP port that sends many commands at once, for commands that move much data. */

import { connect, type Socket } from "node:net";
import { Refusal, type Reply } from "../data/reply.ts";
import { ProtocolError } from "../resp/protocol-error.ts";
import { ReplyParser } from "../resp/reply-parser.ts";
import { encodeRequest } from "../resp/reply-writer.ts";
import { CliError } from "./cli-error.ts";
import type { Address } from "./options.ts";

export interface RespConnectionOptions extends Address {
  /** Given with AUTH, a binary string. */
  readonly password?: string;
  /** Silence after which a node that owes answers is given up, ms. */
  readonly silentMsMax: number;
}

/** After any error it is of no more use. */
export class RespConnection {
  readonly #socket: Socket;
  readonly #parser = new ReplyParser();
  #error: Error | undefined;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#parser.push(chunk);
      this.#wake();
    });
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
    socket.on("timeout", () => socket.destroy(new Error("the node is silent")));
  }

  /** @throws Error if the node cannot be reached, CliError if it does not take the password. */
  static async open(options: RespConnectionOptions): Promise<RespConnection> {
    const { host, port, password, silentMsMax } = options;
    const connection = new RespConnection(connect({ host, port, noDelay: true }));
    connection.#socket.setTimeout(silentMsMax);
    if (password === undefined) return connection;
    const [reply] = await connection.askAll([["AUTH", password]]);
    if (!(reply instanceof Refusal)) return connection;
    connection.close();
    throw new CliError(`${host}:${port} refuses the password: ${reply.code} ${reply.message}`);
  }

  /** @returns the answers, in order. @throws Error if the connection breaks: then it is unknown which commands were carried out. */
  async askAll(requests: readonly (readonly string[])[]): Promise<readonly Reply[]> {
    this.#socket.write(Buffer.concat(requests.map(encodeRequest)));
    const replies: Reply[] = [];
    while (replies.length < requests.length) {
      const reply = this.#parser.next();
      if (reply instanceof ProtocolError) throw reply;
      if (reply !== undefined) replies.push(reply);
      else if (this.#error !== undefined) throw this.#error;
      else await this.#change();
    }
    return replies;
  }

  close(): void {
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
