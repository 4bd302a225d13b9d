/** `hothot rebalance`, `drain` and `replace`: which nodes hold what, while clients work. */

import type { Command } from "commander";
import { planReplacement, requireNode } from "../register/membership.ts";
import { type Move, planRebalance } from "../register/rebalance.ts";
import type { Configuration, NodeId } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { addClusterPlace, type ClusterPlace, MembershipCluster } from "./membership-cluster.ts";
import { moveShards, printMoved } from "./membership-move.ts";
import { parseCount } from "./options.ts";
import { printLine } from "./output.ts";

interface MoveFlags extends ClusterPlace {
  readonly parallel: number;
  readonly wait: boolean;
}

/** Adds the commands `rebalance`, `drain` and `replace`. */
export function addRebalanceCommands(program: Command): void {
  addMoveOptions(
    program
      .command("rebalance")
      .description(
        "spread shards and primaries evenly over all nodes, with as few moves as can be",
      ),
  ).action(async (flags: MoveFlags) => {
    await rebalance(flags);
  });
  addMoveOptions(
    program
      .command("drain")
      .description("move everything off nodes that are to go")
      .argument("<node...>", "their names, such as n4")
      .option("--force", "give shards fewer copies if too few nodes are left for all of them"),
  ).action(async (nodes: readonly NodeId[], flags: MoveFlags & { readonly force?: true }) => {
    await drain(nodes, flags);
  });
  addMoveOptions(
    program
      .command("replace")
      .description("let a node take another's place in every shard")
      .argument("<old>", "the node that is to go, such as n2")
      .argument("<new>", "the node that takes its place, such as n4"),
  ).action(async (old: NodeId, by: NodeId, flags: MoveFlags) => {
    await replaceNode(old, by, flags);
  });
}

function addMoveOptions(command: Command): Command {
  return addClusterPlace(command)
    .option("--parallel <count>", "shards that are moved at the same time", parseCount(1, 1024), 1)
    .option("--no-wait", "ask for all of it at once, and return");
}

/** Carries out `hothot rebalance`. @throws CliError if it cannot be. */
export async function rebalance(flags: MoveFlags): Promise<void> {
  await run(flags, (current) => planRebalance(current));
}

async function drain(
  nodes: readonly NodeId[],
  flags: MoveFlags & { readonly force?: true },
): Promise<void> {
  const without = new Set(nodes);
  await run(flags, (current) => {
    for (const node of nodes) requireNode(current, node);
    checkRemaining(current, without, flags.force === true);
    return planRebalance(current, { without });
  });
  const names = nodes.join(" ");
  if (flags.wait)
    printLine(`Nothing is left on ${names}; take a node out with: hothot remove NODE`);
}

/** @throws CliError if too few nodes would be left for what the cluster has promised. */
function checkRemaining(
  current: Configuration,
  without: ReadonlySet<NodeId>,
  isForced: boolean,
): void {
  const { replicas, minInSync } = current.settings;
  const left = current.nodes.filter(({ id }) => !without.has(id)).length;
  if (left === 0) throw new CliError("No node would be left to hold anything.");
  if (left < minInSync) {
    throw new CliError(
      `${left} nodes would be left, and below ${minInSync} copies in sync the cluster refuses writes (--min-in-sync). Join another node first.`,
    );
  }
  if (left >= replicas || isForced) return;
  throw new CliError(
    `${left} nodes would be left for ${replicas} copies of each shard. Join another node first, or accept fewer copies with --force.`,
  );
}

async function replaceNode(old: NodeId, by: NodeId, flags: MoveFlags): Promise<void> {
  await run(flags, (current) => planReplacement(current, { old, by }));
  if (flags.wait)
    printLine(`${by} has the place of ${old}; take that out with: hothot remove ${old}`);
}

async function run(
  flags: MoveFlags,
  plan: (current: Configuration) => readonly Move[],
): Promise<void> {
  const { parallel, wait } = flags;
  const moved = await MembershipCluster.use(
    flags,
    (cluster) => moveShards(cluster, { plan, parallel, wait }),
    { waitsForRegister: wait },
  );
  printMoved(moved, wait);
}
