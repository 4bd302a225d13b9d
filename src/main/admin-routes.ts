/** HTTP requests that act on a node: a planned transfer, and for tests a cut of its links. */

import type { Hono } from "hono";
import type { Driver } from "../node/driver.ts";
import type { BlockDirection, Links } from "../peers/links.ts";

const DIRECTIONS: ReadonlySet<unknown> = new Set<BlockDirection>(["both", "in", "out"]);
const BODY_BYTES_MAX = 64 * 1024;

/** `POST /transfer` with `{"shard":0,"successor":"n2"}`: 202 once it has begun, 409 with the reason if it cannot. */
export function addTransferRoute(app: Hono, driver: Driver): void {
  app.post("/transfer", async ({ req }) => {
    const { shard, successor } = await readFields(req.raw);
    if (!Number.isSafeInteger(shard) || typeof successor !== "string") {
      return error(400, "shard must be a number and successor a node's name");
    }
    const reason = driver.transfer(shard as number, successor);
    return reason === undefined
      ? Response.json({ status: "success" }, { status: 202 })
      : error(409, reason);
  });
}

/**
 * Test only: `POST /faults` with `{"drop":["n2"],"direction":"both"}` cuts the links to these peers, and to no others;
 * `direction` is `both` (the default), `in` or `out`. An empty list heals all.
 */
export function addFaultsRoute(app: Hono, links: Links): void {
  app.post("/faults", async ({ req }) => {
    const { drop, direction = "both" } = await readFields(req.raw);
    const isList = Array.isArray(drop) && drop.every((id) => typeof id === "string");
    if (!isList || !DIRECTIONS.has(direction)) {
      return error(400, "drop must be a list of nodes' names, direction both, in or out");
    }
    const unknown = drop.filter((id) => !links.status().some((link) => link.node === id));
    if (unknown.length > 0) return error(404, `no such peer: ${unknown.join(", ")}`);
    links.blockPeers(new Set<string>(drop), direction as BlockDirection);
    return Response.json({ status: "success" });
  });
}

/** The fields of a JSON body; none if it is not an object. */
async function readFields(request: Request): Promise<Readonly<Record<string, unknown>>> {
  // The declared length is enough: these requests come from the operator's tools.
  if (Number(request.headers.get("content-length") ?? 0) > BODY_BYTES_MAX) return {};
  try {
    const value: unknown = await request.json();
    return typeof value === "object" && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : {};
  } catch {
    return {};
  }
}

function error(status: number, reason: string): Response {
  return Response.json({ status: "error", reason }, { status });
}
