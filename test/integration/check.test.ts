/** `hothot check`: it passes stores that are right, our own under faults included, and convicts those that are not. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readHistory } from "../../src/history/history.ts";
import { freePorts } from "../support/ports.ts";
import { connectClient, lacks, runHothot, sleep, startTestCluster, until } from "./harness.ts";

const skip = lacks("redis-server");

/** A redis-server that forgets everything when it ends. */
class PlainServer {
  readonly port: number;
  #child: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
  }

  async start(): Promise<void> {
    const args = `--port ${this.port} --bind 127.0.0.1 --appendonly no --dir ${tmpdir()}`;
    this.#child = spawn("redis-server", [...args.split(" "), "--save", ""], { stdio: "ignore" });
    await until(`redis-server on port ${this.port}`, async () => {
      try {
        (await connectClient(this.port)).destroy();
        return true;
      } catch {
        return false;
      }
    });
  }

  kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
    });
  }
}

async function startServer(t: TestContext): Promise<PlainServer> {
  const server = new PlainServer(await freePorts(1));
  t.after(() => server.kill());
  await server.start();
  return server;
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "hothot-check-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test("a plain redis-server passes, and its saved history passes again", { skip }, async (t) => {
  const server = await startServer(t);
  const file = join(folder(t), "history");
  const target = `127.0.0.1:${server.port}`;
  const run = await runHothot("check", "--target", target, "--duration", "3", "--history", file);
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /verdict: ok/);
  assert.match(run.stdout, /again: hothot check --seed \d+/);
  assert.ok(readHistory(readFileSync(file, "utf8")).history.length > 100);

  const again = await runHothot("check", "--judge", file);
  assert.equal(again.status, 0, again.stdout + again.stderr);

  // The same history with one answer changed is convicted.
  const lines = readFileSync(file, "utf8").split("\n");
  const at = lines.findIndex(
    (line) => line.includes('"kind":"get"') && line.includes('"result":"<'),
  );
  assert.ok(at > 0, "some GET found a value");
  lines[at] = (lines[at] ?? "").replace(/"result":"[^"]*"/, '"result":"<never written>"');
  writeFileSync(file, lines.join("\n"));
  const convicted = await runHothot("check", "--judge", file);
  assert.equal(convicted.status, 1);
  assert.match(convicted.stdout, /never written/);
});

test("two servers that know nothing of each other are no store", { skip }, async (t) => {
  const [one, two] = [await startServer(t), await startServer(t)];
  const file = join(folder(t), "history");
  const run = await runHothot(
    "check",
    ...["--target", `127.0.0.1:${one.port},127.0.0.1:${two.port}`],
    ...["--duration", "2", "--keys", "4", "--json", "--history", file],
  );
  assert.equal(run.status, 1, run.stdout + run.stderr);
  const report = JSON.parse(run.stdout);
  assert.equal(report.verdict, "violated");
  assert.ok(report.acknowledgedWritesMissing > 0);
  assert.match(report.judgement.explanation.join("\n"), /is not linearizable/);
  assert.match(run.stderr, /clients have stopped/);
});

test("a server that forgets when it is killed is convicted, and clients live on", {
  skip,
}, async (t) => {
  const server = await startServer(t);
  const file = join(folder(t), "history");
  const target = `127.0.0.1:${server.port}`;
  // Without a pause between commands, so that some are under way at any moment.
  const running = runHothot(
    "check",
    ...["--target", target, "--duration", "5", "--think-ms", "0", "--history", file],
  );
  const watcher = await connectClient(server.port);
  await until("the check has begun", async () => (await watcher.dbSize()) > 4);
  watcher.destroy();
  await sleep(1_000);
  await server.kill();
  await server.start();
  const run = await running;
  assert.equal(run.status, 1, run.stdout + run.stderr);
  assert.match(run.stdout, /not linearizable|not strictly serializable/);
  const { history } = readHistory(readFileSync(file, "utf8"));
  const unclear = history.filter((operation) => operation.outcome === "unknown");
  assert.ok(unclear.length > 0, "commands were under way when it died");
  const lastUnclear = Math.max(...unclear.map((operation) => operation.invokedAt));
  assert.ok(history.some((each) => each.outcome === "ok" && each.invokedAt > lastUnclear));
});

test("what cannot be carried out ends with status 2", async (t) => {
  const port = await freePorts(1);
  const nobody = await runHothot("check", "--target", `127.0.0.1:${port}`, "--duration", "1");
  assert.equal(nobody.status, 2, nobody.stderr);
  assert.match(nobody.stderr, /No Redis server answers/);
  const faults = await runHothot("check", "--target", `127.0.0.1:${port}`, "--nemesis", "kill");
  assert.equal(faults.status, 2, faults.stderr);
  const dir = folder(t);
  const none = await runHothot("check", "--dir", dir);
  assert.equal(none.status, 2, none.stderr);
  const noFile = await runHothot("check", "--judge", join(dir, "nothing"));
  assert.equal(noFile.status, 2, noFile.stderr);
});

test("a cluster whose nodes are killed, and whose shards move, passes", async (t) => {
  const cluster = await startTestCluster(t);
  // No bound on the gap: other programs may have the processors of this machine.
  const run = await cluster.hothot(
    "check",
    ...["--duration", "6", "--clients", "8", "--nemesis", "kill,transfer", "--max-gap-ms", "0"],
    ...["--seed", "1", "--json"],
  );
  assert.equal(run.status, 0, run.stdout + run.stderr);
  const report = JSON.parse(run.stdout);
  assert.equal(report.verdict, "ok");
  assert.equal(report.acknowledgedWritesMissing, 0);
  assert.ok(report.faults.length > 0);
  for (const fault of report.faults) assert.equal(fault.errorsElsewhere, 0);
  if (report.faults.some((fault: { readonly kind: string }) => fault.kind === "kill")) {
    assert.ok(report.failovers.length > 0, "the nodes tell of the failover");
  }
  const status = await cluster.status(0);
  assert.equal(status.status.isReady, true, "nothing stays dead");
});
