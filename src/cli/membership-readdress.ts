/** `hothot readdress`: a node that is at other addresses from its next start on. Whose data it has is a matter of its name. */

import type { Command } from "commander";
import { type NodePlace, requireNode, withAddresses } from "../register/membership.ts";
import type { Configuration } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { moveNodePlan, standingOf } from "./cluster-state.ts";
import {
  addClusterPlace,
  type ClusterPlace,
  livingNodes,
  MembershipCluster,
} from "./membership-cluster.ts";
import { parsePort } from "./options.ts";
import { printLine } from "./output.ts";

interface ReaddressFlags extends ClusterPlace {
  readonly host?: string;
  readonly port?: number;
  readonly httpPort?: number;
  readonly peerPort?: number;
  readonly zone?: string;
}

/** Adds the command `readdress`. */
export function addReaddressCommand(program: Command): void {
  addClusterPlace(
    program
      .command("readdress")
      .description("change the addresses of a node that is down; what is not given stays")
      .argument("<node>", "its name, such as n2")
      .option("--host <address>", "where the others and clients reach it")
      .option("--port <port>", "its RESP port", parsePort)
      .option("--http-port <port>", "its HTTP port", parsePort)
      .option("--peer-port <port>", "its port for its peers", parsePort)
      .option("--zone <name>", "nodes of one zone may fail together"),
  ).action(readdress);
}

async function readdress(id: string, flags: ReaddressFlags): Promise<void> {
  await MembershipCluster.use(flags, async (cluster) => {
    const { local } = cluster;
    const current = await cluster.read();
    const before = requireNode(current, id);
    if (local?.bed !== undefined) throw new CliError("A bed gives its nodes their addresses.");
    const runsHere = local !== undefined && standingOf(local, id) !== "gone";
    if (runsHere || livingNodes(await cluster.statuses(current.nodes)).has(id)) {
      throw new CliError(
        `${id} runs at ${before.host}:${before.respPort}. Stop it first${local === undefined ? "" : `: hothot kill ${id}`}`,
      );
    }
    const after = await cluster.change((latest) =>
      withAddresses(latest, placeOf(latest, id, flags)),
    );
    const place = placeOf(after, id, flags);
    if (local !== undefined) moveNodePlan(local, withoutZone(place));
    const { host, respPort, httpPort, peerPort } = place;
    printLine(
      `${id} is at ${host}: RESP ${respPort}, HTTP ${httpPort}, peers ${peerPort}, from its next start on` +
        `${local === undefined ? "." : `: hothot start ${id}`}`,
    );
  });
}

function placeOf(current: Configuration, id: string, flags: ReaddressFlags): NodePlace {
  const { host, zone, respPort, httpPort, peerPort } = requireNode(current, id);
  return {
    id,
    host: flags.host ?? host,
    zone: flags.zone ?? zone,
    respPort: flags.port ?? respPort,
    httpPort: flags.httpPort ?? httpPort,
    peerPort: flags.peerPort ?? peerPort,
  };
}

function withoutZone({ zone: _, ...addresses }: NodePlace): Omit<NodePlace, "zone"> {
  return addresses;
}
