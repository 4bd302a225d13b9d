/** A real redis-server, started for a test, as the judge of what a command answers; and a small RESP2 client for it. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A RESP2 reply: strings, errors and integers tagged, so that none can be taken for another. */
export type OracleReply =
  | null
  | { readonly status: string }
  | { readonly error: string }
  | { readonly integer: bigint }
  | string
  | readonly OracleReply[];

const START_MS_MAX = 20_000;
const ATTEMPTS = 5;

export class RedisOracle {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #directory: string;
  #bytes = "";
  #at = 0;
  #isClosed = false;
  #wake: () => void = () => {};

  private constructor(child: ChildProcess, socket: Socket, directory: string) {
    this.#child = child;
    this.#socket = socket;
    this.#directory = directory;
    socket.setEncoding("latin1");
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
    socket.on("data", (chunk: string) => {
      this.#bytes = this.#bytes.slice(this.#at) + chunk;
      this.#at = 0;
      this.#wake();
    });
  }

  /** @returns undefined if no redis-server is installed. */
  static async start(): Promise<RedisOracle | undefined> {
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      const directory = await mkdtemp(join(tmpdir(), "hothot-oracle-"));
      const options = `--port ${port} --bind 127.0.0.1 --appendonly no --dir ${directory}`;
      const child = spawn("redis-server", [...options.split(" "), "--save", ""], {
        stdio: "ignore",
      });
      const failure = new Promise<Error>((resolve) => {
        child.once("error", resolve);
        child.once("exit", (code) => resolve(new Error(`redis-server left with ${code}`)));
      });
      const socket = await Promise.race([connected(port), failure]);
      if (!(socket instanceof Error)) return new RedisOracle(child, socket, directory);
      child.kill("SIGKILL");
      await rm(directory, { recursive: true, force: true });
      if ("code" in socket && socket.code === "ENOENT") return undefined;
      if (attempt === ATTEMPTS) throw socket;
    }
  }

  /** Sends commands of binary strings in one go, and waits for all their replies. */
  async ask(commands: readonly (readonly string[])[]): Promise<OracleReply[]> {
    let text = "";
    for (const args of commands) {
      text += `*${args.length}\r\n`;
      for (const arg of args) text += `$${arg.length}\r\n${arg}\r\n`;
    }
    this.#socket.write(text, "latin1");
    const replies: OracleReply[] = [];
    for (let i = 0; i < commands.length; i++) replies.push(await this.#reply());
    return replies;
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await gone;
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #reply(): Promise<OracleReply> {
    const line = await this.#line();
    const rest = line.slice(1);
    switch (line.charAt(0)) {
      case "+":
        return { status: rest };
      case "-":
        return { error: rest };
      case ":":
        return { integer: BigInt(rest) };
      case "$": {
        if (rest === "-1") return null;
        const length = Number(rest);
        await this.#has(length + 2);
        const value = this.#bytes.slice(this.#at, this.#at + length);
        this.#at += length + 2;
        return value;
      }
      case "*": {
        if (rest === "-1") return null;
        const items: OracleReply[] = [];
        for (let i = 0; i < Number(rest); i++) items.push(await this.#reply());
        return items;
      }
      default:
        throw new Error(`not RESP2: ${line}`);
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#bytes.indexOf("\r\n", this.#at);
      if (end !== -1) {
        const line = this.#bytes.slice(this.#at, end);
        this.#at = end + 2;
        return line;
      }
      await this.#more();
    }
  }

  async #has(count: number): Promise<void> {
    while (this.#bytes.length - this.#at < count) await this.#more();
  }

  async #more(): Promise<void> {
    const { promise, resolve } = withResolver();
    this.#wake = resolve;
    if (!this.#isClosed) await promise;
    if (this.#isClosed) throw new Error("redis-server closed the connection");
  }
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  server.close();
  await once(server, "close");
  return address.port;
}

async function connected(port: number): Promise<Socket | Error> {
  const deadline = Date.now() + START_MS_MAX;
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return socket;
    } catch (cause) {
      socket.destroy();
      if (Date.now() > deadline) return new Error("redis-server does not listen", { cause });
      await sleep(20);
    }
  }
}
