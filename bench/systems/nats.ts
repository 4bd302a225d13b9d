/** NATS with JetStream: three servers and one bucket of its key-value store, three replicas in memory. */

import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { freePortRanges } from "../../test/integration/harness.ts";
import { BUCKET } from "../load/nats.ts";
import { type ServerProcess, startProcess, stopProcess } from "./server-process.ts";
import { type SetupKind, until } from "./setup.ts";

const HOST = "127.0.0.1";
const SERVERS = 3;
const REQUEST_MS_MAX = 1_000;
const START_MS_MAX = 60_000;

export function natsSetup(name: string): SetupKind {
  return {
    name,
    needs: [{ program: "nats-server", debian: "nats-server" }],
    description:
      "three servers, a bucket with three replicas in memory; gets are direct, from any replica, and may be stale",
    async start({ dir }) {
      const [client = 0, route = 0] = await freePortRanges(2);
      const routes = Array.from({ length: SERVERS }, (_, i) => `nats://${HOST}:${route + i}`);
      const processes: ServerProcess[] = [];
      const stop = async (): Promise<void> => {
        await Promise.all(processes.map(stopProcess));
      };
      try {
        for (let index = 0; index < SERVERS; index += 1) {
          const server = `s${index + 1}`;
          const args = [
            ...["--addr", HOST, "--port", String(client + index), "--name", server],
            ...["--jetstream", "--store_dir", join(dir, server), "--cluster_name", "bench"],
            ...["--cluster", routes[index] ?? "", "--routes", routes.join(",")],
          ];
          processes.push(await startProcess({ name: server, command: "nats-server", args, dir }));
        }
        await until("the bucket is made", () => makeBucket(client), START_MS_MAX);
        await until(
          "the bucket takes writes",
          async () => (await request(client, `$KV.${BUCKET}.ready`, "1")).startsWith('{"stream"'),
          START_MS_MAX,
        );
        const endpoints = routes.map((_, index) => ({ host: HOST, port: client + index }));
        return {
          protocol: "nats",
          processes,
          nodes: SERVERS,
          endpoints: async (clients) => (clients === "one" ? endpoints.slice(0, 1) : endpoints),
          leader: () => leaderOf(client),
          stop,
        };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

/** Makes the bucket as NATS's own clients make it. @returns whether it is there. */
async function makeBucket(port: number): Promise<boolean> {
  const answer = await request(
    port,
    `$JS.API.STREAM.CREATE.KV_${BUCKET}`,
    JSON.stringify({
      name: `KV_${BUCKET}`,
      subjects: [`$KV.${BUCKET}.>`],
      retention: "limits",
      discard: "new",
      storage: "memory",
      num_replicas: SERVERS,
      max_msgs_per_subject: 1,
      max_msgs: -1,
      max_bytes: -1,
      max_age: 0,
      max_msg_size: -1,
      allow_rollup_hdrs: true,
      deny_delete: true,
      allow_direct: true,
    }),
  );
  const { error } = JSON.parse(answer) as { readonly error?: { readonly description: string } };
  if (error !== undefined) throw new Error(error.description);
  return true;
}

/** The server that leads the bucket's replicas. */
async function leaderOf(port: number): Promise<string> {
  const answer = await request(port, `$JS.API.STREAM.INFO.KV_${BUCKET}`, "");
  const info = JSON.parse(answer) as { readonly cluster?: { readonly leader?: string } };
  if (info.cluster?.leader === undefined) throw new Error("the bucket has no leader");
  return info.cluster.leader;
}

/** Sends one request. @returns the payload of its answer. @throws Error if none comes in time. */
export function request(
  port: number,
  subject: string,
  payload: string,
  timeoutMs = REQUEST_MS_MAX,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: HOST, port });
    const end = (then: () => void): void => {
      socket.destroy();
      then();
    };
    let text = "";
    socket.setTimeout(timeoutMs, () => end(() => reject(new Error("NATS does not answer"))));
    socket.once("error", (error) => end(() => reject(error)));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      // Between the subscription's number and the length may stand another subject, even an empty one.
      const message = /\r\nMSG \S+ 1 (?:\S* )?(\d+)\r\n/.exec(`\r\n${text}`);
      if (message === null) return;
      const from = message.index + message[0].length - 2;
      const length = Number(message[1]);
      if (text.length >= from + length) end(() => resolve(text.slice(from, from + length)));
    });
    const options = JSON.stringify({ verbose: false });
    // Several may ask at a time, and each must hear its own answer only.
    const inbox = `_INBOX.${randomUUID()}`;
    socket.write(
      `CONNECT ${options}\r\nSUB ${inbox} 1\r\nPUB ${subject} ${inbox} ${payload.length}\r\n${payload}\r\n`,
    );
  });
}
