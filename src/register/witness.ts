/**
 * The witness: one small process that keeps the configuration register, the third vote of a cluster of two. HTTP and JSON:
 *
 *     GET /configuration              the document; 404 if there is none
 *     GET /configuration?unless=N     the document; 204 if its version is N
 *     GET /configuration?after=N      waits for a version above N; 204 when none came in time
 *     PUT /configuration              200 if its version was the next one, else 409 with the current document
 *     GET /healthz                    200
 *
 * What it has answered with 200 is on disk, if it has a file.
 */

import * as http from "node:http";
import type { AddressInfo } from "node:net";
import type { Configuration } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import { DocumentHolder } from "./document.ts";
import { loadDocument, saveDocument } from "./document-file.ts";
import { RegisterError } from "./register.ts";

export interface WitnessOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Path of the durable document; without it all is lost when the process ends. */
  readonly file?: string;
  /** If given, documents of other clusters are refused from the start. */
  readonly clusterId?: string;
  /** How long a waiting GET is held, ms. */
  readonly pollMsMax?: number;
}

/** Largest document that is read, bytes. */
const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;
const POLL_MS = 20_000;
/** Longer than any client keeps an idle connection, so that no request meets a connection that is just being closed. */
const KEEP_ALIVE_MS = 120_000;
/** GETs that may wait at once; more are answered at once with what there is. */
const WAITING_MAX = 10_000;

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

export class WitnessServer {
  readonly #options: WitnessOptions;
  readonly #server: http.Server;
  #holder = new DocumentHolder();
  /** Swaps happen one after the other: each waits for the disk. */
  #lastSwap: Promise<unknown> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(options: WitnessOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => {
      this.#answer(request).then(
        (answer) => respond(response, answer),
        (error: unknown) => respond(response, answerOf(error)),
      );
    });
    this.#server.keepAliveTimeout = KEEP_ALIVE_MS;
    // Nodes on one machine can be stopped for long within a request.
    this.#server.requestTimeout = KEEP_ALIVE_MS;
  }

  /**
   * Reads the file and listens.
   * @returns the port.
   * @throws RegisterError (`corrupt`, `newer-format`) if the file holds no valid document or another cluster's; the
   *   system's error, such as `EADDRINUSE`.
   */
  async listen(): Promise<number> {
    const { file, clusterId, host, port } = this.#options;
    const loaded = file === undefined ? undefined : await loadDocument(file);
    if (loaded !== undefined && clusterId !== undefined && loaded.clusterId !== clusterId) {
      throw new RegisterError(
        `${file} belongs to cluster ${loaded.clusterId}, not to ${clusterId}`,
        { code: "corrupt" },
      );
    }
    this.#holder = new DocumentHolder(loaded);
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** The document as it is now. */
  get current(): Configuration | undefined {
    return this.#holder.current;
  }

  /** Finishes the swaps under way, answers those who wait, and closes. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#lastSwap;
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
      // Answers to those who waited are on their way; then nobody is left to wait for.
      setImmediate(() => setImmediate(() => this.#server.closeAllConnections()));
    });
  }

  async #answer(request: http.IncomingMessage): Promise<Answer> {
    const url = new URL(request.url ?? "/", "http://witness");
    if (url.pathname === "/healthz") return { status: 200, body: { status: "ok" } };
    if (url.pathname !== "/configuration") return { status: 404, body: { error: "no such path" } };
    if (request.method === "GET") {
      const unless = url.searchParams.get("unless");
      const { current } = this.#holder;
      if (current !== undefined && unless === String(current.version)) return { status: 204 };
      return this.#onGet(url.searchParams.get("after"), request);
    }
    if (request.method === "PUT") return this.#onPut(request);
    return { status: 405, body: { error: "GET or PUT" } };
  }

  async #onGet(after: string | null, request: http.IncomingMessage): Promise<Answer> {
    if (after === null) {
      const current = this.#holder.current;
      return current === undefined
        ? { status: 404, body: { error: "no configuration yet" } }
        : { status: 200, body: current };
    }
    if (!/^\d{1,15}$/.test(after)) {
      return { status: 400, body: { error: "after must be a version" } };
    }
    const version = Number(after);
    if (this.#holder.version <= version) await this.#newer(version, request);
    return this.#holder.version > version
      ? { status: 200, body: this.#holder.current }
      : { status: 204 };
  }

  /** Ends when there is a newer document, the time is up, the client is gone or the server closes. */
  async #newer(version: number, request: http.IncomingMessage): Promise<void> {
    if (this.#closing.signal.aborted || this.#holder.waiting >= WAITING_MAX) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        unsubscribe();
        request.socket.off("close", end);
        this.#closing.signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, this.#options.pollMsMax ?? POLL_MS);
      const unsubscribe = this.#holder.subscribe(() => {
        if (this.#holder.version > version) end();
      });
      request.socket.on("close", end);
      this.#closing.signal.addEventListener("abort", end);
    });
  }

  async #onPut(request: http.IncomingMessage): Promise<Answer> {
    const json = await readBody(request);
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      return { status: 400, body: { error: "not JSON" } };
    }
    const next = parseConfiguration(value);
    if (this.#closing.signal.aborted) return { status: 503, body: { error: "closing" } };
    const swap = this.#lastSwap.then(() => this.#swap(next));
    this.#lastSwap = swap.catch(() => undefined);
    return swap;
  }

  async #swap(next: Configuration): Promise<Answer> {
    const { file, clusterId } = this.#options;
    if (clusterId !== undefined && next.clusterId !== clusterId) {
      throw new RegisterError(`the register belongs to cluster ${clusterId}`, { code: "refused" });
    }
    if (!this.#holder.canReplace(next)) {
      return { status: 409, body: { current: this.#holder.current ?? null } };
    }
    if (file !== undefined) await saveDocument(file, next);
    this.#holder.replace(next);
    return { status: 200, body: { version: next.version } };
  }
}

async function readBody(request: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > DOCUMENT_BYTES_MAX)
      throw new RegisterError("the document is too large", { code: "refused" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes).toString("utf8");
}

function answerOf(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ConfigurationError) {
    return { status: error.code === "newer-format" ? 422 : 400, body: { error: message } };
  }
  if (error instanceof RegisterError) return { status: 422, body: { error: message } };
  return { status: 500, body: { error: message } };
}

function respond(response: http.ServerResponse, answer: Answer): void {
  if (answer.body === undefined) {
    response.writeHead(answer.status).end();
    return;
  }
  response.writeHead(answer.status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(answer.body)}\n`);
}
