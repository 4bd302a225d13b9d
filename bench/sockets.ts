/** Bytes that the servers of a set-up have sent to each other, from the kernel's own counters of their TCP connections. */

import { execFileSync } from "node:child_process";
import type { ServerProcess } from "./systems/server-process.ts";

const SS_MS_MAX = 10_000;
const SS_BYTES_MAX = 64 << 20;

/** One end of a connection. */
interface Socket {
  readonly local: string;
  readonly remote: string;
  readonly pids: readonly number[];
  /** Without what was sent again. */
  readonly sent: number;
}

/** @returns bytes by connection, both ways; undefined where `ss` (iproute2) is missing. */
export function bytesBetween(processes: readonly ServerProcess[]): Map<string, number> | undefined {
  const own = new Set(processes.map((each) => each.pid));
  let text: string;
  try {
    text = execFileSync("ss", ["-tinpHO", "state", "established"], {
      encoding: "utf8",
      timeout: SS_MS_MAX,
      maxBuffer: SS_BYTES_MAX,
    });
  } catch {
    return undefined;
  }
  return connectionBytes(text, own);
}

/**
 * @param text what `ss -tinpHO` printed.
 * @param own pids of the servers.
 * @returns bytes sent, by connection and direction, of connections with a server at both ends.
 */
export function connectionBytes(text: string, own: ReadonlySet<number>): Map<string, number> {
  const sockets = text.split("\n").flatMap((line) => parseSocket(line) ?? []);
  const ours = sockets.filter((socket) => socket.pids.some((pid) => own.has(pid)));
  const ends = new Set(ours.map((socket) => socket.local));
  return new Map(
    ours
      .filter((socket) => ends.has(socket.remote))
      .map((socket) => [`${socket.local} ${socket.remote}`, socket.sent]),
  );
}

/** Bytes sent between two looks. A connection that ended in between is left out. */
export function bytesSince(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): number {
  let bytes = 0;
  for (const [connection, sent] of after) bytes += sent - (before.get(connection) ?? 0);
  return bytes;
}

/** Of a line of `ss -tinpHO`: `Recv-Q Send-Q local remote users:((…,pid=7,…)) … bytes_sent:9 …`. */
function parseSocket(line: string): Socket | undefined {
  const [, , local, remote] = line.trim().split(/\s+/);
  if (local === undefined || remote === undefined) return undefined;
  const pids = [...line.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid));
  const sent = Number(/ bytes_sent:(\d+)/.exec(line)?.[1] ?? 0);
  const again = Number(/ bytes_retrans:(\d+)/.exec(line)?.[1] ?? 0);
  return { local, remote, pids, sent: sent - again };
}
