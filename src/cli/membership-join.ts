/** `hothot join` and `remove`: which nodes a cluster has. */

import { basename, dirname, join } from "node:path";
import type { Command } from "commander";
import { type NodePlace, requireNode, withNode, withoutNode } from "../register/membership.ts";
import type { Configuration, NodeId } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import {
  addNodePlan,
  type ClusterState,
  logPath,
  type NodePlan,
  retireNode,
  standingOf,
  startNode,
} from "./cluster-state.ts";
import { callHttp } from "./http-client.ts";
import {
  addClusterPlace,
  type ClusterPlace,
  livingNodes,
  MembershipCluster,
} from "./membership-cluster.ts";
import { rebalance } from "./membership-rebalance.ts";
import { parsePort } from "./options.ts";
import { printLine, printNote } from "./output.ts";
import { portTrouble } from "./ports.ts";
import { pause } from "./processes.ts";

interface JoinFlags extends ClusterPlace {
  readonly id?: string;
  readonly host?: string;
  readonly port?: number;
  readonly httpPort?: number;
  readonly peerPort?: number;
  readonly zone: string;
  readonly rebalance?: true;
}

const PORT_MAX = 65_535;
const READY_MS_MAX = 60_000;
const PROBE_MS_MAX = 2_000;
const LOOK_MS = 100;

/** Adds the commands `join` and `remove`. */
export function addJoinCommands(program: Command): void {
  addClusterPlace(
    program
      .command("join")
      .description("add a node to a cluster; in a cluster of hothot up it is started too")
      .option("--id <name>", "its name, such as n4")
      .option("--host <address>", "where the others and clients reach it")
      .option("--port <port>", "its RESP port", parsePort)
      .option("--http-port <port>", "its HTTP port", parsePort)
      .option("--peer-port <port>", "its port for its peers", parsePort)
      .option("--zone <name>", "nodes of one zone may fail together", ""),
  )
    .option("--rebalance", "then move its share of the shards to it, once it runs")
    .action(joinCluster);
  addClusterPlace(
    program
      .command("remove")
      .description("take a node that holds nothing any more out of a cluster")
      .argument("<node>", "its name, such as n4")
      .option("--force", "if it is gone for good: although shards are to be held by it"),
  ).action(removeNode);
}

async function joinCluster(flags: JoinFlags): Promise<void> {
  await MembershipCluster.use(flags, async (cluster) => {
    const { local } = cluster;
    const current = await cluster.read();
    const place = local === undefined ? placeOf(flags) : await localPlaceOf(flags, local, current);
    const after = await cluster.change((latest) => withNode(latest, place));
    printNote(`${place.id} is in the configuration (version ${after.version})`);
    if (local === undefined) {
      printLine(
        `Start it on its machine: hothot node --id ${place.id} --cluster ${after.clusterId} --register ${flags.register}`,
      );
      return;
    }
    await startJoined(local, place);
    printLine(`${place.id} is ready at ${place.host}:${place.respPort} and holds nothing yet.`);
  });
  if (flags.rebalance === true) {
    await rebalance({ ...flags, parallel: 1, wait: true });
    return;
  }
  printLine("Give it its share of the shards with: hothot rebalance");
}

/** @throws CliError if anything is missing. */
function placeOf(flags: JoinFlags): NodePlace {
  const { id, host, port, httpPort, peerPort, zone } = flags;
  if (
    id === undefined ||
    host === undefined ||
    port === undefined ||
    httpPort === undefined ||
    peerPort === undefined
  ) {
    throw new CliError("A node needs --id, --host, --port, --http-port and --peer-port.");
  }
  return { id, host, zone, respPort: port, httpPort, peerPort };
}

/** In a cluster of this machine what is not given follows the nodes that are there. */
async function localPlaceOf(
  flags: JoinFlags,
  local: ClusterState,
  current: Configuration,
): Promise<NodePlace> {
  if (local.bed !== undefined) {
    throw new CliError("A bed has room for the nodes only that it was made with.");
  }
  const known = current.nodes.find(({ id }) => id === flags.id);
  const host = flags.host ?? known?.host ?? current.nodes[0]?.host ?? "127.0.0.1";
  const portOf = async (
    given: number | undefined,
    port: "respPort" | "httpPort" | "peerPort",
  ): Promise<number> =>
    given ??
    known?.[port] ??
    (await freePortAfter(
      host,
      current.nodes.map((node) => node[port]),
    ));
  const place = {
    id: flags.id ?? nextId(current),
    host,
    zone: flags.zone === "" ? (known?.zone ?? "") : flags.zone,
    respPort: await portOf(flags.port, "respPort"),
    httpPort: await portOf(flags.httpPort, "httpPort"),
    peerPort: await portOf(flags.peerPort, "peerPort"),
  };
  if (known !== undefined) return place;
  for (const port of [place.respPort, place.httpPort, place.peerPort]) {
    const trouble = await portTrouble(host, port);
    if (trouble !== undefined) throw new CliError(`The port ${host}:${port} ${trouble}.`);
  }
  return place;
}

function nextId(current: Configuration): NodeId {
  const numbers = current.nodes.map(({ id }) => Number(/^n(\d+)$/.exec(id)?.[1] ?? 0));
  return `n${Math.max(0, ...numbers) + 1}`;
}

async function freePortAfter(host: string, ports: readonly number[]): Promise<number> {
  for (let port = Math.max(...ports) + 1; port <= PORT_MAX; port += 1) {
    if ((await portTrouble(host, port)) === undefined) return port;
  }
  throw new CliError(`No port of ${host} above ${Math.max(...ports)} is free; name one.`);
}

/** Starts the node as the others were started, and waits until it answers clients. @throws CliError if it does not. */
async function startJoined(local: ClusterState, place: NodePlace): Promise<void> {
  const sibling = local.nodes[0];
  if (sibling === undefined) throw new CliError(`The cluster in ${local.dir} has no node.`);
  const plan: NodePlan = { ...place, args: argsLike(sibling, place.id) };
  const state = addNodePlan(local, plan);
  if (standingOf(state, place.id) === "gone") await startNode(state, place.id);
  printNote(`${place.id} is started; its log is ${logPath(state, place.id)}`);
  const deadline = performance.now() + READY_MS_MAX;
  while (!(await isReady(place))) {
    if (standingOf(state, place.id) === "gone") {
      throw new CliError(`${place.id} has ended; see ${logPath(state, place.id)}`);
    }
    if (performance.now() > deadline) {
      throw new CliError(
        `${place.id} did not become ready within ${READY_MS_MAX / 1_000} s; see ${logPath(state, place.id)}`,
      );
    }
    await pause(LOOK_MS);
  }
}

/** The arguments of another node of the same cluster, with this one's name and, if it has one, data directory. */
function argsLike(sibling: NodePlan, id: NodeId): string[] {
  return sibling.args.map((arg, index, args) => {
    const option = args[index - 1];
    if (option === "--id") return id;
    if (option === "--data-dir" && basename(arg) === sibling.id) return join(dirname(arg), id);
    return arg;
  });
}

async function isReady({ host, httpPort: port }: NodePlace): Promise<boolean> {
  try {
    const answer = await callHttp({ host, port, path: "/readyz", timeoutMs: PROBE_MS_MAX });
    return answer.status === 200;
  } catch {
    return false;
  }
}

async function removeNode(
  id: NodeId,
  flags: ClusterPlace & { readonly force?: true },
): Promise<void> {
  await MembershipCluster.use(flags, async (cluster) => {
    const { local } = cluster;
    const current = await cluster.read();
    // A removal that was interrupted may have left its process.
    const isLeft = local?.nodes.some((node) => node.id === id) === true;
    if (!isLeft) requireNode(current, id);
    const isForced = flags.force === true;
    const living = livingNodes(await cluster.statuses(current.nodes)).has(id);
    if (living && isForced) {
      throw new CliError(
        `${id} runs, so it is not gone. Move what it holds away: hothot drain ${id}`,
      );
    }
    // Before anything is done: a node that is needed must not be stopped.
    withoutNode(current, id, { isGone: isForced });
    if (living && !isLeft) {
      throw new CliError(
        `${id} still runs. Stop it, so that its clients go elsewhere, then remove it.`,
      );
    }
    if (local !== undefined) await retireNode(local, id);
    await cluster.change((latest) => withoutNode(latest, id, { isGone: isForced }));
    printLine(`${id} is no node of the cluster any more.`);
  });
}
