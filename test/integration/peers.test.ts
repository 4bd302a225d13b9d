/** Who may talk to whom, with real processes: the cluster secret, two processes of one name, and the release before. */

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { DEFAULT_SETTINGS, initialConfiguration } from "../../src/register/placement.ts";
import { WitnessServer } from "../../src/register/witness.ts";
import { WitnessRegister } from "../../src/register/witness-client.ts";
import type { NodeRecord } from "../../src/replica/configuration.ts";
import { connectClient, freePortRanges, HOTHOT, until } from "./harness.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const SECRET = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET = "fedcba9876543210fedcba9876543210";
const REGISTER_MS_MAX = 10_000;

type NodeAddresses = Omit<NodeRecord, "incarnation">;

interface Cluster {
  readonly url: string;
  readonly nodes: readonly [NodeAddresses, NodeAddresses];
}

interface Process {
  output(): string;
  end(): Promise<void>;
}

/** Two nodes' configuration in a witness of this process; no node runs yet. */
async function createCluster(t: TestContext): Promise<Cluster> {
  const [resp = 0, http = 0, peer = 0] = await freePortRanges(3);
  const nodeAt = (index: number): NodeAddresses => ({
    id: `n${index + 1}`,
    host: "127.0.0.1",
    zone: "",
    respPort: resp + index,
    httpPort: http + index,
    peerPort: peer + index,
  });
  const nodes = [nodeAt(0), nodeAt(1)] as const;
  const witness = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${await witness.listen()}`;
  t.after(() => witness.close());
  const register = new WitnessRegister({ url, timeoutMs: REGISTER_MS_MAX });
  const settings = { ...DEFAULT_SETTINGS, shardCount: 4, replicas: 2 };
  await register.swap(initialConfiguration({ clusterId: "test", nodes, settings }));
  await register.close();
  return { url, nodes };
}

interface StartOptions {
  readonly script?: string;
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

function startNode(
  t: TestContext,
  cluster: Cluster,
  id: string,
  { script = HOTHOT, flags = [], environment = {} }: StartOptions = {},
): Process {
  const args = [script, "node", "--id", id, "--register", cluster.url, ...flags];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = once(child, "close");
  const end = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  t.after(end);
  return { output: () => output, end };
}

async function isReady(node: NodeAddresses): Promise<boolean> {
  const answer = await fetch(`http://${node.host}:${node.httpPort}/readyz`);
  return answer.ok;
}

async function assertServes(t: TestContext, { nodes: [one, two] }: Cluster): Promise<void> {
  await until("n1 is ready", () => isReady(one));
  await until("n2 is ready", () => isReady(two));
  for (const [writer, reader] of [
    [one, two],
    [two, one],
  ] as const) {
    const client = await connectClient(writer.respPort);
    const other = await connectClient(reader.respPort);
    t.after(() => {
      client.destroy();
      other.destroy();
    });
    for (let i = 0; i < 20; i++) await client.set(`key-${writer.id}-${i}`, String(i));
    assert.equal(await other.get(`key-${writer.id}-7`), "7");
  }
}

test("nodes with one secret form a cluster; another secret, or none, is refused on both sides", async (t) => {
  const cluster = await createCluster(t);
  const dir = mkdtempSync(join(tmpdir(), "hothot-peers-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "secret");
  writeFileSync(file, `${SECRET}\n`, { mode: 0o600 });
  const one = startNode(t, cluster, "n1", { flags: ["--secret-file", file] });
  for (const [environment, text] of [
    [{ HOTHOT_SECRET: OTHER_SECRET }, "has another cluster secret"],
    [{}, "n1 has a cluster secret, n2 has none; start n2 with the same --secret-file"],
  ] as const) {
    const stranger = startNode(t, cluster, "n2", { environment });
    await until(`both say: ${text}`, () =>
      [one, stranger].every((each) => each.output().includes(text)),
    );
    await stranger.end();
  }
  assert.ok(!one.output().includes(SECRET), "a secret is never logged");
  startNode(t, cluster, "n2", { environment: { HOTHOT_SECRET: SECRET } });
  await assertServes(t, cluster);
});

test("no-self-peer: an address that leads back to its own node is refused by name, and nothing is served", async (t) => {
  const cluster = await createCluster(t);
  const [one, two] = cluster.nodes;
  // Another register, in which n2 has the peer port of n1.
  const witness = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${await witness.listen()}`;
  t.after(() => witness.close());
  const register = new WitnessRegister({ url, timeoutMs: REGISTER_MS_MAX });
  const nodes = [one, { ...two, peerPort: one.peerPort }];
  const settings = { ...DEFAULT_SETTINGS, shardCount: 4, replicas: 2 };
  await register.swap(initialConfiguration({ clusterId: "test", nodes, settings }));
  await register.close();
  const lost = startNode(t, { ...cluster, url }, "n1");
  await until("n1 names its own address", () =>
    lost.output().includes("the address of n2 leads back to n1 itself"),
  );
  assert.equal((await fetch(`http://127.0.0.1:${one.httpPort}/readyz`)).status, 503);
});

test("the release before runs beside this one", { timeout: 300_000 }, async (t) => {
  const tag = releaseTags().at(-1);
  if (tag === undefined) {
    t.diagnostic("no release yet (no tag v*): src/peers tests against a simulated older peer");
    return;
  }
  const script = buildRelease(t, tag);
  const cluster = await createCluster(t);
  const environment = { HOTHOT_SECRET: SECRET };
  const before = startNode(t, cluster, "n1", { script, environment });
  startNode(t, cluster, "n2", { environment });
  await assertServes(t, cluster);
  // Upgraded one after the other, with the data kept by the one that stays.
  await before.end();
  startNode(t, cluster, "n1", { environment });
  await until("n1 is ready again", () => isReady(cluster.nodes[0]));
  const client = await connectClient(cluster.nodes[0].respPort);
  t.after(() => client.destroy());
  assert.equal(await client.get("key-n1-7"), "7");
});

/** @returns tags of releases before this commit, the newest last; none where there is no repository. */
function releaseTags(): string[] {
  try {
    const args = ["tag", "--list", "v*", "--merged", "HEAD", "--sort", "version:refname"];
    const options = { cwd: ROOT, encoding: "utf8", stdio: "pipe" } as const;
    return execFileSync("git", args, options).split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** Builds a release in a directory of its own, with this checkout's packages. @returns the built program. */
function buildRelease(t: TestContext, tag: string): string {
  const dir = mkdtempSync(join(tmpdir(), "hothot-release-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const archive = join(dir, "release.tar");
  const release = join(dir, "release");
  mkdirSync(release);
  execFileSync("git", ["archive", "--output", archive, tag], { cwd: ROOT });
  execFileSync("tar", ["-xf", archive, "-C", release]);
  symlinkSync(join(ROOT, "node_modules"), join(release, "node_modules"));
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  // Its types may not go with today's packages; what counts is that it was built.
  const args = [tsc, "-p", "tsconfig.json", "--incremental", "false"];
  const { stdout } = spawnSync(process.execPath, args, { cwd: release, encoding: "utf8" });
  const script = join(release, "dist/src/main/hothot.js");
  assert.ok(existsSync(script), `${tag} cannot be built:\n${stdout}`);
  return script;
}
