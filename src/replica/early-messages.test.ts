import assert from "node:assert/strict";
import { test } from "node:test";
import { EarlyMessages, type ShardMessage } from "./early-messages.ts";

const redirect = (shard: number, counter: number): ShardMessage => ({
  kind: "redirect",
  shard,
  epoch: 2,
  counter,
});

test("messages about a shard wait until they are due, and are lost with their link", () => {
  const early = new EarlyMessages();
  early.add("n1", redirect(7, 1));
  early.add("n2", redirect(8, 2));
  early.add("n2", redirect(7, 3));
  early.add("n3", redirect(7, 4));
  assert.deepEqual(
    early.take(() => false),
    [],
  );
  early.disconnected("n3");
  const taken = early.take(({ shard }) => shard === 7);
  assert.deepEqual(
    taken.map(({ from, message }) => [from, message]),
    [
      ["n1", redirect(7, 1)],
      ["n2", redirect(7, 3)],
    ],
  );
  assert.deepEqual(
    early.take(() => true),
    [{ from: "n2", message: redirect(8, 2) }],
  );
});

test("they are bounded", () => {
  const early = new EarlyMessages();
  for (let seq = 0; seq < 10_050; seq += 1) early.add("n1", redirect(1, seq));
  assert.equal(early.take(() => true).length, 10_000);
});
