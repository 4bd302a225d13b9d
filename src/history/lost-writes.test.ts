import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../kit/prng.ts";
import type { KeyAction, OperationRecord, Result, Value } from "./history.ts";
import { judge } from "./judge.ts";
import { findLostWrites } from "./lost-writes.ts";
import { generateRun } from "./testing.ts";

let ids = 0;
function done(from: number, to: number, action: KeyAction, result: Result): OperationRecord {
  ids++;
  return { id: ids, session: ids, invokedAt: from, answeredAt: to, outcome: "ok", action, result };
}
function unclear(from: number, action: KeyAction): OperationRecord {
  ids++;
  return { id: ids, session: ids, invokedAt: from, outcome: "unknown", action, why: "timeout" };
}
const append = (value: string): KeyAction => ({ kind: "append", key: "k", value });
const set = (value: string): KeyAction => ({ kind: "set", key: "k", value });
const incr: KeyAction = { kind: "incr", key: "k", by: 1 };

function lostIn(history: readonly OperationRecord[], final: Value): number[] {
  const finals = [{ node: "n1", values: new Map([["k", final]]) }];
  return findLostWrites(history, finals).map((lost) => lost.operation.id);
}

test("names an append that is missing, unless something may have overwritten it", () => {
  const first = done(0, 1, append("<1>"), 3);
  const second = done(2, 3, append("<2>"), 6);
  assert.deepEqual(lostIn([first, second], "<1><2>"), []);
  assert.deepEqual(lostIn([first, second], "<1>"), [second.id]);
  assert.deepEqual(lostIn([first, second], null), [first.id, second.id]);
  assert.deepEqual(lostIn([first, second, unclear(0, set("x"))], null), []);
  assert.deepEqual(lostIn([first, second, done(2.5, 4, set("x"), "OK")], "x"), []);
  const before = done(-2, -1, set("x"), "OK");
  assert.deepEqual(lostIn([before, first, second], "x<1>"), [second.id]);
});

test("names an acknowledged write or deletion that did not last", () => {
  const write = done(0, 1, set("a"), "OK");
  assert.deepEqual(lostIn([write], "a"), []);
  assert.deepEqual(lostIn([write], null), [write.id]);
  assert.deepEqual(lostIn([write, unclear(0, append("<t>"))], "a<t>"), []);
  const deletion = done(2, 3, { kind: "del", key: "k" }, 1);
  assert.deepEqual(lostIn([write, deletion], null), []);
  assert.deepEqual(lostIn([write, deletion], "a"), [deletion.id]);
  const nothing = done(2, 3, { kind: "del", key: "k" }, 0);
  assert.deepEqual(lostIn([nothing, done(0, 1, append("b"), 1)], "b"), []);
});

test("adds up the increments", () => {
  const answered = [done(0, 1, incr, 1), done(1, 2, incr, 2), done(2, 3, incr, 3)];
  assert.deepEqual(lostIn(answered, "3"), []);
  assert.deepEqual(lostIn(answered, "2"), [answered[2]?.id]);
  assert.equal(lostIn(answered, "4").length, 1, "one ran twice");
  assert.deepEqual(lostIn([...answered, unclear(0, incr)], "4"), []);
  assert.deepEqual(lostIn([...answered, unclear(0, incr)], "3"), []);
  assert.equal(lostIn([...answered, unclear(0, incr)], "5").length, 1);
});

test("accuses nothing in the histories of an atomic store, and finds what is taken from its end", () => {
  let removed = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    const { history, final } = generateRun({
      seed,
      clients: 4,
      operations: 60,
      keys: ["a", "b", "c"],
      unknown: prng.pick([0, 0.03]),
      multi: prng.pick([0, 0.1]),
    });
    const finals = [{ node: "n1", values: final }];
    assert.deepEqual(findLostWrites(history, finals), [], `seed ${seed}`);
    // A SET of its own after everything, that the node does not hold.
    const end = Math.max(...history.map((each) => (each.outcome === "ok" ? each.answeredAt : 0)));
    if (history.some((each) => each.outcome === "unknown")) continue;
    const write = done(end + 1, end + 2, { kind: "set", key: "a", value: "<last>" }, "OK");
    const judgement = judge([...history, write], { finals });
    assert.equal(judgement.verdict, "illegal", `seed ${seed}`);
    assert.equal(judgement.lostWrites[0]?.operation.id, write.id);
    removed++;
  }
  assert.ok(removed > 100);
});
