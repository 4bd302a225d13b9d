/** Requests to the HTTP side of the cluster's nodes. Every request has a deadline: a paused node never answers. */

import { request } from "node:http";

/** What a node answered. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** Where to send a request and what. */
export interface HttpCall {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly method?: "GET" | "POST";
  /** Sent as JSON. */
  readonly body?: unknown;
  /** For the whole exchange. */
  readonly timeoutMs: number;
}

/**
 * Sends one request on a connection of its own.
 * @throws Error if there is no whole answer in time; an answer of any status is returned.
 */
export function callHttp(call: HttpCall): Promise<HttpAnswer> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: call.host,
        port: call.port,
        path: call.path,
        method: call.method ?? "GET",
        agent: false,
        headers:
          body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          clearTimeout(deadline);
          resolve({
            status: incoming.statusCode ?? 0,
            body: Buffer.concat(chunks).toString("utf8"),
          });
        });
      },
    );
    const deadline = setTimeout(() => {
      outgoing.destroy(new Error(`no answer within ${call.timeoutMs} ms`));
    }, call.timeoutMs);
    outgoing.on("error", (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    outgoing.end(body);
  });
}
