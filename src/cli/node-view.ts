/** What the nodes of a cluster say of themselves over HTTP, and what can be told of those that say nothing. */

import type { Configuration } from "../replica/configuration.ts";
import type { NodeStatus } from "../replica/surface.ts";
import { CliError } from "./cli-error.ts";
import { clusterExists, readClusterState, standingOf } from "./cluster-state.ts";
import { callHttp } from "./http-client.ts";
import type { Address } from "./options.ts";
import type { ProcessStanding } from "./processes.ts";

/** The answer of a node's `GET /status`. */
export interface StatusAnswer {
  readonly status: NodeStatus;
  /** Undefined until the node has read the register. */
  readonly configuration: Configuration | undefined;
}

/** One node as seen from outside. */
export interface NodeView {
  readonly id: string;
  readonly host: string;
  readonly respPort: number;
  readonly httpPort: number;
  /** Of its process, if it is one of this machine's cluster. */
  readonly standing: ProcessStanding | undefined;
  /** What it says; undefined if it did not answer in time. */
  readonly answer: StatusAnswer | undefined;
  /** Why it did not answer. */
  readonly trouble: string | undefined;
}

const STATUS_MS_MAX = 1_500;

/**
 * Asks all nodes of a cluster at once.
 * @param where the state directory of a cluster of this machine, or any node of a cluster.
 * @throws CliError if there is no cluster, or the given node does not answer.
 */
export async function viewCluster(where: {
  readonly dir: string;
  readonly node?: Address;
}): Promise<NodeView[]> {
  if (where.node === undefined) return viewLocalCluster(where.dir);
  const { host, port } = where.node;
  let first: StatusAnswer;
  try {
    first = await askStatus(host, port);
  } catch (error) {
    throw new CliError(
      `No node answers at ${host}:${port} (${reason(error)}). It has to be a node's HTTP address.`,
      {
        cause: error,
      },
    );
  }
  if (first.configuration === undefined) {
    throw new CliError(
      `The node at ${host}:${port} has not read its cluster's configuration yet; try again.`,
    );
  }
  return Promise.all(
    first.configuration.nodes.map((node) => view({ ...node, standing: undefined })),
  );
}

/**
 * Asks one node for its status.
 * @throws Error if it does not answer in time, or something else does.
 */
export async function askStatus(host: string, port: number): Promise<StatusAnswer> {
  const answer = await callHttp({ host, port, path: "/status", timeoutMs: STATUS_MS_MAX });
  if (answer.status !== 200) throw new Error(`it answered with status ${answer.status}`);
  const value: unknown = JSON.parse(answer.body);
  if (!isStatusAnswer(value)) throw new Error("it is not a HotHot node");
  return value;
}

async function viewLocalCluster(dir: string): Promise<NodeView[]> {
  if (!clusterExists(dir)) {
    throw new CliError(
      `There is no cluster in ${dir}. Start one with: hothot up; or name a node's HTTP address with --node`,
    );
  }
  const state = readClusterState(dir);
  return Promise.all(
    state.nodes.map((node) => view({ ...node, standing: standingOf(state, node.id) })),
  );
}

async function view(node: Omit<NodeView, "answer" | "trouble">): Promise<NodeView> {
  const { id, host, respPort, httpPort, standing } = node;
  const facts = { id, host, respPort, httpPort, standing };
  if (standing === "gone" || standing === "paused") {
    return { ...facts, answer: undefined, trouble: standing === "gone" ? "not running" : "paused" };
  }
  try {
    return { ...facts, answer: await askStatus(host, httpPort), trouble: undefined };
  } catch (error) {
    return { ...facts, answer: undefined, trouble: reason(error) };
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isStatusAnswer(value: unknown): value is StatusAnswer {
  return (
    typeof value === "object" &&
    value !== null &&
    "status" in value &&
    typeof value.status === "object" &&
    value.status !== null &&
    "shards" in value.status &&
    Array.isArray(value.status.shards)
  );
}
