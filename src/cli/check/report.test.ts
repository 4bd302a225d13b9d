import assert from "node:assert/strict";
import { test } from "node:test";
import type { FaultKind } from "./fault-kinds.ts";
import type { Fault } from "./nemesis.ts";
import { type ClientError, reportFaults } from "./report.ts";

function fault(kind: FaultKind, hit: readonly string[], beganAt: number, readyAt: number): Fault {
  return {
    kind,
    node: hit[0] ?? "",
    hit,
    what: kind,
    shards: [],
    beganAt,
    healedAt: readyAt,
    readyAt,
  };
}

function unexplainedOf(faults: readonly Fault[], errors: readonly ClientError[]): ClientError[][] {
  const none = { byGroup: new Map(), byNode: new Map() };
  return reportFaults(faults, none, errors, String, 20_000).map((each) => [...each.unexplained]);
}

const linkDown = fault("link-down", ["n2"], 1_000, 3_000);
const powerOff = fault("power-off", ["n2"], 4_000, 7_000);
const closed = { node: "n2", from: 1_024, to: 6_100, why: "Socket closed unexpectedly" };

test("an error that spans two faults needs one of them to explain it", () => {
  assert.deepEqual(unexplainedOf([linkDown, powerOff], [closed]), [[], []]);
});

test("an error that its only fault does not explain counts, once, at the first fault of its time", () => {
  const early = { ...closed, to: 2_000 };
  assert.deepEqual(unexplainedOf([linkDown, powerOff], [early]), [[early], []]);
  const elsewhere = { ...closed, node: "n1" };
  assert.deepEqual(unexplainedOf([linkDown, powerOff], [elsewhere]), [[elsewhere], []]);
});
