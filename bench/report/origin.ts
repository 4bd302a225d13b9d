/** Which machine, which versions, which commit. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import type { Origin } from "../results.ts";

const COMMAND_MS_MAX = 10_000;

/** @param options of the run, for its reader. */
export function originOf(options: Readonly<Record<string, string>>): Origin {
  const [cpu] = cpus();
  return {
    startedAt: new Date().toISOString(),
    commit: output("git", ["rev-parse", "--short=12", "HEAD"]),
    isModified: output("git", ["status", "--porcelain", "--untracked-files=no"]) !== "",
    machine: {
      processors: `${cpus().length} × ${cpu?.model.trim() ?? "unknown"}`,
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
      kernel: release(),
      "TCP congestion control": file("/proc/sys/net/ipv4/tcp_congestion_control"),
    },
    versions: {
      "Node.js": process.versions.node,
      redis: /v=(\S+)/.exec(output("redis-server", ["--version"]))?.[1] ?? "absent",
      etcd: /etcd Version: (\S+)/.exec(output("etcd", ["--version"]))?.[1] ?? "absent",
      nats: /v?(\d\S+)$/.exec(output("nats-server", ["--version"]))?.[1] ?? "absent",
    },
    options,
  };
}

function output(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      timeout: COMMAND_MS_MAX,
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "";
  }
}

function file(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "unknown";
  }
}
