/** Makes the answer of a command that ran in parts on several shards out of the parts' answers. */

import { OK, Refusal, type Reply } from "../data/reply.ts";
import { assert, unreachable } from "../kit/assert.ts";
import { partlyDone } from "./refusals.ts";
import type { Merge } from "./routes.ts";

/** One shard's part. */
export interface Part {
  /** For `values`: where each value of the part's reply belongs in the whole. */
  readonly positions: readonly number[];
  readonly reply: Reply;
}

/**
 * @param isWrite a write of which some parts may have happened is never answered as if nothing had (I6).
 * @returns the whole reply, or a refusal if a part was refused.
 */
export function mergeParts(merge: Merge, isWrite: boolean, parts: readonly Part[]): Reply {
  const refusals = parts.map(({ reply }) => reply).filter((reply) => reply instanceof Refusal);
  const [first] = refusals;
  if (first !== undefined) {
    const isUntouched = refusals.length === parts.length && refusals.every(isCertain);
    return isWrite && !isUntouched ? partlyDone(first) : first;
  }
  switch (merge) {
    case "ok":
      return OK;
    case "sum":
      return parts.reduce((sum, { reply }) => sum + countOf(reply), 0);
    case "values":
      return mergeValues(parts);
    case "concatenation":
      return parts.flatMap(({ reply }) => itemsOf(reply));
    default:
      return unreachable(merge);
  }
}

function isCertain(refusal: Refusal): boolean {
  return refusal.code !== "UNCERTAIN";
}

function countOf(reply: Reply): number {
  assert(typeof reply === "number", "a part that is summed answers a number");
  return reply;
}

function itemsOf(reply: Reply): readonly Reply[] {
  assert(Array.isArray(reply), "a part that is joined answers an array");
  return reply as readonly Reply[];
}

function mergeValues(parts: readonly Part[]): Reply {
  const values: Reply[] = new Array<Reply>(
    parts.reduce((count, { positions }) => count + positions.length, 0),
  ).fill(null);
  for (const { positions, reply } of parts) {
    const items = itemsOf(reply);
    for (const [at, position] of positions.entries()) values[position] = items[at] ?? null;
  }
  return values;
}
