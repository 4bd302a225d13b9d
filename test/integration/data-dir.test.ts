/** Where nodes keep their data: what a cluster finds there at its next start, and which directories a node will not touch. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import {
  killNode,
  processNames,
  processOf,
  readClusterState,
  startNode,
} from "../../src/cli/cluster-state.ts";
import { signalProcess } from "../../src/cli/processes.ts";
import { openLevel } from "../../src/store/level-engine.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { RegisterLoad } from "../support/register-load.ts";
import { untilWhole } from "../support/turns.ts";
import { assertHolds, sameValues, writeAll } from "../support/values.ts";
import {
  type Finished,
  freePortRanges,
  nodeAt,
  run,
  startTestCluster,
  type TestCluster,
  until,
} from "./harness.ts";

/** Runs a node of the cluster with another data directory, to its end. */
function runNodeWith(cluster: TestCluster, node: number, dataDir: string): Promise<Finished> {
  const { args } = nodeAt(cluster.state, node);
  const changed = args.map((arg, index) => (args[index - 1] === "--data-dir" ? dataDir : arg));
  return run(process.execPath, changed);
}

/** Makes what a node would find of a store whose owner is this. */
async function makeDirectory(dir: string, owner: Readonly<Record<string, unknown>>): Promise<void> {
  mkdirSync(join(dir, "data"), { recursive: true });
  mkdirSync(join(dir, "identity"));
  const data = await openLevel(join(dir, "data"));
  await data.put(Buffer.from("precious"), Buffer.from("data"), { sync: true });
  await data.close();
  const json = Buffer.from(JSON.stringify(owner));
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(json));
  const identity = await openLevel(join(dir, "identity"));
  await identity.put(Buffer.from("owner"), Buffer.concat([checksum, json]), { sync: true });
  await identity.close();
}

/** One hash of all files under a directory. */
function fingerprint(dir: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" }).sort()) {
    if (!statSync(join(dir, name)).isFile()) continue;
    hash.update(`${name}\n`).update(readFileSync(join(dir, name)));
  }
  return hash.digest("hex");
}

test("a directory that is not the node's own is refused and left as it is", {
  timeout: 120_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const cluster = await startTestCluster(t, { args: ["--data-dir", dataDir] });
  const { clusterId } = cluster.state;
  const expected = sameValues("key:", 500, "value");
  await writeAll(cluster, 0, expected);
  await killNode(cluster.state, "n1");

  const inUse = await runNodeWith(cluster, 0, join(dataDir, "n2"));
  assert.equal(inUse.status, 1, inUse.stdout);
  assert.match(inUse.stdout, /another process uses .*n2: stop it first, or give this node/);

  await killNode(cluster.state, "n2");
  const before = fingerprint(join(dataDir, "n2", "data"));
  const another = await runNodeWith(cluster, 0, join(dataDir, "n2"));
  assert.equal(another.status, 78, another.stdout);
  assert.match(another.stdout, /belongs to node n2, not to node n1/);
  assert.equal(fingerprint(join(dataDir, "n2", "data")), before);

  for (const [owner, expectedText] of [
    [{ format: 1, clusterId: "theirs", nodeId: "n1" }, /belongs to cluster theirs \(node n1\)/],
    [{ format: 99, clusterId, nodeId: "n1" }, /has format 99, .* start the version that wrote it/],
  ] as const) {
    const dir = join(dataDirectory(), "n1");
    await makeDirectory(dir, owner);
    const found = fingerprint(join(dir, "data"));
    const refused = await runNodeWith(cluster, 0, dir);
    assert.equal(refused.status, 78, refused.stdout);
    assert.match(refused.stdout, expectedText);
    assert.equal(fingerprint(join(dir, "data")), found);
  }

  const { args } = nodeAt(cluster.state, 0);
  const at = args.indexOf("--data-dir");
  const nowhere = await run(process.execPath, args.toSpliced(at, 2));
  assert.equal(nowhere.status, 78, nowhere.stdout);
  assert.match(nowhere.stdout, /give this node a directory with --data-dir/);

  for (const id of ["n1", "n2"]) await startNode(cluster.state, id);
  await untilWhole(cluster);
  for (const node of [0, 1, 2]) await assertHolds(cluster, node, expected);
});

test("hothot up goes on with the cluster that it finds, after a stop and after a loss of power", {
  timeout: 120_000,
}, async (t) => {
  const dataDir = dataDirectory();
  const args = ["--data-dir", dataDir, "--durability", "fsync"];
  const expected = new Map<string, string | null>();
  let cluster = await startTestCluster(t, { args });
  const { clusterId } = cluster.state;
  for (const end of ["stop", "power"] as const) {
    const values = sameValues(`${end}:`, 500, end);
    await writeAll(cluster, 1, values);
    for (const [key, value] of values) expected.set(key, value);
    const { supervisor, state } = cluster;
    const ended = once(supervisor, "exit");
    if (end === "stop") supervisor.kill("SIGTERM");
    else {
      supervisor.kill("SIGKILL");
      for (const id of processNames(state)) {
        const identity = processOf(state, id);
        if (identity !== undefined) signalProcess(identity, "SIGKILL");
      }
    }
    await ended;
    cluster = await startTestCluster(t, { args });
    assert.equal(cluster.state.clusterId, clusterId);
    assert.match(cluster.output(), /Going on with the cluster/);
    await untilWhole(cluster);
    for (const node of [0, 1, 2]) await assertHolds(cluster, node, expected);
  }
});

test("identity-not-address: all nodes at other addresses", { timeout: 120_000 }, async (t) => {
  const cluster = await startTestCluster(t, {
    args: ["--data-dir", dataDirectory(), "--durability", "fsync"],
  });
  const expected = sameValues("name:", 1_000, "value");
  await writeAll(cluster, 0, expected);
  const running = await cluster.hothot("readdress", "n2", "--port", "1");
  assert.notEqual(running.status, 0);
  assert.match(running.stderr, /n2 runs at .*hothot kill n2/);
  const taken = String(nodeAt(cluster.state, 0).peerPort);
  // One while the others serve, then all at once.
  for (const moved of [["n2"], ["n1", "n2", "n3"]]) {
    const [resp = 0, http = 0, peers = 0] = await freePortRanges(3);
    for (const id of moved) await killNode(cluster.state, id);
    for (const [at, id] of moved.entries()) {
      if (moved.length === 1) {
        const clash = await cluster.hothot("readdress", id, "--port", taken);
        assert.match(clash.stderr, /is an address of n1/);
      }
      const ports = ["--port", resp + at, "--http-port", http + at, "--peer-port", peers + at];
      const done = await cluster.hothot("readdress", id, ...ports.map(String));
      assert.equal(done.status, 0, done.stderr);
    }
    for (const id of moved) await startNode(cluster.state, id);
    const state = readClusterState(cluster.dir);
    const after: TestCluster = { ...cluster, state };
    assert.deepEqual(
      state.nodes.filter(({ id }) => moved.includes(id)).map(({ respPort }) => respPort),
      moved.map((_, at) => resp + at),
    );
    await until("all are ready at their addresses", async () => {
      const { stdout, status } = await cluster.hothot("status", "--json");
      const { nodes } = JSON.parse(stdout) as { readonly nodes: readonly { id: string }[] };
      assert.deepEqual(
        nodes.map(({ id }) => id),
        ["n1", "n2", "n3"],
      );
      return status === 0;
    });
    for (const node of [0, 1, 2]) await assertHolds(after, node, expected);
    const load = new RegisterLoad({
      ports: state.nodes.map((node) => node.respPort),
      ...{ connections: 6, keys: 300, readShare: 0.5, rate: 300 },
    });
    await load.fill();
    assert.deepEqual(await load.verify([0, 1, 2]), []);
  }
});
