/** Binds the HTTP side to a port. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";

/** Time in which a client must have sent the head of its request, ms. */
const HEADERS_MS_MAX = 10_000;
/** Connections; one more is closed at once. */
const CONNECTIONS_MAX = 10_000;
/** Time in which a client must have sent its whole request, ms. */
const REQUEST_MS_MAX = 60_000;

export interface HttpServer {
  readonly port: number;
  /** Takes no more requests, lets those under way finish for up to `graceMs`, then closes. */
  close(graceMs: number): Promise<void>;
}

/**
 * @param where `port` 0 for any free one.
 * @throws Error with Node's code, such as `EADDRINUSE`, if it cannot listen.
 */
export async function serveHttp(
  app: Hono,
  where: { readonly host: string; readonly port: number },
): Promise<HttpServer> {
  const listener = getRequestListener(app.fetch);
  const server = createServer(
    { headersTimeout: HEADERS_MS_MAX, requestTimeout: REQUEST_MS_MAX },
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      // Running out of file descriptors fails one connection, not the server.
      server.on("error", () => undefined);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return { port, close: (graceMs) => close(server, graceMs) };
}

function close(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
