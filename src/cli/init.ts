/** `hothot init`: writes the first configuration of a cluster of several machines into its register. */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { openRegister, RegisterAddressError } from "../register/open-register.ts";
import { initialConfiguration } from "../register/placement.ts";
import { type Register, RegisterError } from "../register/register.ts";
import { type Configuration, NODES_MAX, type NodeRecord } from "../replica/configuration.ts";
import { ConfigurationError } from "../replica/parse-configuration.ts";
import { CliError } from "./cli-error.ts";
import { addClusterOptions, type ClusterFlags, settingsOf } from "./cluster-options.ts";
import { parsePort } from "./options.ts";
import { formatTable, printLine } from "./output.ts";

/** A node's name and addresses, as the first configuration has them. */
export type NodePlace = Omit<NodeRecord, "incarnation">;

interface InitOptions extends ClusterFlags {
  readonly register: string;
  readonly nodes?: readonly NodePlace[];
  readonly nodesFile?: string;
  readonly cluster?: string;
}

const PORT_MAX = 65_535;
/** How long the register may take to answer, ms. */
const REGISTER_MS_MAX = 10_000;

/** Adds the command `init`. */
export function addInitCommand(program: Command): void {
  const command = program
    .command("init")
    .description("write the first configuration of a cluster into its register")
    .requiredOption(
      "--register <url>",
      "address of the register: http://host:port (a witness), etcd://host:port,host:port[/prefix] or etcds://… (with TLS)",
    )
    .option(
      "--nodes <list>",
      "the nodes, each NAME=HOST:RESP:HTTP:PEERS[@ZONE], separated by commas",
      parseNodes,
    )
    .option(
      "--nodes-file <path>",
      "the nodes in a JSON file: a list of objects with id, host, respPort, httpPort, peerPort, and zone if any",
    )
    .option("--cluster <id>", "name of the cluster (default: a random one)");
  addClusterOptions(command, NODES_MAX).action(async (options: InitOptions) => {
    const configuration = designCluster(options);
    await writeFirst(options.register, configuration);
    for (const line of summaryOf(configuration, options.register)) printLine(line);
  });
}

/**
 * Reads nodes from the command line.
 * @param text such as `n1=10.0.0.1:7001:8001:17001@east,n2=[::1]:7002:8002:17002`.
 */
export function parseNodes(text: string): NodePlace[] {
  return text.split(",").map((part) => {
    const match = /^([^=]+)=(\[[^\]]+\]|[^:[\]]+):(\d+):(\d+):(\d+)(?:@(.*))?$/.exec(part.trim());
    const [, id, host, resp, http, peers, zone = ""] = match ?? [];
    if (id === undefined || host === undefined) {
      throw new InvalidArgumentError(
        `"${part}" is not NAME=HOST:RESP:HTTP:PEERS[@ZONE], such as n1=10.0.0.1:7001:8001:17001@east.`,
      );
    }
    return {
      id,
      host: host.replace(/^\[|\]$/g, ""),
      zone,
      respPort: parsePort(resp ?? ""),
      httpPort: parsePort(http ?? ""),
      peerPort: parsePort(peers ?? ""),
    };
  });
}

/** @throws CliError if the options do not go together. */
function designCluster(options: InitOptions): Configuration {
  if ((options.nodes === undefined) === (options.nodesFile === undefined)) {
    throw new CliError("Give the nodes with either --nodes or --nodes-file.");
  }
  const nodes = options.nodes ?? readNodesFile(options.nodesFile ?? "");
  checkPorts(nodes);
  const settings = settingsOf(options, nodes.length);
  const clusterId = options.cluster ?? randomBytes(8).toString("hex");
  try {
    return initialConfiguration({ clusterId, nodes, settings });
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new CliError(`No cluster can be made of that: ${error.message}`, { cause: error });
  }
}

function readNodesFile(path: string): NodePlace[] {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (!Array.isArray(value)) throw new TypeError("it has to be a list of nodes");
    // What each must have is checked with the whole configuration.
    return value.map((node: unknown) => ({ zone: "", ...(node as object) }) as NodePlace);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`Cannot read the nodes from ${path}: ${why}`, { cause: error });
  }
}

/** Ports that nobody could connect to, and two listeners on one address, are slips of the pen. */
function checkPorts(nodes: readonly NodePlace[]): void {
  const owners = new Map<string, string>();
  for (const { id, host, respPort, httpPort, peerPort } of nodes) {
    for (const port of [respPort, httpPort, peerPort]) {
      if (!Number.isInteger(port) || port < 1 || port > PORT_MAX) {
        throw new CliError(`The ports of ${id} have to be from 1 to ${PORT_MAX}.`);
      }
      const address = `${host}:${port}`;
      const owner = owners.get(address);
      if (owner !== undefined) {
        throw new CliError(
          owner === id
            ? `The node ${id} has ${address} twice.`
            : `The nodes ${owner} and ${id} both have ${address}.`,
        );
      }
      owners.set(address, id);
    }
  }
}

/** @throws CliError if the register holds a configuration, or cannot be reached. */
async function writeFirst(url: string, configuration: Configuration): Promise<void> {
  const register = open(url);
  try {
    // Read first: what is there has to be named, and is not always a document that a swap could compare itself with.
    const current = await register.read();
    if (current !== undefined) refuse(url, current);
    const result = await register.swap(configuration);
    if (result.outcome === "done") return;
    if (result.outcome === "unknown") throw result.cause;
    if (result.current !== undefined) refuse(url, result.current);
    throw new CliError(`The register at ${url} did not take the configuration.`);
  } catch (error) {
    if (!(error instanceof RegisterError)) throw error;
    throw new CliError(`The register at ${url} cannot be used: ${error.message}`, { cause: error });
  } finally {
    await register.close();
  }
}

function open(url: string): Register {
  try {
    return openRegister(url, { timeoutMs: REGISTER_MS_MAX });
  } catch (error) {
    if (!(error instanceof RegisterAddressError)) throw error;
    throw new CliError(error.message, { cause: error });
  }
}

function refuse(url: string, current: Configuration): never {
  const { clusterId, version, nodes } = current;
  const names = nodes.map((node) => node.id).join(", ");
  throw new CliError(
    `The register at ${url} already holds the configuration of cluster ${clusterId} (version ${version}, nodes ${names}). ` +
      "It was left as it is; choose another register or, in etcd, another prefix.",
  );
}

function summaryOf(configuration: Configuration, url: string): string[] {
  const { clusterId, nodes, settings } = configuration;
  const rows = nodes.map((node) => [
    node.id,
    `${node.host}:${node.respPort}`,
    `http://${node.host}:${node.httpPort}`,
    `${node.host}:${node.peerPort}`,
    node.zone,
  ]);
  const first = nodes[0]?.id ?? "";
  return [
    `Cluster ${clusterId}: ${settings.shardCount} shards, ${settings.replicas} copies of each.`,
    "",
    ...formatTable(["node", "RESP", "HTTP", "peers", "zone"], rows),
    "",
    `Start each node on its machine, such as: hothot node --id ${first} --cluster ${clusterId} --register ${url}`,
  ];
}
