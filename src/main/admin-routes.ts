/** HTTP requests that act on a node: what an administrator asks of it, and for tests a cut of its links. */

import type { Hono } from "hono";
import type { Driver } from "../node/driver.ts";
import type { BlockDirection, Links } from "../peers/links.ts";

const DIRECTIONS: ReadonlySet<unknown> = new Set<BlockDirection>(["both", "in", "out"]);
const BODY_BYTES_MAX = 64 * 1024;
const HOLD_MS_MAX = 7 * 24 * 3_600_000;

/** All that an administrator may ask of a node. */
export function addAdminRoutes(app: Hono, driver: Driver): void {
  addTransferRoute(app, driver);
  addSplitRoute(app, driver);
  addRecoverRoute(app, driver);
  addCopiesRoute(app, driver);
}

/** `POST /transfer` with `{"shard":0,"successor":"n2"}`: 202 once it has begun, 409 with the reason if it cannot. */
function addTransferRoute(app: Hono, driver: Driver): void {
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

/** `POST /split` with `{"shard":0,"at":8192}`, `at` is optional: 202 once it has begun, 409 with the reason if it cannot. */
function addSplitRoute(app: Hono, driver: Driver): void {
  app.post("/split", async ({ req }) => {
    const { shard, at } = await readFields(req.raw);
    if (!Number.isSafeInteger(shard) || (at !== undefined && !Number.isSafeInteger(at))) {
      return error(400, "shard must be a number, and at a slot, or left out");
    }
    const reason = driver.split(shard as number, at as number | undefined);
    return reason === undefined
      ? Response.json({ status: "success" }, { status: 202 })
      : error(409, reason);
  });
}

/**
 * `POST /recover` with `{"lost":["n2"]}` declares nodes gone for good with their disks: 202, or 409 with the reason. Every node
 * that is left has to be told.
 */
function addRecoverRoute(app: Hono, driver: Driver): void {
  app.post("/recover", async ({ req }) => {
    const { lost } = await readFields(req.raw);
    if (!isNames(lost) || lost.length === 0)
      return error(400, "lost must be a list of nodes' names");
    const known = new Set(driver.configuration()?.nodes.map(({ id }) => id));
    const unknown = lost.filter((id) => !known.has(id));
    if (unknown.length > 0) return error(404, `no such node: ${unknown.join(", ")}`);
    const reason = driver.recover(lost);
    return reason === undefined
      ? Response.json({ status: "success" }, { status: 202 })
      : error(409, reason);
  });
}

/** `POST /copies` with `{"holdMs":60000}`: this node begins no full copy for so long; with 0 it may again. */
function addCopiesRoute(app: Hono, driver: Driver): void {
  app.post("/copies", async ({ req }) => {
    const { holdMs } = await readFields(req.raw);
    if (typeof holdMs !== "number" || !(holdMs >= 0 && holdMs <= HOLD_MS_MAX)) {
      return error(400, `holdMs must be a number from 0 to ${HOLD_MS_MAX}`);
    }
    driver.holdCopies(holdMs);
    return Response.json({ status: "success" });
  });
}

/**
 * Test only: `POST /faults` with `{"drop":["n2"],"direction":"both"}` cuts the links to these peers, and to no others;
 * `direction` is `both` (the default), `in` or `out`. An empty list heals all.
 */
export function addFaultsRoute(app: Hono, links: Links): void {
  app.post("/faults", async ({ req }) => {
    const { drop, direction = "both" } = await readFields(req.raw);
    if (!isNames(drop) || !DIRECTIONS.has(direction)) {
      return error(400, "drop must be a list of nodes' names, direction both, in or out");
    }
    const unknown = drop.filter((id) => !links.status().some((link) => link.node === id));
    if (unknown.length > 0) return error(404, `no such peer: ${unknown.join(", ")}`);
    links.blockPeers(new Set<string>(drop), direction as BlockDirection);
    return Response.json({ status: "success" });
  });
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
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
