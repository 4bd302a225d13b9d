import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeId, Settings, ShardRecord } from "./configuration.ts";
import { MemberHistory } from "./member-history.ts";

const LEASE_MS = 300;

function recordOf(epoch: number, inSync: readonly NodeId[]): ShardRecord {
  return {
    id: 0,
    firstSlot: 0,
    lastSlot: 16_383,
    replicas: ["a", "b"],
    epoch,
    primary: "a",
    inSync: inSync.map((node) => ({ node, incarnation: 1, since: 0 })),
  };
}

function historyAt(): { readonly history: MemberHistory; readonly pass: (ms: number) => void } {
  const host = { now: { monoMs: 1_000, wallMs: 0 }, settings: { leaseMs: LEASE_MS } as Settings };
  const pass = (ms: number): void => {
    host.now = { monoMs: host.now.monoMs + ms, wallMs: 0 };
  };
  return { history: new MemberHistory(host), pass };
}

const both = recordOf(1, ["a", "b"]);
const alone = recordOf(2, ["a"]);

/** How long `b` has to stay away, to a millisecond. */
function absenceMs(history: MemberHistory, pass: (ms: number) => void): number {
  let ms = 0;
  while (!history.mayReturn(0, "b")) {
    pass(1);
    ms += 1;
  }
  return ms;
}

test("one that was never removed may be promoted at once", () => {
  assert.equal(historyAt().history.mayReturn(0, "b"), true);
});

test("each removal soon after a promotion doubles the absence, up to half a minute", () => {
  const { history, pass } = historyAt();
  const absences: number[] = [];
  for (let removal = 0; removal < 9; removal += 1) {
    history.epochInstalled(both, alone, ["b"]);
    absences.push(absenceMs(history, pass));
    history.epochInstalled(alone, both, []);
  }
  assert.deepEqual(
    absences,
    [1, 2, 4, 8, 16, 32, 64, 100, 100].map((leases) => leases * LEASE_MS),
  );
});

test("who stayed for ten leases is removed as if for the first time, and only in that shard", () => {
  const { history, pass } = historyAt();
  for (let removal = 0; removal < 3; removal += 1) {
    history.epochInstalled(both, alone, ["b"]);
    history.epochInstalled(alone, both, []);
  }
  assert.equal(history.mayReturn(1, "b"), true);
  pass(10 * LEASE_MS + 1);
  history.epochInstalled(both, alone, ["b"]);
  assert.equal(absenceMs(history, pass), LEASE_MS);
});

test("a suspicion is kept from its first moment until it is taken back, or the next epoch", () => {
  const { history, pass } = historyAt();
  history.suspect(0, "b", 400);
  pass(50);
  assert.deepEqual(history.suspected(0, "b"), { atMs: 1_000, silentMs: 400 });
  assert.equal(history.suspected(1, "b"), undefined);
  history.acquit(0, "b");
  assert.equal(history.suspected(0, "b"), undefined);
  history.suspect(0, "b", 450);
  history.epochInstalled(both, alone, ["b"]);
  assert.equal(history.suspected(0, "b"), undefined);
});

test("how long a member is in sync counts from its promotion", () => {
  const { history, pass } = historyAt();
  assert.equal(history.inSyncSinceMs(0, "b"), Number.NEGATIVE_INFINITY);
  pass(10);
  history.epochInstalled(alone, both, []);
  pass(10);
  history.epochInstalled(both, recordOf(3, ["a", "b"]), []);
  assert.equal(history.inSyncSinceMs(0, "b"), 1_010);
});
