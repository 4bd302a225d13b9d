/** `hothot split`: divides shards in two, so that more nodes can share the work, while clients work. */

import type { Command } from "commander";
import { type Configuration, SHARDS_MAX, type ShardRecord } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { callHttp } from "./http-client.ts";
import { addClusterPlace, type ClusterPlace, MembershipCluster } from "./membership-cluster.ts";
import { parseCount } from "./options.ts";
import { printLine, printNote } from "./output.ts";
import { pause } from "./processes.ts";

/** How long one division may take, ms; most of it would be waiting for a copy of the shard that is under way. */
const SPLIT_MS_MAX = 60_000;
/** A node gives up on a division after some heartbeats; then it can be asked again. */
const ASK_AGAIN_MS = 500;
const LOOK_MS = 50;
const ANSWER_MS_MAX = 3_000;

interface SplitFlags extends ClusterPlace {
  readonly shards?: number;
}

/** Adds the command `split`. */
export function addSplitCommand(program: Command): void {
  addClusterPlace(
    program
      .command("split")
      .description("divide a shard in two, or as many as it takes for a number of shards")
      .argument("[shard]", "its number", parseCount(0, SHARDS_MAX))
      .argument("[slot]", "the new shard's first slot (default: the middle)", parseCount(1, 16_383))
      .option(
        "--shards <count>",
        "divide the largest shards until there are so many",
        parseCount(2, SHARDS_MAX),
      ),
  ).action(async (shard: number | undefined, slot: number | undefined, flags: SplitFlags) => {
    if ((shard === undefined) === (flags.shards === undefined)) {
      throw new CliError("Name a shard, or how many there shall be with --shards.");
    }
    await MembershipCluster.use(
      flags,
      async (cluster) => {
        if (shard !== undefined) await splitOne(cluster, shard, slot);
        else await splitUntil(cluster, flags.shards ?? 0);
      },
      { waitsForRegister: true },
    );
    printLine("To spread the primaries over the nodes: hothot rebalance");
  });
}

/** @throws CliError if the cluster cannot have so many. */
async function splitUntil(cluster: MembershipCluster, count: number): Promise<void> {
  for (;;) {
    const { shards } = await cluster.read();
    if (shards.length >= count) {
      printLine(`There are ${shards.length} shards.`);
      return;
    }
    const [largest] = [...shards].sort((a, b) => slotsOf(b) - slotsOf(a) || a.id - b.id);
    if (largest === undefined) throw new CliError("The cluster has no shard.");
    await splitOne(cluster, largest.id, undefined);
  }
}

/**
 * Asks the shard's primary to divide it, and waits until that is done.
 * @throws CliError if it cannot be, or is not done in time.
 */
async function splitOne(
  cluster: MembershipCluster,
  shard: number,
  slot: number | undefined,
): Promise<void> {
  const before = await cluster.read();
  const record = recordOf(before, shard);
  const at = slot ?? Math.ceil((record.firstSlot + record.lastSlot) / 2);
  check(before, record, at);
  const deadline = performance.now() + SPLIT_MS_MAX;
  let why = "";
  let askedAt = Number.NEGATIVE_INFINITY;
  while (performance.now() < deadline) {
    const current = await cluster.read();
    const now = recordOf(current, shard);
    if (now.lastSlot < record.lastSlot) {
      printDone(current, now);
      return;
    }
    if (performance.now() - askedAt > ASK_AGAIN_MS) {
      askedAt = performance.now();
      // One that was asked before and comes late cannot come twice: the slot is outside of the shard then.
      const refusal = await ask(current, now, at);
      if (refusal !== undefined && refusal !== why) printNote(refusal);
      why = refusal ?? why;
    }
    await pause(LOOK_MS);
  }
  throw new CliError(
    `Shard ${shard} is not divided after ${SPLIT_MS_MAX / 1_000} s${why === "" ? "" : `: ${why}`}. See: hothot status`,
  );
}

function recordOf({ shards }: Configuration, shard: number): ShardRecord {
  const record = shards[shard];
  if (record === undefined) throw new CliError(`There is no shard ${shard}; see: hothot status`);
  return record;
}

function check({ shards }: Configuration, record: ShardRecord, at: number): void {
  const { id, firstSlot, lastSlot, epoch } = record;
  if (epoch === 0) {
    throw new CliError("The cluster is not formed yet; it is once each of its nodes was started.");
  }
  if (firstSlot === lastSlot) throw new CliError(`Shard ${id} has one slot only.`);
  if (at <= firstSlot || at > lastSlot) {
    throw new CliError(
      `Shard ${id} can be divided at a slot from ${firstSlot + 1} to ${lastSlot}.`,
    );
  }
  if (shards.length >= SHARDS_MAX) {
    throw new CliError(`There are ${SHARDS_MAX} shards, and cannot be more.`);
  }
}

/** @returns why it cannot be now, or undefined. */
async function ask(
  { nodes }: Configuration,
  { id, primary }: ShardRecord,
  at: number,
): Promise<string | undefined> {
  const node = nodes.find((each) => each.id === primary);
  if (node === undefined) return `shard ${id} has no primary`;
  try {
    const answer = await callHttp({
      host: node.host,
      port: node.httpPort,
      method: "POST",
      path: "/split",
      body: { shard: id, at },
      timeoutMs: ANSWER_MS_MAX,
    });
    return answer.status < 300 ? undefined : `${primary} refuses: ${answer.body}`;
  } catch (error) {
    return `${primary} does not answer: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function printDone({ shards }: Configuration, { id, firstSlot, lastSlot }: ShardRecord): void {
  const added = shards.find((each) => each.firstSlot === lastSlot + 1);
  if (added === undefined) return;
  printLine(
    `Shard ${id} has the slots ${firstSlot} to ${lastSlot}, the new shard ${added.id} has ${added.firstSlot} to ${added.lastSlot}.`,
  );
}

function slotsOf({ firstSlot, lastSlot }: ShardRecord): number {
  return lastSlot - firstSlot + 1;
}
