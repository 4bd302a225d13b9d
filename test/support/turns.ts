/**
 * Kills and restarts the nodes of a cluster in turn under steady load, and reports what that cost: the clients of the survivors
 * must notice nothing, nothing acknowledged may be lost, and the cluster has to become whole by itself each time.
 */

import { killNode, startNode } from "../../src/cli/cluster-state.ts";
import type { TestCluster } from "../integration/harness.ts";
import { nodeAt, sleep, until } from "../integration/harness.ts";
import { quantile, RegisterLoad } from "./register-load.ts";

export interface TurnsOptions {
  readonly keys: number;
  readonly connections: number;
  /** Part of the commands that read, 0 to 1. */
  readonly readShare: number;
  /** Commands a second of all connections together. */
  readonly rate: number;
  /** Rounds in which each node is killed once. */
  readonly rounds: number;
  /** How long a node stays dead, and how long the latency before each kill is measured, ms. */
  readonly downMs: number;
  readonly calmMs: number;
  /** Bytes that are appended to each value. */
  readonly padding?: number;
  readonly report: (line: string) => void;
}

/** One kill and restart. Times in ms. */
export interface Turn {
  readonly node: string;
  readonly p99Before: number;
  readonly p99During: number;
  /** The slowest command at the survivors from the kill to the restart. */
  readonly slowestAfterKill: number;
  /** From the start of the node's process until every shard has all its copies in sync. */
  readonly wholeAfter: number;
}

export interface TurnsResult {
  readonly turns: readonly Turn[];
  /** Errors at survivors and answers that are not linearizable. */
  readonly troubles: readonly string[];
  /** What is lost or different at any node in the end. */
  readonly wrong: readonly string[];
  readonly answered: number;
  /** Commands at dying nodes that were refused or lost. */
  readonly unknown: number;
}

/** How long it may take to become whole again, ms. */
const WHOLE_MS_MAX = 180_000;

/** In which this process has gone on after it was forked, ms. */
const FORK_MS = 100;

/** In which the engines compile what is hot, and connections are made, ms. */
const WARM_UP_MS = 2_000;

/** Runs the whole: fill, then rounds, then a reading of every key at every node. */
export async function takeTurns(cluster: TestCluster, options: TurnsOptions): Promise<TurnsResult> {
  const { report } = options;
  const indexes = [...cluster.state.nodes.keys()];
  const ports = cluster.state.nodes.map((node) => node.respPort);
  const load = new RegisterLoad({ ...options, ports });
  const filledFrom = performance.now();
  await load.fill();
  report(`${options.keys} keys filled in ${seconds(performance.now() - filledFrom)}`);
  load.start();
  await sleep(WARM_UP_MS);
  const turns: Turn[] = [];
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      for (const index of indexes) {
        const turn = await takeTurn(cluster, load, index, options);
        turns.push(turn);
        report(describeTurn(turn));
      }
    }
  } finally {
    await load.stop();
  }
  const wrong = await load.verify(indexes);
  return { turns, troubles: load.troubles, wrong, ...load.counts };
}

/** Kills one node, restarts it, and waits until all is whole. */
export async function takeTurn(
  cluster: TestCluster,
  load: RegisterLoad,
  index: number,
  options: Pick<TurnsOptions, "downMs" | "calmMs">,
): Promise<Turn> {
  const { id } = nodeAt(cluster.state, index);
  load.takeLatencies();
  await sleep(options.calmMs);
  const before = load.takeLatencies();
  load.announce(index);
  await killNode(cluster.state, id);
  await sleep(options.downMs);
  const afterKill = load.takeLatencies();
  const startedAt = performance.now();
  await startNode(cluster.state, id);
  // To fork a process as large as this one stops it for tens of ms, which is no matter of the cluster.
  await sleep(FORK_MS);
  load.takeLatencies();
  await untilWhole(cluster);
  const wholeAfter = performance.now() - startedAt;
  const during = load.takeLatencies();
  load.welcome(index);
  return {
    node: id,
    p99Before: quantile(before, 0.99),
    p99During: quantile(during, 0.99),
    slowestAfterKill: quantile(afterKill, 1),
    wholeAfter,
  };
}

/** Waits until every node is ready and every shard has all its copies in sync. */
export async function untilWhole(cluster: TestCluster): Promise<void> {
  await until(
    "the cluster is whole",
    async () => {
      for (const index of cluster.state.nodes.keys()) {
        const { status, configuration } = await cluster.status(index);
        if (!status.isReady) return false;
        const isWhole = status.shards.every(
          (shard) => shard.inSync.length === configuration?.shards[shard.shard]?.replicas.length,
        );
        if (!isWhole) return false;
      }
      return true;
    },
    WHOLE_MS_MAX,
  );
}

/** One line for people. */
export function describeTurn(turn: Turn): string {
  const { node, p99Before, p99During, slowestAfterKill, wholeAfter } = turn;
  const ratio = p99During / p99Before;
  return (
    `${node}: p99 ${p99Before.toFixed(1)} ms before, ${p99During.toFixed(1)} ms while it catches up (${ratio.toFixed(1)} times); ` +
    `slowest after the kill ${slowestAfterKill.toFixed(0)} ms; whole ${seconds(wholeAfter)} after its start`
  );
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
