/** Which cluster is to be backed up or filled, however it is named. */

import type { Command } from "commander";
import { openRegister, RegisterAddressError } from "../register/open-register.ts";
import { RegisterError } from "../register/register.ts";
import { CliError } from "./cli-error.ts";
import { type NodeView, viewCluster } from "./node-view.ts";
import { type Address, DEFAULT_DIR, parseAddress } from "./options.ts";

/** A cluster of this machine, or any node of one, or its register. */
export interface BackupPlace {
  readonly dir: string;
  readonly node?: Address;
  readonly register?: string;
}

const REGISTER_MS_MAX = 2_000;

/** Adds the options of `BackupPlace` to a command. */
export function addBackupPlace(command: Command): Command {
  return command
    .option("--dir <path>", "state directory of a cluster of this machine", DEFAULT_DIR)
    .option("--node <host:port>", "HTTP address of any node of a cluster elsewhere", parseAddress)
    .option("--register <url>", "address of the cluster's register, as hothot node has it");
}

/**
 * Asks all nodes of the cluster at once.
 * @param known what an earlier call has returned: any of these nodes can tell the others, should the named one have died.
 * @throws CliError if there is no such cluster, or nobody to ask.
 */
export async function viewBackupCluster(
  place: BackupPlace,
  known: readonly NodeView[] = [],
): Promise<NodeView[]> {
  try {
    if (place.register === undefined) return await viewCluster(place);
    return await viewAny(place.dir, await nodesOf(place.register));
  } catch (error) {
    if (!(error instanceof CliError) || known.length === 0) throw error;
    return viewAny(place.dir, known);
  }
}

async function viewAny(
  dir: string,
  nodes: readonly Pick<NodeView, "host" | "httpPort">[],
): Promise<NodeView[]> {
  for (const { host, httpPort: port } of nodes) {
    try {
      return await viewCluster({ dir, node: { host, port } });
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
    }
  }
  throw new CliError(`None of the cluster's ${nodes.length} nodes answers.`);
}

async function nodesOf(url: string) {
  try {
    const register = openRegister(url, { timeoutMs: REGISTER_MS_MAX });
    try {
      const configuration = await register.read();
      if (configuration !== undefined) return configuration.nodes;
    } finally {
      await register.close();
    }
  } catch (error) {
    if (!(error instanceof RegisterAddressError || error instanceof RegisterError)) throw error;
    throw new CliError(`The register at ${url} cannot be used: ${error.message}`, { cause: error });
  }
  throw new CliError(`The register at ${url} holds no cluster.`);
}
