/**
 * The HTTP side as a function from request to response; whoever owns a port serves it.
 *
 *     POST /set    key, value (form or JSON)   {"status":"success"}
 *     GET  /get?key=…[&encoding=base64]        {"status":"success","value":"…"}
 *     GET  /healthz /readyz /metrics /status
 *
 * Keys and values of JSON are UTF-8 text; those of forms and queries are the bytes that their escapes say. A value that is
 * no UTF-8 is answered in base64, and `"encoding":"base64"` beside it says so; `encoding=base64` asks for that always.
 */

import { Hono } from "hono";

import { Bytes } from "../data/bytes.ts";
import { Command } from "../data/command.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import type { NodeDoor } from "../router/door.ts";
import type { Router } from "../router/router.ts";
import { BadInputError } from "./bad-input.ts";
import { parseForm } from "./form.ts";
import { readPair, requireKey } from "./pair.ts";
import { toBase64, toText } from "./text.ts";

/** Default bound on the body of a request, in bytes. */
export const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** What a client is told to wait, in s, when a shard cannot serve: most failovers are over by then. */
const RETRY_AFTER_SECONDS = 1;

export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reason?: string;
}

export interface Metrics {
  readonly contentType: string;
  readonly body: string;
}

/** Counts the answers to the commands that requests ran. */
export interface CommandObserver {
  /** @param command its name in lower case. */
  tallyOf(command: string): {
    /** @param ms from the command's start to its answer. */
    answered(isRefusal: boolean, ms: number): void;
  };
}

export interface AppOptions {
  readonly router: Router;
  readonly door: NodeDoor;
  readonly ready: () => Readiness;
  readonly metrics: () => Promise<Metrics>;
  readonly observer?: CommandObserver;
  /** Is told of failures of the server itself, which the client sees as status 500. */
  readonly onError?: (error: unknown) => void;
  /** Bound on the body of a request, in bytes. */
  readonly bodyBytesMax?: number;
}

export function createApp(options: AppOptions): Hono {
  const { door, ready, metrics, onError, bodyBytesMax = BODY_BYTES_MAX } = options;
  const app = new Hono();
  app.post("/set", async ({ req }) => {
    const { key, value } = await readPair(req.raw, bodyBytesMax);
    const reply = await ask(options, ["SET", key, value]);
    if (reply instanceof Refusal) return refused(reply);
    return Response.json({ status: "success" });
  });
  app.get("/get", async ({ req }) => {
    const fields = parseForm(new URL(req.url).search.slice(1));
    const key = requireKey(fields.get("key"));
    const encoding = fields.get("encoding");
    if (encoding !== undefined && encoding !== "base64") {
      throw new BadInputError("encoding must be base64", { status: 400 });
    }
    const reply = await ask(options, ["GET", key]);
    if (reply instanceof Refusal) return refused(reply);
    const value = reply instanceof Bytes ? reply.toString() : reply;
    if (typeof value !== "string") return Response.json({ status: "not_found" }, { status: 404 });
    const text = encoding === undefined ? toText(value) : undefined;
    if (text !== undefined) return Response.json({ status: "success", value: text });
    return Response.json({ status: "success", value: toBase64(value), encoding: "base64" });
  });
  app.get("/healthz", () => Response.json({ status: "success" }));
  app.get("/readyz", () => {
    const readiness = ready();
    if (readiness.ready) return Response.json({ status: "success" });
    return unavailable({ reason: readiness.reason ?? "not ready" });
  });
  app.get("/metrics", async () => {
    const { contentType, body } = await metrics();
    return new Response(body, { headers: { "content-type": contentType } });
  });
  app.get("/status", () =>
    Response.json({ status: door.status(), configuration: door.configuration() }),
  );
  app.notFound(() =>
    Response.json({ status: "not_found", reason: "there is no such resource" }, { status: 404 }),
  );
  app.onError((error) => {
    if (error instanceof BadInputError) return failed(error.status, { reason: error.message });
    onError?.(error);
    return failed(500, { reason: "the server failed" });
  });
  return app;
}

function ask({ router, observer }: AppOptions, args: readonly string[]): Promise<Reply> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    router.dispatch(Command.from(args), 0, {
      answered: (reply) => {
        const tally = observer?.tallyOf((args[0] ?? "").toLowerCase());
        tally?.answered(reply instanceof Refusal, performance.now() - startedMs);
        resolve(reply);
      },
    });
  });
}

interface Failure {
  readonly reason: string;
  /** The first word of a refusal, such as `TRYAGAIN`. */
  readonly code?: string;
}

function failed(status: number, failure: Failure): Response {
  return Response.json({ status: "error", ...failure }, { status });
}

function unavailable(failure: Failure): Response {
  const response = failed(503, failure);
  response.headers.set("retry-after", String(RETRY_AFTER_SECONDS));
  return response;
}

function refused({ code, message }: Refusal): Response {
  const failure = { code, reason: message };
  switch (code) {
    case "TRYAGAIN":
    case "UNCERTAIN":
    case "NOREPLICAS":
    case "MISCONF":
      return unavailable(failure);
    case "WRONGTYPE":
      return failed(409, failure);
    default:
      return failed(400, failure);
  }
}
