import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  describeOperation,
  HistoryFormatError,
  type OperationRecord,
  type Result,
  readHistory,
  writeHistory,
} from "./history.ts";
import { generateHistory } from "./testing.ts";

test("a history is read as it was written", () => {
  const result: fc.Arbitrary<Result> = fc.letrec<{ result: Result }>((tie) => ({
    result: fc.oneof(
      { depthSize: "small" },
      fc.constant(null),
      fc.string({ unit: "binary" }),
      fc.integer(),
      fc.record({ error: fc.string() }),
      fc.array(tie("result"), { maxLength: 4 }),
    ),
  })).result;
  fc.assert(
    fc.property(fc.integer(), result, (seed, answer) => {
      const history = generateHistory({
        seed,
        clients: 3,
        operations: 10,
        keys: ["a", "{b}\n\u00ff"],
        unknown: 0.2,
        multi: 0.3,
      });
      const base = {
        id: 11,
        session: 9,
        node: "n1",
        invokedAt: 1.5,
        answeredAt: 2.5,
        action: { kind: "get", key: "a" },
      } as const;
      const all: OperationRecord[] = [
        ...history,
        { ...base, outcome: "failed", why: "TRYAGAIN" },
        { ...base, outcome: "ok", result: answer },
      ];
      const read = readHistory(writeHistory(all, { seed }));
      // JSON knows no negative zero, and no answer is one.
      assert.deepEqual(read.history, JSON.parse(JSON.stringify(all)));
      assert.deepEqual(read.note, { seed });
      for (const each of read.history) assert.match(describeOperation(each), /^#\d+ session/);
    }),
    { numRuns: 100 },
  );
});

test("what is no history is refused with the line that is wrong", () => {
  const header = '{"format":"hothot-history","version":1,"note":{}}';
  const line = (fields: object): string =>
    JSON.stringify({
      id: 1,
      session: 1,
      invokedAt: 0,
      action: { kind: "get", key: "k" },
      ...fields,
    });
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /line 1: not JSON/],
    ["{}", /line 1: not a HotHot history/],
    ['{"format":"hothot-history","version":2}', /line 1: version 2/],
    [`${header}\nx`, /line 2: not JSON/],
    [`${header}\n${line({ outcome: "maybe" })}`, /line 2: "outcome"/],
    [`${header}\n${line({ outcome: "ok", answeredAt: 1 })}`, /line 2: "result"/],
    [`${header}\n${line({ outcome: "ok", answeredAt: -1, result: null })}`, /before it was/],
    [`${header}\n\n${line({ outcome: "unknown", action: { kind: "get" } })}`, /line 3: "action"/],
    [`${header}\n${line({ outcome: "unknown", id: "1" })}`, /line 2: "id"/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => readHistory(text), { name: HistoryFormatError.name, message });
  }
});
