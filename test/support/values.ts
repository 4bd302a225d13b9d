/** Many requests to one node at once, and the comparison of what it holds with what it should. */

import assert from "node:assert/strict";
import type { Reply } from "../../src/data/reply.ts";
import { nodeAt, type TestCluster } from "../integration/harness.ts";
import { isRefusal } from "./register-load.ts";
import { RespClient } from "./resp-client.ts";

const BATCH = 500;

/** Sends all requests to one node, many at once, and returns the replies in order. */
export async function askAll(
  port: number,
  requests: readonly (readonly string[])[],
): Promise<readonly Reply[]> {
  const client = await RespClient.connect(port);
  const replies: Reply[] = [];
  try {
    for (let from = 0; from < requests.length; from += BATCH) {
      const part = requests.slice(from, from + BATCH);
      client.send(...part);
      replies.push(...(await client.take(part.length)));
    }
    return replies;
  } finally {
    client.destroy();
  }
}

/** Writes all of it through one node. Null deletes the key. */
export async function writeAll(
  cluster: TestCluster,
  node: number,
  values: ReadonlyMap<string, string | null>,
): Promise<void> {
  const replies = await askAll(
    nodeAt(cluster.state, node).respPort,
    [...values].map(([key, value]) => (value === null ? ["DEL", key] : ["SET", key, value])),
  );
  assert.deepEqual(replies.filter(isRefusal), []);
}

/** Asserts that a node holds exactly these values, null for none. */
export async function assertHolds(
  cluster: TestCluster,
  node: number,
  expected: ReadonlyMap<string, string | null>,
): Promise<void> {
  const keys = [...expected.keys()];
  const replies = await askAll(
    nodeAt(cluster.state, node).respPort,
    keys.map((key) => ["GET", key]),
  );
  const wrong = keys
    .map((key, index) => ({ key, found: replies[index], wanted: expected.get(key) }))
    .filter(({ found, wanted }) => found !== wanted);
  assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} keys are wrong at node ${node}`);
}

/** @returns keys `<prefix>0` … with one value. */
export function sameValues(prefix: string, count: number, value: string): Map<string, string> {
  return new Map(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, value]));
}
