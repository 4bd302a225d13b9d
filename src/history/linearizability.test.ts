import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../kit/prng.ts";
import type { KeyAction, OperationRecord, Result } from "./history.ts";
import { describeJudgement, judge } from "./judge.ts";
import {
  type Corruption,
  generateHistory,
  isExplainable,
  randomResult,
  withResult,
} from "./testing.ts";

/** Writes a history as a table: session, invoked, answered (undefined: unknown), action, result. */
function table(
  rows: readonly (readonly [number, number, number | undefined, KeyAction, Result?])[],
): OperationRecord[] {
  return rows.map(([session, invokedAt, answeredAt, action, result], index) => {
    const base = { id: index + 1, session, invokedAt, action };
    return answeredAt === undefined
      ? { ...base, outcome: "unknown", why: "timeout" }
      : { ...base, outcome: "ok", answeredAt, result: result ?? null };
  });
}

const get: KeyAction = { kind: "get", key: "k" };
const set = (value: string): KeyAction => ({ kind: "set", key: "k", value });

test("a read sees the last write that was answered before it began", () => {
  const rows = [
    [1, 0, 1, set("a"), "OK"],
    [1, 2, 3, set("b"), "OK"],
  ] as const;
  assert.equal(judge(table([...rows, [2, 4, 5, get, "b"]])).verdict, "ok");
  assert.equal(judge(table([...rows, [2, 4, 5, get, "a"]])).verdict, "illegal", "stale");
  assert.equal(judge(table([...rows, [2, 2.5, 5, get, "a"]])).verdict, "ok", "concurrent");
  assert.equal(judge(table([...rows, [2, 3, 5, get, "a"]])).verdict, "ok", "equal times overlap");
});

test("an operation of unknown outcome takes effect late, or never, but not before it began", () => {
  const unknown = [1, 2, undefined, set("u")] as const;
  const first = [2, 0, 1, set("a"), "OK"] as const;
  assert.equal(judge(table([first, unknown, [2, 100, 101, get, "u"]])).verdict, "ok");
  assert.equal(judge(table([first, unknown, [2, 100, 101, get, "a"]])).verdict, "ok");
  assert.equal(judge(table([first, unknown, [2, 1.5, 1.8, get, "u"]])).verdict, "illegal");
  const flipped = [first, unknown, [2, 5, 6, get, "u"], [2, 7, 8, get, "a"]] as const;
  assert.equal(judge(table(flipped)).verdict, "illegal", "it took effect once");
});

test("operations that overlap on one session keep their order", () => {
  const rows = (session: number) =>
    table([
      [9, 0, 1, set("a"), "OK"],
      [1, 2, 10, set("b"), "OK"],
      [session, 3, 9, get, "a"],
    ]);
  assert.equal(judge(rows(2)).verdict, "ok");
  assert.equal(judge(rows(1)).verdict, "illegal");
});

test("a lock is not held twice", () => {
  const lock = (value: string): KeyAction => ({ kind: "setnx", key: "k", value });
  const judgement = judge(
    table([
      [1, 0, 5, lock("one"), 1],
      [2, 1, 6, lock("two"), 1],
    ]),
  );
  assert.equal(judgement.verdict, "illegal");
  const text = describeJudgement(judgement).join("\n");
  assert.match(text, /key k is not linearizable/);
  assert.match(text, /SETNX k "two" → 1 {3}\(expected 0\)/);
});

test("a transaction is seen whole or not at all", () => {
  const write: OperationRecord = {
    id: 1,
    session: 1,
    invokedAt: 0,
    answeredAt: 10,
    outcome: "ok",
    action: {
      kind: "multi",
      actions: [
        { kind: "set", key: "x", value: "1" },
        { kind: "set", key: "y", value: "1" },
      ],
    },
    result: ["OK", "OK"],
  };
  const read = (x: Result, y: Result): OperationRecord => ({
    id: 2,
    session: 2,
    invokedAt: 1,
    answeredAt: 9,
    outcome: "ok",
    action: {
      kind: "multi",
      actions: [
        { kind: "get", key: "x" },
        { kind: "get", key: "y" },
      ],
    },
    result: [x, y],
  });
  assert.equal(judge([write, read("1", "1")]).verdict, "ok");
  assert.equal(judge([write, read(null, null)]).verdict, "ok");
  assert.equal(judge([write, read("1", null)]).verdict, "illegal");
  assert.equal(judge([write, read(null, "1")]).verdict, "illegal");
});

test("the bound on the search gives unknown, never ok", () => {
  const history = generateHistory({
    seed: 1,
    clients: 5,
    operations: 200,
    keys: ["k"],
    unknown: 0,
    multi: 0,
  });
  assert.equal(judge(history, { stepsMax: 50 }).verdict, "unknown");
});

test("histories of an atomic store are found legal", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    const history = generateHistory({
      seed,
      clients: 1 + prng.below(12),
      operations: 200,
      keys: ["a", "b", "c", "d"].slice(0, 1 + prng.below(4)),
      unknown: prng.pick([0, 0.02, 0.05]),
      multi: prng.pick([0, 0.1]),
      think: prng.pick([0.1, 1, 5]),
    });
    const judgement = judge(history, { stepsMax: 5_000_000 });
    assert.equal(
      judgement.verdict,
      "ok",
      `seed ${seed}: ${describeJudgement(judgement).join("\n")}`,
    );
  }
});

test("the search agrees with trying every order, on tiny histories with arbitrary answers", () => {
  const counts = { legal: 0, illegal: 0 };
  for (let seed = 1; seed <= 6_000; seed++) {
    const prng = new Prng(seed);
    const generated = generateHistory({
      seed,
      clients: 1 + prng.below(4),
      operations: 3 + prng.below(4),
      keys: prng.chance(0.5) ? ["a"] : ["a", "b"],
      unknown: prng.pick([0, 0.2, 0.5]),
      multi: prng.pick([0, 0.4]),
      values: 1 + prng.below(3),
      think: prng.pick([0.1, 1]),
    });
    const seen = generated.flatMap((operation) =>
      operation.outcome === "ok" ? [operation.result] : [],
    );
    const overlapping = prng.chance(0.3);
    const history = generated.map((operation): OperationRecord => {
      // Sessions whose operations overlap, as those of a pipelining client do.
      const session = overlapping ? 1 + (operation.id % 2) : operation.session;
      return operation.outcome === "ok" && prng.chance(0.25)
        ? { ...operation, session, result: randomResult(prng, operation.action, seen) }
        : { ...operation, session };
    });
    const expected = isExplainable(history);
    counts[expected ? "legal" : "illegal"]++;
    const judgement = judge(history);
    assert.equal(
      judgement.verdict,
      expected ? "ok" : "illegal",
      `seed ${seed}: ${JSON.stringify(history, undefined, 1)}`,
    );
  }
  assert.ok(counts.legal > 1_000 && counts.illegal > 1_000, JSON.stringify(counts));
});

/** Each breaks a history in one way that some wrong implementation would. */
const CORRUPTIONS: Readonly<Record<string, Corruption>> = {
  "stale read": (history, prng) => {
    // A read answers a unique value that an answered write had replaced before the read began.
    const writes = history.flatMap((operation) =>
      operation.outcome === "ok" &&
      (operation.action.kind === "set" || operation.action.kind === "getset")
        ? [operation]
        : [],
    );
    const reads = history.flatMap((operation) =>
      operation.outcome === "ok" && operation.action.kind === "get" ? [operation] : [],
    );
    const candidates = reads.flatMap((read) => {
      const before = writes.filter(
        (write) =>
          write.answeredAt < read.invokedAt &&
          write.action.kind !== "multi" &&
          read.action.kind !== "multi" &&
          write.action.key === read.action.key,
      );
      return before.flatMap((old) =>
        before.some((later) => later.invokedAt > old.answeredAt) &&
        (old.action.kind === "set" || old.action.kind === "getset")
          ? [{ read, value: old.action.value }]
          : [],
      );
    });
    if (candidates.length === 0) return undefined;
    const { read, value } = prng.pick(candidates);
    return withResult(history, read.id, value);
  },
  "lost write": (history, prng) => {
    // Everyone, from some moment on, finds the key missing although an answered SET stands.
    const writes = history.flatMap((operation) =>
      operation.outcome === "ok" && operation.action.kind === "set" ? [operation] : [],
    );
    if (writes.length === 0) return undefined;
    const write = prng.pick(writes);
    const end = Math.max(
      ...history.map((operation) => (operation.outcome === "ok" ? operation.answeredAt : 0)),
    );
    const key = write.action.kind === "set" ? write.action.key : "";
    if (
      history.some(
        (operation) =>
          operation !== write &&
          JSON.stringify(operation.action).includes(`"${key}"`) &&
          ["del", "getdel", "multi"].includes(operation.action.kind) &&
          (operation.outcome === "unknown" ||
            (operation.outcome === "ok" && operation.answeredAt >= write.invokedAt)),
      )
    )
      return undefined;
    return [
      ...history,
      {
        id: 1_000_000,
        session: 1_000,
        invokedAt: end + 1,
        answeredAt: end + 2,
        outcome: "ok",
        action: { kind: "get", key },
        result: null,
      },
    ];
  },
  "double increment": (history, prng) => {
    // Two increments of a counter of its own are answered with the same number.
    const at = history.length === 0 ? 0 : prng.below(100);
    const increment = (id: number, from: number): OperationRecord => ({
      id,
      session: id,
      invokedAt: from,
      answeredAt: from + 2,
      outcome: "ok",
      action: { kind: "incr", key: "counter", by: 1 },
      result: 1,
    });
    return [...history, increment(1_000_001, at), increment(1_000_002, at + 1)];
  },
  "increment run twice": (history) => {
    const increment = (id: number, from: number, result: number): OperationRecord => ({
      id,
      session: id,
      invokedAt: from,
      answeredAt: from + 2,
      outcome: "ok",
      action: { kind: "incr", key: "counter", by: 1 },
      result,
    });
    return [...history, increment(1_000_001, 0, 1), increment(1_000_002, 1, 3)];
  },
  "two SETNX winners": (history, prng) => {
    // A lock that nobody gives back is won twice, at the same time or one after the other.
    const at = prng.below(100);
    const winner = (id: number, from: number): OperationRecord => ({
      id,
      session: id,
      invokedAt: from,
      answeredAt: from + 2,
      outcome: "ok",
      action: { kind: "setnx", key: "lock", value: `holder ${id}` },
      result: 1,
    });
    return [...history, winner(1_000_001, at), winner(1_000_002, at + prng.below(5))];
  },
  "torn transaction": (history, prng) => {
    const at = prng.below(100);
    const actions = (kind: "set" | "get"): KeyAction[] =>
      ["p", "q"].map((key) => (kind === "get" ? { kind, key } : { kind, key, value: "both" }));
    return [
      ...history,
      {
        id: 1_000_001,
        session: 1_001,
        invokedAt: at,
        answeredAt: at + 3,
        outcome: "ok",
        action: { kind: "multi", actions: actions("set") },
        result: ["OK", "OK"],
      },
      {
        id: 1_000_002,
        session: 1_002,
        invokedAt: at + 1,
        answeredAt: at + 2,
        outcome: "ok",
        action: { kind: "multi", actions: actions("get") },
        result: prng.chance(0.5) ? ["both", null] : [null, "both"],
      },
    ];
  },
  "transaction moved behind its effect": (history, prng) => {
    // A transaction's append is seen by a read that was answered before the transaction began.
    const at = prng.below(100);
    return [
      ...history,
      {
        id: 1_000_001,
        session: 1_001,
        invokedAt: at,
        answeredAt: at + 1,
        outcome: "ok",
        action: { kind: "get", key: "q" },
        result: "token",
      },
      {
        id: 1_000_002,
        session: 1_002,
        invokedAt: at + 2,
        answeredAt: at + 3,
        outcome: "ok",
        action: {
          kind: "multi",
          actions: [
            { kind: "incr", key: "p", by: 1 },
            { kind: "append", key: "q", value: "token" },
          ],
        },
        result: [1, 5],
      },
    ];
  },
};

for (const [name, corrupt] of Object.entries(CORRUPTIONS)) {
  test(`finds every ${name} that is put into a legal history`, () => {
    let made = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const prng = new Prng(seed);
      const history = generateHistory({
        seed,
        clients: 4,
        operations: 120,
        keys: ["a", "b", "c"],
        unknown: name === "stale read" ? 0 : 0.01,
        multi: 0,
        think: 1,
      });
      const broken = corrupt(history, prng);
      if (broken === undefined) continue;
      made++;
      const judgement = judge(broken, { stepsMax: 5_000_000 });
      assert.equal(judgement.verdict, "illegal", `seed ${seed}`);
      assert.ok(describeJudgement(judgement).length > 3);
    }
    assert.ok(made >= 20, `only ${made} histories had a place for it`);
  });
}
