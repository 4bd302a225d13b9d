/** Takes the power from all processes of a cluster at once, gives it back, and compares what is there with what was promised. */

import { killNode, processNames, startNode } from "../../src/cli/cluster-state.ts";
import { sleep, type TestCluster } from "../integration/harness.ts";
import { untilWhole } from "./turns.ts";
import type { Findings, WriteLoad } from "./write-load.ts";

export interface PowerLossOptions {
  readonly rounds: number;
  /** How long is written before each loss of power, ms. */
  readonly writeMs: number;
  readonly report: (line: string) => void;
}

/** One loss of power. */
export interface PowerLoss extends Findings {
  /** Writes acknowledged since the loss before. */
  readonly acknowledged: number;
  /** From the start of the processes until every shard has all its copies in sync, ms. */
  readonly wholeAfterMs: number;
}

/** Kills all processes of a cluster, the witness too, within a moment. They stay down. @returns when, monotonic ms. */
export async function cutPower(cluster: TestCluster): Promise<number> {
  // Each sends its signal before it begins to wait.
  const ends = processNames(cluster.state).map((id) => killNode(cluster.state, id));
  const cutMs = performance.now();
  await Promise.all(ends);
  return cutMs;
}

/** Loses the power again and again under write load. */
export async function losePower(
  cluster: TestCluster,
  load: WriteLoad,
  options: PowerLossOptions,
): Promise<readonly PowerLoss[]> {
  const losses: PowerLoss[] = [];
  for (let round = 1; round <= options.rounds; round += 1) {
    const before = load.answered;
    load.start();
    await sleep(options.writeMs);
    const cutMs = await cutPower(cluster);
    await load.stop();
    const acknowledged = load.answered - before;
    const startedMs = performance.now();
    for (const id of processNames(cluster.state)) await startNode(cluster.state, id);
    await untilWhole(cluster);
    const wholeAfterMs = performance.now() - startedMs;
    const findings = await load.judge(cutMs);
    const loss = { ...findings, acknowledged, wholeAfterMs };
    losses.push(loss);
    options.report(`${round}: ${describeLoss(loss)}`);
    for (const line of loss.wrong) options.report(`  ${line}`);
  }
  return losses;
}

/** One line for people. */
function describeLoss({ acknowledged, lost, oldestLostMs, wholeAfterMs }: PowerLoss): string {
  const what =
    lost === 0
      ? "none lost"
      : `${lost} lost, the oldest acknowledged ${Math.round(oldestLostMs)} ms before the end`;
  const whole = (wholeAfterMs / 1_000).toFixed(1);
  return `${acknowledged} writes acknowledged, ${what}; whole ${whole} s after the start`;
}
