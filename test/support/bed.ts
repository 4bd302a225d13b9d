/** Clusters in a bed, where each process has a network namespace of its own, and `hothot check` on them. */

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { bedTrouble } from "../../src/cli/bed/bed.ts";
import { BedNetwork } from "../../src/cli/bed/network.ts";
import { HOTHOT, nodeAt, startTestCluster, type TestCluster } from "../integration/harness.ts";

/** Why no bed can be made on this machine, false if one can. */
export async function lacksBed(): Promise<string | false> {
  const trouble = await bedTrouble();
  return trouble === undefined ? false : `no bed can be made here: ${trouble}`;
}

/** What these tests read of a report. */
export interface Report {
  readonly acknowledgedWritesMissing: number;
  readonly errors: readonly unknown[];
  readonly faults: readonly {
    readonly kind: string;
    readonly what: string;
    readonly gapMs: number;
    readonly errorsElsewhere: number;
  }[];
  readonly kinds: readonly unknown[];
  readonly reproduce: string;
}

/** Runs `hothot check`, which has to find that all holds. No bound on the gap: the machine may be busy. */
export async function check(
  t: TestContext,
  cluster: TestCluster,
  ...args: string[]
): Promise<Report> {
  const run = await cluster.hothot(
    "check",
    "--max-gap-ms",
    "0",
    "--clients",
    "12",
    "--json",
    ...args,
  );
  assert.equal(run.status, 0, run.stdout + run.stderr);
  const report: Report = JSON.parse(run.stdout);
  t.diagnostic(report.reproduce);
  t.diagnostic(JSON.stringify(report.kinds));
  return report;
}

/** Starts a cluster in a bed of its own; both end with the test. @param args further arguments of `hothot up`. */
export async function startBed(
  t: TestContext,
  nodes: number,
  args: readonly string[] = [],
): Promise<{ readonly cluster: TestCluster; readonly network: BedNetwork }> {
  const cluster = await startTestCluster(t, { nodes, args: ["--bed", ...args] });
  const { bed } = cluster.state;
  assert.ok(bed !== undefined);
  assert.notEqual(nodeAt(cluster.state, 0).host, nodeAt(cluster.state, 1).host);
  return { cluster, network: new BedNetwork(bed, HOTHOT) };
}
