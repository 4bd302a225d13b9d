/** Machines that are slow, stuck or broken in part: what `hothot check` does to them, and what a cluster makes of it. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { afflictArguments } from "../../src/cli/check/afflict.ts";
import type { FaultKind } from "../../src/cli/check/fault-kinds.ts";
import { endHelper, startHelper } from "../../src/cli/helper-process.ts";
import { identifyProcess, processStanding } from "../../src/cli/processes.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { HOTHOT, lacks, startTestCluster, until } from "./harness.ts";

const noStrace = lacks("strace", "strace");

/** What these tests read of a report. */
interface Report {
  readonly acknowledgedWritesMissing: number;
  readonly faults: readonly { readonly kind: string; readonly what: string }[];
  readonly failovers: readonly unknown[];
}

test("hothot check: a node with little of the processor, or with none for a while", {
  timeout: 180_000,
}, async (t) => {
  const cluster = await startTestCluster(t);
  const check = async (kind: FaultKind): Promise<Report> => {
    const run = await cluster.hothot(
      ...["check", "--duration", "4", "--clients", "8", "--max-gap-ms", "0", "--json"],
      ...["--nemesis", kind],
    );
    assert.equal(run.status, 0, run.stdout + run.stderr);
    return JSON.parse(run.stdout);
  };
  for (const kind of ["slow-node", "stop-and-go"] as const) {
    const { faults, acknowledgedWritesMissing } = await check(kind);
    assert.equal(acknowledgedWritesMissing, 0);
    assert.ok(faults.length > 0);
    for (const fault of faults) assert.equal(fault.kind, kind);
    t.diagnostic(faults.map(({ what }) => what).join("; "));
  }
  // These nodes have no disks: whoever asks for a fault of theirs is told so, and `net` would do without.
  const none = await cluster.hothot("check", "--duration", "2", "--nemesis", "slow-disk");
  assert.equal(none.status, 2, none.stdout + none.stderr);
  assert.match(none.stderr, /slow-disk cannot be made here: the nodes have no disks/);
});

test("hothot check: a disk whose syncs are slow, never end, or fail", {
  timeout: 240_000,
  skip: noStrace,
}, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  for (const kind of ["slow-disk", "stuck-disk", "failing-disk"] as const) {
    const run = await cluster.hothot(
      ...["check", "--duration", "4", "--clients", "8", "--max-gap-ms", "0", "--json"],
      ...["--nemesis", kind],
    );
    assert.equal(run.status, 0, run.stdout + run.stderr);
    const report: Report = JSON.parse(run.stdout);
    assert.equal(report.acknowledgedWritesMissing, 0);
    assert.ok(report.faults.length > 0);
    t.diagnostic(report.faults.map(({ what }) => what).join("; "));
    // Whoever has such a disk leaves, or is removed; of one that is only slow nothing is said here.
    if (kind !== "slow-disk") assert.ok(report.failovers.length > 0, kind);
  }
});

test("a process that was stopped in turns runs on, however its helper ends", async () => {
  for (const ending of ["told", "terminated"] as const) {
    const victim = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1_000)"], {
      stdio: "ignore",
    });
    try {
      const identity = victim.pid === undefined ? undefined : identifyProcess(victim.pid);
      assert.ok(identity !== undefined);
      const turns = { kind: "in-turns", stoppedMs: 60_000, runningMs: 1 } as const;
      const helper = await startHelper(process.execPath, [
        HOTHOT,
        ...afflictArguments(identity, turns),
      ]);
      await until("it is stopped", () => processStanding(identity) === "paused");
      if (ending === "told") await endHelper(helper);
      else helper.kill("SIGTERM");
      await until("it runs again", () => processStanding(identity) === "running");
      // Though nobody has closed its input.
      await until("the helper has ended", () => helper.exitCode === 0);
    } finally {
      victim.kill("SIGKILL");
    }
  }
});
