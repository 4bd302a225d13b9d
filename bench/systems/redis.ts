/** Redis alone, with replicas, and as a cluster: in memory only, as Debian ships it otherwise. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createClient } from "redis";
import { freePortRanges } from "../../test/integration/harness.ts";
import type { Endpoint } from "../load/job.ts";
import { logTail, type ServerProcess, startProcess, stopProcess } from "./server-process.ts";
import { type ClientKind, type SetupKind, until } from "./setup.ts";

export const HOST = "127.0.0.1";
const CLUSTER_TIMEOUT_MS = 500;
const COMMAND_MS_MAX = 30_000;

const SERVER = { program: "redis-server", debian: "redis-server" };
const TOOLS = { program: "redis-cli", debian: "redis-tools" };

/** A way to start one Redis, with replicas if asked for. */
export function redisSetup(name: string, replicas: number): SetupKind {
  return {
    name,
    needs: [SERVER],
    description:
      replicas === 0
        ? "one redis-server"
        : `one redis-server and ${replicas} ${replicas === 1 ? "replica" : "replicas"}`,
    async start({ dir }) {
      const [base = 0] = await freePortRanges(1);
      const processes: ServerProcess[] = [];
      const stop = (): Promise<void> => stopAll(processes);
      try {
        for (let index = 0; index <= replicas; index += 1) {
          const args = index === 0 ? [] : ["--replicaof", HOST, String(base)];
          const own = index === 0 ? "primary" : `replica${index}`;
          processes.push(await startServer(dir, own, base + index, args));
        }
        const primary = { host: HOST, port: base };
        await until("all replicas are in sync", async () => {
          const info = await ask(base, "INFO", "replication");
          return [...String(info).matchAll(/state=online/g)].length === replicas;
        });
        const all = async (): Promise<Endpoint[]> => [primary];
        return { protocol: "resp", processes, nodes: processes.length, endpoints: all, stop };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

/** A way to start a Redis Cluster of three primaries, each with a replica. */
export function redisClusterSetup(name: string): SetupKind {
  return {
    name,
    needs: [SERVER, TOOLS],
    description: `three primaries with a replica each, cluster-node-timeout ${CLUSTER_TIMEOUT_MS} ms`,
    async start({ dir }) {
      const [base = 0, bus = 0] = await freePortRanges(2);
      const processes: ServerProcess[] = [];
      const stop = (): Promise<void> => stopAll(processes);
      try {
        const ports = Array.from({ length: 6 }, (_, index) => base + index);
        for (const [index, port] of ports.entries()) {
          const args = [
            ...["--cluster-enabled", "yes", "--cluster-port", String(bus + index)],
            ...["--cluster-config-file", `nodes-${index}.conf`],
            ...["--cluster-node-timeout", String(CLUSTER_TIMEOUT_MS)],
          ];
          processes.push(await startServer(dir, `server${index + 1}`, port, args));
        }
        const hosts = ports.map((port) => `${HOST}:${port}`);
        const form = ["--cluster", "create", ...hosts, "--cluster-replicas", "1", "--cluster-yes"];
        await promisify(execFile)("redis-cli", form, { timeout: COMMAND_MS_MAX });
        await until("the cluster is whole", () => isWhole(ports));
        return {
          protocol: "resp",
          processes,
          nodes: processes.length,
          endpoints: (clients) => clusterEndpoints(ports, clients),
          stop,
        };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

async function isWhole(ports: readonly number[]): Promise<boolean> {
  for (const port of ports) {
    if (!String(await ask(port, "CLUSTER", "INFO")).includes("cluster_state:ok")) return false;
    const info = String(await ask(port, "INFO", "replication"));
    const isInSync = info.includes("role:master")
      ? info.includes("state=online")
      : info.includes("master_link_status:up");
    if (!isInSync) return false;
  }
  return true;
}

/** For clients that know the slots the primaries, for others all servers, of which most will redirect them. */
async function clusterEndpoints(
  ports: readonly number[],
  clients: ClientKind,
): Promise<Endpoint[]> {
  const [first = 0] = ports;
  if (clients !== "routed") return ports.map((port) => ({ host: HOST, port }));
  const answer = (await ask(first, "CLUSTER", "SLOTS")) as [number, number, [string, number]][];
  return answer.map(([from, to, [host, port]]) => ({ host, port, slots: [[from, to]] }));
}

/** Starts a server that keeps nothing on disk. @throws Error if it does not answer. */
export async function startServer(
  dir: string,
  name: string,
  port: number,
  args: readonly string[],
): Promise<ServerProcess> {
  const server = await startProcess({
    name,
    command: "redis-server",
    args: [
      ...["--port", String(port), "--bind", HOST, "--dir", dir],
      ...["--save", "", "--appendonly", "no", "--loglevel", "warning"],
      ...["--repl-diskless-sync-delay", "0"],
      ...args,
    ],
    dir,
  });
  try {
    await until(`${name} answers`, async () => (await ask(port, "PING")) === "PONG");
  } catch (error) {
    await stopProcess(server);
    throw new Error(`redis-server did not start:\n${logTail(dir, name)}`, { cause: error });
  }
  return server;
}

async function stopAll(processes: readonly ServerProcess[]): Promise<void> {
  await Promise.all(processes.map(stopProcess));
}

/** Sends one command. @throws Error if there is no answer, or an error. */
export async function ask(port: number, ...words: readonly string[]): Promise<unknown> {
  const client = createClient({
    socket: { host: HOST, port, reconnectStrategy: false, connectTimeout: COMMAND_MS_MAX },
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await client.sendCommand([...words]);
  } finally {
    client.destroy();
  }
}
