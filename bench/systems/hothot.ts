/** HotHot as `hothot up` starts it. */

import { join } from "node:path";
import {
  type ClusterState,
  clusterExists,
  processNames,
  processOf,
  readClusterState,
  supervisorOf,
} from "../../src/cli/cluster-state.ts";
import { askStatus } from "../../src/cli/node-view.ts";
import { type ProcessIdentity, signalProcess } from "../../src/cli/processes.ts";
import { freePortRanges } from "../../test/integration/harness.ts";
import type { Endpoint } from "../load/job.ts";
import { logTail, type ServerProcess, startProcess, stopProcess } from "./server-process.ts";
import { type ClientKind, type Setup, type SetupKind, type SetupOptions, until } from "./setup.ts";

interface HothotOptions {
  readonly nodes: number;
  /** Further arguments of `hothot up`. */
  readonly args?: readonly string[];
  /** Keeps data on disk, in the set-up's directory. */
  readonly keepsData?: boolean;
}

const SUPERVISOR = "hothot-up";
const START_MS_MAX = 60_000;

/** Killed at once, `hothot up` cannot end its nodes; whoever ends this program so abruptly has to. */
const stateDirs = new Set<string>();
process.on("exit", () => {
  for (const dir of stateDirs) {
    if (!clusterExists(dir)) continue;
    const state = readClusterState(dir);
    for (const { identity } of identitiesOf(state)) signalProcess(identity, "SIGKILL");
  }
});

/** A way to start HotHot. */
export function hothotSetup(
  name: string,
  description: string,
  options: HothotOptions,
  script?: string,
): SetupKind {
  return {
    name,
    description,
    needs: [],
    start: (place) => start(place, script ?? place.hothot, options),
  };
}

async function start(
  { dir, isPlain, environment = {} }: SetupOptions,
  script: string,
  options: HothotOptions,
): Promise<Setup> {
  const [resp, http, peers, witness] = await freePortRanges(4);
  const stateDir = join(dir, "state");
  stateDirs.add(stateDir);
  const supervisor = await startProcess({
    name: SUPERVISOR,
    command: isPlain ? "setpriv" : process.execPath,
    args: [
      // Without this right, the nodes cannot raise their priority.
      ...(isPlain ? ["--bounding-set", "-sys_nice", process.execPath] : []),
      ...[script, "up", "--dir", stateDir, "--nodes", String(options.nodes), "--no-restart"],
      ...["--port", String(resp), "--http-port", String(http)],
      ...["--peer-port", String(peers), "--witness-port", String(witness)],
      ...["--log-level", "warn"],
      ...(options.keepsData === true ? ["--data-dir", join(dir, "data")] : []),
      ...(options.args ?? []),
    ],
    dir,
    environment,
  });
  try {
    const isOver = /Stop it with Ctrl-C\.|^hothot: /m;
    await until("hothot up is ready", () => isOver.test(logTail(dir, SUPERVISOR)), START_MS_MAX);
    const state = readClusterState(stateDir);
    await until("every node is ready", () => areReady(state));
    return {
      protocol: "resp",
      processes: processesOf(state),
      nodes: state.nodes.length,
      httpPorts: state.nodes.map((node) => node.httpPort),
      endpoints: (clients) => endpoints(state, clients),
      async stop() {
        await stopProcess(supervisor);
        stateDirs.delete(stateDir);
      },
    };
  } catch (error) {
    const log = logTail(dir, SUPERVISOR);
    await stopProcess(supervisor);
    throw new Error(`HotHot did not start: ${String(error)}\n${log}`, { cause: error });
  }
}

async function areReady(state: ClusterState): Promise<boolean> {
  const answers = await Promise.all(state.nodes.map((node) => askStatus(node.host, node.httpPort)));
  return answers.every(({ status }) => status.isReady);
}

function processesOf(state: ClusterState): ServerProcess[] {
  return identitiesOf(state).map(({ name, identity }) => ({ name, pid: identity.pid }));
}

/** The nodes first, then the witness and the supervisor. */
function identitiesOf(state: ClusterState): { name: string; identity: ProcessIdentity }[] {
  const named = processNames(state).map((name) => ({ name, identity: processOf(state, name) }));
  return [...named, { name: "supervisor", identity: supervisorOf(state) }].flatMap(
    ({ name, identity }) => (identity === undefined ? [] : [{ name, identity }]),
  );
}

async function endpoints(state: ClusterState, clients: ClientKind): Promise<Endpoint[]> {
  const all = state.nodes.map(({ host, respPort }) => ({ host, port: respPort }));
  if (clients === "spread") return all;
  if (clients === "one") return all.slice(0, 1);
  const [first] = state.nodes;
  const { configuration } = await askStatus(first?.host ?? "", first?.httpPort ?? 0);
  return state.nodes.map((node) => ({
    host: node.host,
    port: node.respPort,
    slots: (configuration?.shards ?? [])
      .filter((shard) => shard.primary === node.id)
      .map((shard) => [shard.firstSlot, shard.lastSlot] as const),
  }));
}
