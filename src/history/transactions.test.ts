import assert from "node:assert/strict";
import { test } from "node:test";
import type { Action, OperationRecord } from "./history.ts";
import { divide } from "./transactions.ts";

function operation(id: number, action: Action): OperationRecord {
  return { id, session: id, invokedAt: id, outcome: "unknown", action, why: "" };
}
const get = (key: string) => ({ kind: "get", key }) as const;

test("keys that transactions connect are judged together, the others alone", () => {
  const history = [
    operation(1, get("a")),
    operation(2, get("b")),
    operation(3, { kind: "multi", actions: [get("b"), get("c")] }),
    operation(4, get("d")),
    operation(5, { kind: "multi", actions: [get("d"), get("e")] }),
    operation(6, { kind: "multi", actions: [get("c"), get("e")] }),
    operation(7, { kind: "multi", actions: [get("a"), get("a")] }),
    operation(8, { kind: "multi", actions: [] }),
  ];
  const components = divide(history).map((component) => ({
    keys: component.keys.join(""),
    ids: component.operations.map((each) => each.id),
  }));
  assert.deepEqual(components, [
    { keys: "a", ids: [1, 7] },
    { keys: "bcde", ids: [2, 3, 4, 5, 6] },
  ]);
});

test("what was not carried out connects nothing", () => {
  const failed: OperationRecord = {
    id: 1,
    session: 1,
    invokedAt: 0,
    answeredAt: 1,
    outcome: "failed",
    action: { kind: "multi", actions: [get("a"), get("b")] },
    why: "TRYAGAIN",
  };
  assert.deepEqual(divide([failed]), []);
});
