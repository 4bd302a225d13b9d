/** etcd, three members with their defaults. */

import { join } from "node:path";
import { callHttp } from "../../src/cli/http-client.ts";
import { freePortRanges } from "../../test/integration/harness.ts";
import { type ServerProcess, startProcess, stopProcess } from "./server-process.ts";
import { type SetupKind, until } from "./setup.ts";

const HOST = "127.0.0.1";
const MEMBERS = 3;
const STATUS_MS_MAX = 2_000;
/** Above etcd's default of 2 GiB: a full run writes more revisions than that holds. */
const QUOTA_BYTES = 8 * 2 ** 30;

export function etcdSetup(name: string): SetupKind {
  return {
    name,
    needs: [{ program: "etcd", debian: "etcd-server" }],
    description: "three members, defaults but for a quota of 8 GiB, fsync on the same file system",
    async start({ dir }) {
      const [client = 0, peer = 0] = await freePortRanges(2);
      const members = Array.from({ length: MEMBERS }, (_, index) => ({
        member: `m${index + 1}`,
        clientUrl: `http://${HOST}:${client + index}`,
        peerUrl: `http://${HOST}:${peer + index}`,
      }));
      const processes: ServerProcess[] = [];
      const stop = async (): Promise<void> => {
        await Promise.all(processes.map(stopProcess));
      };
      try {
        for (const { member, clientUrl, peerUrl } of members) {
          const args = [
            ...["--name", member, "--data-dir", join(dir, member)],
            ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
            ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
            ...[
              "--initial-cluster",
              members.map((all) => `${all.member}=${all.peerUrl}`).join(","),
            ],
            ...["--quota-backend-bytes", String(QUOTA_BYTES), "--log-level", "error"],
          ];
          processes.push(await startProcess({ name: member, command: "etcd", args, dir }));
        }
        for (let index = 0; index < MEMBERS; index += 1)
          await until("etcd has a leader", () => hasLeader(client + index));
        const endpoints = members.map((_, index) => ({ host: HOST, port: client + index }));
        return {
          protocol: "etcd",
          processes,
          nodes: MEMBERS,
          endpoints: async (clients) => (clients === "one" ? endpoints.slice(0, 1) : endpoints),
          leader: () =>
            leaderOf(
              members.map(({ member }) => member),
              client,
            ),
          stop,
        };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

async function hasLeader(port: number): Promise<boolean> {
  const { leader } = await statusOf(port);
  return leader !== undefined && leader !== "0";
}

async function leaderOf(names: readonly string[], firstPort: number): Promise<string> {
  for (const [index, name] of names.entries()) {
    const { leader, header } = await statusOf(firstPort + index);
    if (leader === header.member_id) return name;
  }
  throw new Error("etcd has no leader");
}

interface EtcdStatus {
  readonly header: { readonly member_id: string };
  readonly leader?: string;
}

/** @throws Error if the member does not answer. */
async function statusOf(port: number): Promise<EtcdStatus> {
  const path = "/v3/maintenance/status";
  const call = { host: HOST, port, path, body: {}, timeoutMs: STATUS_MS_MAX };
  const answer = await callHttp({ ...call, method: "POST" });
  if (answer.status !== 200) throw new Error(`etcd answered with status ${answer.status}`);
  return JSON.parse(answer.body) as EtcdStatus;
}
