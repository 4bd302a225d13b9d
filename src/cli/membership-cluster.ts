/** The cluster as commands of membership see it: its document in the register, and what its nodes say over HTTP. */

import type { Command } from "commander";
import { MembershipError } from "../register/membership.ts";
import { openRegister, RegisterAddressError } from "../register/open-register.ts";
import { type Register, RegisterError } from "../register/register.ts";
import type { Configuration, NodeId, NodeRecord } from "../replica/configuration.ts";
import type { NodeStatus } from "../replica/surface.ts";
import { CliError } from "./cli-error.ts";
import { type ClusterState, clusterExists, readClusterState } from "./cluster-state.ts";
import { askStatus } from "./node-view.ts";
import { DEFAULT_DIR } from "./options.ts";
import { printNote } from "./output.ts";
import { pause } from "./processes.ts";

/** Which cluster is meant: the one of a register, or the one that `hothot up` runs on this machine. */
export interface ClusterPlace {
  readonly register?: string;
  readonly dir: string;
}

/** How long one request to the register may take, ms. */
const REGISTER_MS_MAX = 2_000;
/** How long a register that does not answer is tried before a command that is done at once gives up, ms. */
const PATIENCE_MS = 20_000;
const RETRY_MS = 200;

/** Adds the options of `ClusterPlace` to a command. */
export function addClusterPlace(command: Command): Command {
  return command
    .option(
      "--register <url>",
      "address of the cluster's register, as hothot node has it (default: that of the cluster in --dir)",
    )
    .option("--dir <path>", "state directory of a cluster of hothot up", DEFAULT_DIR);
}

/** What the nodes that answer say, by name. */
export type Statuses = ReadonlyMap<NodeId, NodeStatus>;

export interface UseOptions {
  /** The command takes long anyway: it waits for a register that is away, for as long as that lasts, and says so. */
  readonly waitsForRegister?: boolean;
}

export class MembershipCluster {
  readonly #register: Register;
  readonly #url: string;
  readonly #patienceMs: number;
  #isRegisterAway = false;
  /** The cluster of `hothot up` on this machine, if it is that one. */
  readonly local: ClusterState | undefined;

  private constructor(
    place: { readonly url: string; readonly local: ClusterState | undefined },
    register: Register,
    options: UseOptions,
  ) {
    this.#url = place.url;
    this.#register = register;
    this.local = place.local;
    this.#patienceMs = options.waitsForRegister === true ? Number.POSITIVE_INFINITY : PATIENCE_MS;
  }

  /**
   * Runs something on a cluster and closes what it has opened.
   * @throws CliError if there is no such cluster, and in place of what the register and the rules of membership say.
   */
  static async use<T>(
    place: ClusterPlace,
    run: (cluster: MembershipCluster) => Promise<T>,
    options: UseOptions = {},
  ): Promise<T> {
    const cluster = MembershipCluster.#open(place, options);
    try {
      return await run(cluster);
    } catch (error) {
      if (error instanceof MembershipError) throw new CliError(error.message, { cause: error });
      throw error;
    } finally {
      await cluster.#register.close();
    }
  }

  static #open(place: ClusterPlace, options: UseOptions): MembershipCluster {
    const local =
      place.register === undefined || isRegisterOf(place.dir, place.register)
        ? readClusterState(place.dir)
        : undefined;
    const url = place.register ?? local?.witness.url ?? "";
    try {
      const register = openRegister(url, { timeoutMs: REGISTER_MS_MAX });
      return new MembershipCluster({ url, local }, register, options);
    } catch (error) {
      if (!(error instanceof RegisterAddressError)) throw error;
      throw new CliError(error.message, { cause: error });
    }
  }

  /** The newest document. @throws CliError if the register does not answer for long, or holds none of this cluster. */
  async read(): Promise<Configuration> {
    const giveUp = this.#deadline();
    for (;;) {
      try {
        const configuration = await this.#register.read();
        if (configuration === undefined) {
          throw new CliError(
            `The register at ${this.#url} holds no cluster; make one with: hothot init`,
          );
        }
        this.#isRegisterAway = false;
        return this.#checked(configuration);
      } catch (error) {
        if (!(error instanceof RegisterError)) throw error;
        if (error.code !== "unreachable") throw this.#failed(error);
        await giveUp(error);
      }
    }
  }

  /**
   * Swaps the document for another, made from the newest one, as often as somebody else was faster. Whether a swap without
   * an answer took place shows when it is made again: `edit` returns undefined where there is nothing to change any more.
   * @returns the document that holds afterwards.
   * @throws CliError as `read`, MembershipError as `edit`.
   */
  async change(
    edit: (current: Configuration) => Configuration | undefined,
  ): Promise<Configuration> {
    const giveUp = this.#deadline();
    for (;;) {
      const current = await this.read();
      const changed = edit(current);
      if (changed === undefined) return current;
      const result = await this.#swap(changed);
      if (result.outcome === "done") return changed;
      if (result.outcome === "unknown") await giveUp(result.cause);
    }
  }

  /** Asks all nodes at once. */
  async statuses(nodes: readonly NodeRecord[]): Promise<Statuses> {
    const answers = await Promise.all(
      nodes.map(async ({ id, host, httpPort }) => {
        try {
          const { status } = await askStatus(host, httpPort);
          // Another process may have the port by now.
          return status.nodeId === id ? [[id, status] as const] : [];
        } catch {
          return [];
        }
      }),
    );
    return new Map(answers.flat());
  }

  /** @returns what waits before another attempt, and throws once there have been enough. */
  #deadline(): (error: RegisterError) => Promise<void> {
    const deadline = performance.now() + this.#patienceMs;
    return async (error) => {
      if (performance.now() > deadline) throw this.#failed(error);
      if (!this.#isRegisterAway) printNote(`waiting for the register at ${this.#url}`);
      this.#isRegisterAway = true;
      await pause(RETRY_MS);
    };
  }

  async #swap(configuration: Configuration) {
    try {
      return await this.#register.swap(configuration);
    } catch (error) {
      if (error instanceof RegisterError) throw this.#failed(error);
      throw error;
    }
  }

  #checked(configuration: Configuration): Configuration {
    const { local } = this;
    if (local === undefined || local.clusterId === configuration.clusterId) return configuration;
    throw new CliError(
      `The register at ${this.#url} belongs to cluster ${configuration.clusterId}, not to ${local.clusterId} of ${local.dir}.`,
    );
  }

  #failed(error: RegisterError): CliError {
    return new CliError(
      `The register at ${this.#url} cannot be used: ${error.message}. What was changed so far holds; run the command again when it is back.`,
      { cause: error },
    );
  }
}

/**
 * Nodes that run: those that answer, and those that one of these has heard of just now, for the HTTP port of a node may be
 * closed to this machine.
 */
export function livingNodes(statuses: Statuses): ReadonlySet<NodeId> {
  const living = new Set(statuses.keys());
  for (const { peers } of statuses.values()) {
    for (const { node, connected } of peers) if (connected) living.add(node);
  }
  return living;
}

function isRegisterOf(dir: string, url: string): boolean {
  return clusterExists(dir) && readClusterState(dir).witness.url === url.replace(/\/$/, "");
}
