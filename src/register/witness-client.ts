/** The register as a node sees it when a witness keeps it. */

import * as http from "node:http";
import type { Configuration } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import { pause } from "./pause.ts";
import { type Register, RegisterError, type SwapResult } from "./register.ts";

export interface WitnessRegisterOptions {
  /** Base address of the witness, such as `http://127.0.0.1:7101`. */
  readonly url: string;
  /** How long a read or a swap may take, ms; about two heartbeats. */
  readonly timeoutMs: number;
  /** How long one long poll may take, ms; above what the witness holds it for. */
  readonly pollMsMax?: number;
  /** Told each time the witness becomes unreachable for the watch, and reachable again. */
  readonly onReachable?: (isReachable: boolean, error: Error | undefined) => void;
}

const POLL_MS_MAX = 30_000;
const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 500;
const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;

interface Response {
  readonly status: number;
  readonly body: string;
}

export class WitnessRegister implements Register {
  readonly #options: WitnessRegisterOptions;
  readonly #url: URL;
  /** Connections are kept, so that a swap in an emergency costs one round trip. */
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64, timeout: 60_000 });
  readonly #closing = new AbortController();
  /** The newest document that was read: it is asked for again and again, and sent only if it is another by now. */
  #newest: Configuration | undefined;

  /** @throws TypeError if the address is none. */
  constructor(options: WitnessRegisterOptions) {
    this.#options = options;
    this.#url = new URL("/configuration", options.url);
    if (this.#url.protocol !== "http:") throw new TypeError(`not an http address: ${options.url}`);
  }

  async read(): Promise<Configuration | undefined> {
    const known = this.#newest;
    // A witness that does not know the question answers with the document.
    const query = known === undefined ? "" : `?unless=${known.version}`;
    const { status, body } = await this.#request("GET", query, undefined, this.#options.timeoutMs);
    if (status === 404) return undefined;
    if (status === 204) return known;
    if (status !== 200) throw refusal(status, body);
    const document = parseDocument(body);
    this.#newest = document;
    return document;
  }

  async swap(configuration: Configuration): Promise<SwapResult> {
    let response: Response;
    try {
      response = await this.#request(
        "PUT",
        "",
        JSON.stringify(configuration),
        this.#options.timeoutMs,
      );
    } catch (error) {
      if (error instanceof RegisterError) return { outcome: "unknown", cause: error };
      throw error;
    }
    const { status, body } = response;
    if (status === 200) return { outcome: "done" };
    if (status === 409) return { outcome: "conflict", current: parseCurrent(body) };
    const error = refusal(status, body);
    // The witness failed within the swap: its disk may or may not have the document.
    if (status >= 500) return { outcome: "unknown", cause: error };
    throw error;
  }

  watch(afterVersion: number, onChange: (configuration: Configuration) => void): () => void {
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#closing.signal]);
    this.#poll(afterVersion, onChange, signal).catch((error: unknown) => {
      // Only what `onChange` throws gets here, and that is a bug which must not be swallowed.
      queueMicrotask(() => {
        throw error;
      });
    });
    return () => ending.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#agent.destroy();
  }

  async #poll(
    afterVersion: number,
    onChange: (configuration: Configuration) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let seen = afterVersion;
    let retryMs = RETRY_MS_MIN;
    let isReachable = true;
    while (!signal.aborted) {
      let next: Configuration | undefined;
      try {
        const timeoutMs = this.#options.pollMsMax ?? POLL_MS_MAX;
        const answer = await this.#request("GET", `?after=${seen}`, undefined, timeoutMs, signal);
        if (answer.status === 200) next = parseDocument(answer.body);
        else if (answer.status !== 204) throw refusal(answer.status, answer.body);
        retryMs = RETRY_MS_MIN;
        if (!isReachable) this.#options.onReachable?.(true, undefined);
        isReachable = true;
      } catch (error) {
        if (!(error instanceof RegisterError)) throw error;
        if (signal.aborted) return;
        if (isReachable) this.#options.onReachable?.(false, error);
        isReachable = false;
        await pause(retryMs * (0.5 + Math.random() / 2), signal);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
        continue;
      }
      if (next !== undefined && next.version > seen && !signal.aborted) {
        seen = next.version;
        onChange(next);
      }
    }
  }

  /** @throws RegisterError (`unreachable`) if no whole answer came in time. */
  async #request(
    method: "GET" | "PUT",
    query: string,
    body: string | undefined,
    timeoutMs: number,
    signal: AbortSignal = this.#closing.signal,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        clearTimeout(timer);
        const text = `the witness at ${this.#url.host} did not answer: ${cause.message}`;
        reject(new RegisterError(text, { code: "unreachable", cause }));
      };
      const request = http.request(
        new URL(query, this.#url),
        {
          method,
          agent: this.#agent,
          signal,
          headers:
            body === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on("data", (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > DOCUMENT_BYTES_MAX) request.destroy(new Error("its answer is too large"));
            else chunks.push(chunk);
          });
          response.on("error", fail);
          response.on("close", () => fail(new Error("its answer was cut off")));
          response.on("end", () => {
            clearTimeout(timer);
            resolve({
              status: response.statusCode ?? 0,
              body: Buffer.concat(chunks, bytes).toString("utf8"),
            });
          });
        },
      );
      const timer = setTimeout(
        () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      request.on("error", fail);
      request.end(body);
    });
  }
}

function parseDocument(body: string): Configuration {
  try {
    return parseConfiguration(JSON.parse(body));
  } catch (error) {
    const isNewer = error instanceof ConfigurationError && error.code === "newer-format";
    throw new RegisterError("the witness answered with no valid document", {
      code: isNewer ? "newer-format" : "unreachable",
      cause: error,
    });
  }
}

function parseCurrent(body: string): Configuration | undefined {
  // The conflict is certain, whatever is wrong with the rest.
  try {
    const { current } = JSON.parse(body) as { readonly current: unknown };
    return current === null ? undefined : parseConfiguration(current);
  } catch {
    return undefined;
  }
}

function refusal(status: number, body: string): RegisterError {
  return new RegisterError(`the witness answered ${status}: ${body.trim().slice(0, 300)}`, {
    code: status >= 500 ? "unreachable" : "refused",
  });
}
