/** For the tests of this room: clusters of toy processes. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ClusterState, writeClusterPlan } from "./cluster-state.ts";
import { pause } from "./processes.ts";
import { type Report, type StartOptions, stopCluster } from "./supervisor.ts";

/** A node that does nothing but say that it is ready. */
export const READY_NODE = `
import { createServer } from "node:http";
createServer((_, response) => response.end("ready")).listen(Number(process.argv[2]), "127.0.0.1");
console.log("listening");
`;
/** A witness that does nothing. */
export const WAITING_WITNESS = "setInterval(() => undefined, 1000);";

/** Options of a start that forms no cluster. */
export function starting(stopping: AbortSignal, report: Report): StartOptions {
  return { report, stopping, formCluster: async () => undefined, endings: new Map() };
}

/**
 * Writes the plan of a cluster that ends with the test; nothing of it runs yet.
 * @param scripts what each node runs; it gets its HTTP port as its argument.
 */
export async function makeCluster(
  t: TestContext,
  scripts: readonly string[],
): Promise<ClusterState> {
  const dir = mkdtempSync(join(tmpdir(), "hothot-state-"));
  const script = (name: string, text: string): string => {
    const path = join(dir, `${name}.mjs`);
    writeFileSync(path, text);
    return path;
  };
  const nodes = [];
  for (const [index, text] of scripts.entries()) {
    const id = `n${index + 1}`;
    const httpPort = await freePort();
    nodes.push({
      id,
      host: "127.0.0.1",
      respPort: 0,
      peerPort: 0,
      httpPort,
      args: [script(id, text), String(httpPort)],
    });
  }
  const state = writeClusterPlan(dir, {
    format: 1,
    clusterId: "test",
    witness: {
      id: "witness",
      url: "http://127.0.0.1:1",
      args: [script("witness", WAITING_WITNESS)],
    },
    nodes,
  });
  t.after(async () => {
    const hurry = new AbortController();
    hurry.abort();
    await stopCluster(state, () => undefined, hurry.signal);
    rmSync(dir, { recursive: true, force: true });
  });
  return state;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i += 1) await pause(20);
  assert.ok(condition(), "the condition did not come true within 20 s");
}
