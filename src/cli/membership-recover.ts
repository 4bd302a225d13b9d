/**
 * `hothot recover`: lets shards go on of which no in-sync copy is left. What it may cost is told first, because nothing brings
 * it back. And `hothot copies`: when full copies may be made.
 */

import { createInterface } from "node:readline/promises";
import { type Command, InvalidArgumentError } from "commander";
import { requireNode } from "../register/membership.ts";
import type { Configuration, NodeId, NodeRecord } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { callHttp } from "./http-client.ts";
import {
  addClusterPlace,
  type ClusterPlace,
  livingNodes,
  MembershipCluster,
  type Statuses,
} from "./membership-cluster.ts";
import { formatTable, printLine, printNote } from "./output.ts";
import { pause } from "./processes.ts";

const ANSWER_MS_MAX = 3_000;
const RECOVERY_MS_MAX = 60_000;
const LOOK_MS = 200;
const HOLD_MS_MAX = 7 * 24 * 3_600_000;

interface RecoverFlags extends ClusterPlace {
  readonly lost: readonly NodeId[];
  readonly yes?: true;
}

interface CopiesFlags extends ClusterPlace {
  readonly hold?: number;
  readonly resume?: true;
}

/** Adds the commands `recover` and `copies`. */
export function addRecoverCommands(program: Command): void {
  addClusterPlace(
    program
      .command("recover")
      .description(
        "declare nodes gone for good, with their disks, so that shards that wait for them go on without",
      )
      .requiredOption("--lost <node...>", "their names, such as n2")
      .option("--yes", "do not ask before it is done"),
  ).action(recover);
  addClusterPlace(
    program
      .command("copies")
      .description(
        "hold back full copies of shards to nodes that return or join, or let them go on",
      )
      .option("--hold <time>", "begin none for so long, such as 30s, 10m or 2h", parseDuration)
      .option("--resume", "let them begin again"),
  ).action(holdCopies);
}

async function recover(flags: RecoverFlags): Promise<void> {
  await MembershipCluster.use(flags, async (cluster) => {
    const current = await cluster.read();
    for (const node of flags.lost) requireNode(current, node);
    const statuses = await cluster.statuses(current.nodes);
    refuseLiving(flags.lost, statuses);
    const stuck = stuckShards(current, statuses);
    if (stuck.length === 0) {
      printLine("Every shard has an in-sync copy; there is nothing to recover.");
      printLine(`Take a lost node out with: hothot drain NODE, then hothot remove NODE`);
      return;
    }
    for (const line of describeLoss(current, statuses, { stuck, lost: flags.lost }))
      printLine(line);
    if (flags.yes !== true) await confirm(flags.lost);
    await declareLost(current.nodes, flags.lost);
    await untilGoingOn(cluster, stuck);
  });
}

/** @throws CliError if one of the nodes that are to be lost is there. */
function refuseLiving(lost: readonly NodeId[], statuses: Statuses): void {
  const living = livingNodes(statuses);
  const here = lost.filter((node) => living.has(node));
  if (here.length > 0) {
    throw new CliError(
      `${here.join(", ")} runs, so it is not lost. If its data is not to be trusted, stop it first.`,
    );
  }
  if (statuses.size === 0) throw new CliError("No node answers; start those that are left first.");
}

/** Numbers of the shards that no node leads, and that wait for nodes to tell what they hold. */
export function stuckShards(current: Configuration, statuses: Statuses): readonly number[] {
  return current.shards.flatMap(({ id }) => {
    const views = [...statuses.values()].flatMap(({ shards }) =>
      shards.filter(({ shard }) => shard === id),
    );
    const isLed = views.some(({ role, serves }) => role === "primary" && serves);
    return !isLed && views.some(({ waitsFor }) => waitsFor.length > 0) ? [id] : [];
  });
}

/** What is at stake, shard by shard. */
export function describeLoss(
  current: Configuration,
  statuses: Statuses,
  options: { readonly stuck: readonly number[]; readonly lost: readonly NodeId[] },
): string[] {
  const rows = options.stuck.map((id) => {
    const shard = current.shards[id];
    const holds = (shard?.replicas ?? []).map((node) => {
      if (options.lost.includes(node)) return `${node}: lost`;
      const held = statuses.get(node)?.shards.find((each) => each.shard === id)?.holds;
      if (!statuses.has(node)) return `${node}: does not answer`;
      return held === undefined ? `${node}: nothing` : `${node}: epoch ${held.epoch}, ${held.seq}`;
    });
    const inSync = shard?.inSync.map(({ node }) => node) ?? [];
    const best = bestHolder(statuses, id, options.lost);
    const isWhole = best !== undefined && inSync.includes(best) && !isAsync(current);
    const risk =
      best === undefined
        ? "ALL OF IT"
        : isWhole
          ? "nothing that was answered"
          : "its newest writes";
    return [String(id), inSync.join(","), holds.join("; "), best ?? "-", risk];
  });
  const { durability } = current.settings;
  return [
    `${options.lost.join(", ")} would be given up for good, with what only ${options.lost.length === 1 ? "it" : "they"} had.`,
    `Durability is ${durability}: ${DURABILITY_MEANINGS[durability]}`,
    "",
    ...formatTable(
      ["shard", "last in sync", "who holds what (epoch, seq)", "goes on from", "may be missing"],
      rows,
    ),
    "",
  ];
}

const DURABILITY_MEANINGS = {
  fsync: "an in-sync copy that is left has every write that was answered.",
  async:
    "the copy that has most may lack what was answered in the last flush interval before the end.",
  none: "copies of nodes that were restarted are empty.",
} as const;

function isAsync(current: Configuration): boolean {
  return current.settings.durability !== "fsync" || current.settings.replication === "async";
}

/** The node from which the shard would go on: the one that holds most. */
function bestHolder(statuses: Statuses, id: number, lost: readonly NodeId[]): NodeId | undefined {
  const offers = [...statuses]
    .filter(([node]) => !lost.includes(node))
    .flatMap(([node, { shards }]) => {
      const holds = shards.find(({ shard }) => shard === id)?.holds;
      return holds === undefined || holds.seq === 0 ? [] : [{ node, ...holds }];
    })
    .sort((a, b) => b.epoch - a.epoch || b.seq - a.seq);
  return offers[0]?.node;
}

/** @throws CliError unless the person at the terminal says yes. */
async function confirm(lost: readonly NodeId[]): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new CliError("Nothing was done. There is nobody to ask; say --yes if it is to be done.");
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`Type ${lost.join(" ")} to do it: `);
    if (answer.trim() !== lost.join(" ")) throw new CliError("Nothing was done.");
  } finally {
    terminal.close();
  }
}

/** Tells every node that answers. @throws CliError if one refuses or none answers. */
async function declareLost(nodes: readonly NodeRecord[], lost: readonly NodeId[]): Promise<void> {
  const told = await postToAll(
    nodes.filter(({ id }) => !lost.includes(id)),
    "/recover",
    { lost },
  );
  printNote(`told ${told.join(", ")}`);
}

async function untilGoingOn(cluster: MembershipCluster, stuck: readonly number[]): Promise<void> {
  const deadline = performance.now() + RECOVERY_MS_MAX;
  for (;;) {
    const current = await cluster.read();
    const statuses = await cluster.statuses(current.nodes);
    const waiting = stuck.filter((id) => !isServed(statuses, id));
    if (waiting.length === 0) {
      printLine(`${stuck.length} ${stuck.length === 1 ? "shard goes" : "shards go"} on.`);
      return;
    }
    if (performance.now() > deadline) {
      const silent = current.nodes.filter(({ id }) => !statuses.has(id)).map(({ id }) => id);
      throw new CliError(
        `Shards ${waiting.join(", ")} do not go on yet. ` +
          (silent.length > 0
            ? `${silent.join(", ")} did not answer: start them, or name them with --lost too.`
            : "See: hothot status"),
      );
    }
    await pause(LOOK_MS);
  }
}

function isServed(statuses: Statuses, id: number): boolean {
  return [...statuses.values()].some(({ shards }) =>
    shards.some(({ shard, role, serves }) => shard === id && role === "primary" && serves),
  );
}

async function holdCopies(flags: CopiesFlags): Promise<void> {
  if ((flags.hold === undefined) === (flags.resume === undefined)) {
    throw new CliError("Say either --hold TIME or --resume.");
  }
  const holdMs = flags.hold ?? 0;
  await MembershipCluster.use(flags, async (cluster) => {
    const { nodes } = await cluster.read();
    const told = await postToAll(nodes, "/copies", { holdMs });
    const silent = nodes.filter(({ id }) => !told.includes(id)).map(({ id }) => id);
    const until = new Date(Date.now() + holdMs).toISOString();
    printLine(
      holdMs > 0
        ? `${told.join(", ")} will begin no full copy until ${until}. A node that starts anew does not know of it.`
        : `${told.join(", ")} will make full copies again.`,
    );
    if (silent.length > 0) throw new CliError(`These nodes did not answer: ${silent.join(", ")}`);
  });
}

/**
 * Sends the same request to all nodes that answer.
 * @returns which these were.
 * @throws CliError if one refuses, or none answers.
 */
async function postToAll(
  nodes: readonly NodeRecord[],
  path: string,
  body: unknown,
): Promise<readonly NodeId[]> {
  const answers = await Promise.all(
    nodes.map(async ({ id, host, httpPort: port }) => {
      try {
        const answer = await callHttp({
          ...{ host, port, path, body },
          method: "POST",
          timeoutMs: ANSWER_MS_MAX,
        });
        return [{ id, answer }];
      } catch {
        return [];
      }
    }),
  );
  for (const { id, answer } of answers.flat()) {
    if (answer.status >= 300) throw new CliError(`${id} refuses: ${answer.body}`);
  }
  if (answers.flat().length === 0) throw new CliError("No node answers.");
  return answers.flat().map(({ id }) => id);
}

/** Reads a time such as `90s`, `10m` or `2h`. @returns milliseconds. */
export function parseDuration(text: string): number {
  const [, number = "", unit = ""] = /^(\d+)(ms|s|m|h)$/.exec(text) ?? [];
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN;
  const ms = Number(number) * factor;
  if (ms >= 1 && ms <= HOLD_MS_MAX) return ms;
  throw new InvalidArgumentError("It has to be a time such as 30s, 10m or 2h, at most 168h.");
}
