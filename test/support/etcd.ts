/**
 * A real etcd cluster on loopback for tests: several members as child processes, each of which can be killed, paused and
 * started again on its data. Nothing of it outlives the test.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "./ports.ts";

/** The settings that docs/etcd.md advises, ms. */
export const ADVISED_SETTINGS = { heartbeatMs: 50, electionMs: 250 } as const;

const START_MS_MAX = 30_000;
const STATUS_MS_MAX = 2_000;

export interface EtcdClusterOptions {
  /** 3 by default. */
  readonly members?: number;
  readonly heartbeatMs?: number;
  readonly electionMs?: number;
  /** Paths of PEM files with which the members serve clients; clients have to show a certificate of the same authority. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Further arguments of every member. */
  readonly args?: readonly string[];
}

interface Member {
  readonly name: string;
  readonly clientPort: number;
  readonly args: readonly string[];
  readonly logPath: string;
  process: ChildProcess | undefined;
}

/** Why tests with etcd have to be skipped, or false. */
export function lacksEtcd(): string | false {
  const isThere = (process.env["PATH"] ?? "")
    .split(":")
    .some((folder) => folder !== "" && existsSync(join(folder, "etcd")));
  return isThere ? false : "etcd is not installed (apt-get install etcd-server)";
}

export class EtcdCluster {
  readonly #dir: string;
  readonly #members: readonly Member[];
  readonly #options: EtcdClusterOptions;
  readonly #killAll = (): void => {
    for (const { process: child } of this.#members) child?.kill("SIGKILL");
  };

  private constructor(dir: string, members: readonly Member[], options: EtcdClusterOptions) {
    this.#dir = dir;
    this.#members = members;
    this.#options = options;
    process.on("exit", this.#killAll);
  }

  /** @returns a cluster whose members all answer. */
  static async start(options: EtcdClusterOptions = {}): Promise<EtcdCluster> {
    for (let attempt = 1; ; attempt += 1) {
      const cluster = await EtcdCluster.#prepare(options);
      try {
        await Promise.all(cluster.#members.map((_, index) => cluster.startMember(index)));
        return cluster;
      } catch (error) {
        const logs = cluster.logs();
        await cluster.close();
        // Somebody else may have taken a port between the look and the use.
        if (attempt < 5 && logs.includes("address already in use")) continue;
        throw new Error(`etcd did not start:\n${logs}`, { cause: error });
      }
    }
  }

  static async #prepare(options: EtcdClusterOptions): Promise<EtcdCluster> {
    const count = options.members ?? 3;
    const dir = mkdtempSync(join(tmpdir(), "hothot-etcd-"));
    const base = await freePorts(2 * count);
    const { tls, heartbeatMs, electionMs } = { ...ADVISED_SETTINGS, ...options };
    const scheme = tls === undefined ? "http" : "https";
    const peers = Array.from(
      { length: count },
      (_, index) => `m${index}=http://127.0.0.1:${base + count + index}`,
    );
    const members = peers.map((peer, index) => {
      const [name = "", peerUrl = ""] = peer.split("=");
      const clientUrl = `${scheme}://127.0.0.1:${base + index}`;
      return {
        name,
        clientPort: base + index,
        logPath: join(dir, `${name}.log`),
        process: undefined,
        args: [
          ...["--name", name, "--data-dir", join(dir, name)],
          ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
          ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
          ...["--initial-cluster", peers.join(",")],
          ...["--heartbeat-interval", String(heartbeatMs)],
          ...["--election-timeout", String(electionMs)],
          ...(tls === undefined
            ? []
            : [
                ...["--trusted-ca-file", tls.ca, "--cert-file", tls.cert, "--key-file", tls.key],
                "--client-cert-auth",
              ]),
          ...(options.args ?? []),
        ],
      };
    });
    return new EtcdCluster(dir, members, options);
  }

  get size(): number {
    return this.#members.length;
  }

  /** `127.0.0.1:port,…` of all members. */
  get hosts(): string {
    return this.#members.map((member) => `127.0.0.1:${member.clientPort}`).join(",");
  }

  /** Base addresses of all members. */
  get endpoints(): string[] {
    const scheme = this.#options.tls === undefined ? "http" : "https";
    return this.#members.map((member) => `${scheme}://127.0.0.1:${member.clientPort}`);
  }

  /** Starts a member, on its data if it has any. @returns when it answers, if `isAwaited` is not false. */
  async startMember(index: number, isAwaited = true): Promise<void> {
    const member = this.#memberAt(index);
    assert.ok(member.process === undefined, `${member.name} runs`);
    const log = openSync(member.logPath, "a");
    const child = spawn("etcd", member.args, {
      stdio: ["ignore", log, log],
      // What the environment says of etcd is meant for another one.
      env: { PATH: process.env["PATH"], ETCD_UNSUPPORTED_ARCH: process.arch },
    });
    closeSync(log);
    member.process = child;
    child.once("exit", () => {
      if (member.process === child) member.process = undefined;
    });
    const end = performance.now() + START_MS_MAX;
    while (isAwaited && !(await this.#hasLeader(index))) {
      assert.ok(member.process === child, `${member.name} has ended`);
      assert.ok(performance.now() < end, `${member.name} does not answer`);
      await sleep(20);
    }
  }

  /** Ends a member, and waits for its end. */
  async stopMember(index: number, signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    const child = this.#memberAt(index).process;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill(signal);
    // One that is paused hears nothing else.
    if (signal === "SIGTERM") child.kill("SIGCONT");
    await ended;
  }

  /** Sends a member a signal that does not end it, such as SIGSTOP. */
  signal(index: number, signal: "SIGSTOP" | "SIGCONT"): void {
    this.#memberAt(index).process?.kill(signal);
  }

  /** Index of the leader, as the first member that answers sees it. */
  async leader(): Promise<number> {
    const end = performance.now() + START_MS_MAX;
    while (performance.now() < end) {
      const all = await Promise.all(this.#members.map((_, index) => this.#status(index)));
      const leader = all.find((status) => status?.leader !== undefined)?.leader;
      const index = all.findIndex((status) => status !== undefined && status.id === leader);
      if (index >= 0) return index;
      await sleep(20);
    }
    assert.fail("etcd has no leader");
  }

  /**
   * Sends a request to one member.
   * @throws Error if it does not answer with status 200.
   */
  async post(
    index: number,
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Record<string, unknown>> {
    const url = new URL(path, this.endpoints[index]);
    const { tls } = this.#options;
    const certificates =
      tls === undefined
        ? {}
        : {
            ca: readFileSync(tls.ca),
            cert: readFileSync(tls.cert),
            key: readFileSync(tls.key),
          };
    return new Promise((resolve, reject) => {
      const options = { method: "POST", timeout: STATUS_MS_MAX, agent: false, headers };
      const open = tls === undefined ? http.request : https.request;
      const request = open(url, { ...options, ...certificates }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("error", reject);
        response.on("end", () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as Record<string, unknown>);
          else reject(new Error(`${response.statusCode} ${text}`));
        });
      });
      request.on("timeout", () => request.destroy(new Error("no answer")));
      request.on("error", reject);
      request.end(JSON.stringify(body));
    });
  }

  /** Compacts away all but the newest revision. */
  async compact(): Promise<void> {
    const index = this.#members.findIndex((member) => member.process !== undefined);
    const { header } = await this.post(index, "/v3/kv/range", { key: "AA==" });
    const { revision } = header as { readonly revision: string };
    await this.post(index, "/v3/kv/compaction", { revision, physical: true });
  }

  /** The ends of all members' logs. */
  logs(): string {
    return this.#members
      .filter((member) => existsSync(member.logPath))
      .map((member) => `${member.name}: ${readFileSync(member.logPath, "utf8").slice(-2_000)}`)
      .join("\n");
  }

  /** Kills all members and removes their data. */
  async close(): Promise<void> {
    await Promise.all(this.#members.map((_, index) => this.stopMember(index)));
    process.off("exit", this.#killAll);
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async #hasLeader(index: number): Promise<boolean> {
    return (await this.#status(index))?.leader !== undefined;
  }

  async #status(
    index: number,
  ): Promise<{ readonly id: string; readonly leader: string | undefined } | undefined> {
    if (this.#memberAt(index).process === undefined) return undefined;
    try {
      const answer = await this.post(index, "/v3/maintenance/status", {});
      const { member_id: id } = answer["header"] as { readonly member_id: string };
      const leader = answer["leader"];
      return { id, leader: typeof leader === "string" && leader !== "0" ? leader : undefined };
    } catch {
      return undefined;
    }
  }

  #memberAt(index: number): Member {
    const member = this.#members[index];
    assert.ok(member !== undefined, `there is no member ${index}`);
    return member;
  }
}
