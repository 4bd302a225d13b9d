import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeStatus } from "../replica/surface.ts";
import { type Looked, SteadyReadiness } from "./readiness.ts";

const SERVING = { serves: true, role: "backup", inSync: ["n1", "n2"] };
const BREAK = { ...SERVING, serves: false };
const LEARNER = { serves: false, role: "learner", inSync: ["n2"] };

/** Of its status only what matters here. */
function nodeWith(shards: readonly object[], isDrained = false): Looked {
  return {
    isReady: () => shards.every((shard) => shard === SERVING),
    status: () => ({ nodeId: "n1", isDrained, shards }) as unknown as NodeStatus,
  };
}

function looks(graceMs: number) {
  const readiness = new SteadyReadiness(graceMs);
  return (atMs: number, ...args: Parameters<typeof nodeWith>) =>
    readiness.look(nodeWith(...args), atMs).ready;
}

test("a break no longer than the grace is none, a longer one is, and then it has to serve again", () => {
  const look = looks(700);
  assert.equal(look(0, [SERVING, BREAK]), false, "it has never been ready");
  assert.equal(look(10, [SERVING, SERVING]), true);
  assert.equal(look(500, [SERVING, BREAK]), true);
  assert.equal(look(710, [BREAK, BREAK]), true);
  assert.equal(look(711, [SERVING, BREAK]), false);
  assert.equal(look(712, [SERVING, BREAK]), false);
  assert.equal(look(713, [SERVING, SERVING]), true);
});

test("removal, leaving and a long sleep are no breaks", () => {
  const look = looks(700);
  assert.equal(look(0, [SERVING, SERVING]), true);
  assert.equal(look(1, [SERVING, LEARNER]), false);
  assert.equal(look(2, [SERVING, BREAK]), false, "it is being filled, so it has to serve first");
  assert.equal(look(3, [SERVING]), true);
  assert.equal(look(4, [BREAK], true), false);
  assert.equal(look(5, [SERVING]), true);
  assert.equal(look(30_000, [BREAK]), false, "nobody looked for long, so it was frozen");
});

test("the reason counts the shards", () => {
  const readiness = new SteadyReadiness(700);
  assert.deepEqual(readiness.look(nodeWith([SERVING, LEARNER]), 0), {
    ready: false,
    reason: "serves 1 of its 2 shards",
  });
});
