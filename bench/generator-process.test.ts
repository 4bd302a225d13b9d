import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { Generators } from "./generator-process.ts";
import type { LoadJob, LoadResult, Pace } from "./load/job.ts";
import { keyText } from "./load/keys.ts";

const JOB: Omit<LoadJob, "endpoints" | "pace"> = {
  protocol: "resp",
  connections: 3,
  pipeline: 4,
  parts: [{ operation: "set", share: 1 }],
  keys: 100,
  firstInsert: 100,
  distribution: "uniform",
  valueBytes: 8,
  pids: [process.pid],
  seed: 1,
};
const CLOSED: Pace = { kind: "closed", warmMs: 50, measureMs: 200 };

test("a fill writes each key once", async (t) => {
  const server = await startServer(t);
  const result = await runJob(t, server.port, { pace: { kind: "fill", firstKey: 0 }, pipeline: 5 });
  assert.equal(result.errors, 0);
  const keys = server.requests.filter(([name]) => name === "SET").map(([, key]) => key);
  // The last batch of a connection may begin anew.
  assert.deepEqual(new Set(keys), new Set(Array.from({ length: 100 }, (_, key) => keyText(key))));
  assert.ok(keys.length < 100 + 3 * 5);
});

test("a closed loop sends the next batch when the last was answered, and counts", async (t) => {
  const server = await startServer(t);
  const wait = { replicas: 2, per: "write" } as const;
  const result = await runJob(t, server.port, { pace: CLOSED, wait });
  assert.ok(result.operations > 0 && result.operations % 4 === 0);
  assert.ok(result.latency.count > 0 && result.latency.p50 <= result.latency.p99);
  assert.deepEqual([result.errors, result.misses], [0, 0]);
  const names = server.requests.map(([name]) => name);
  const writes = names.filter((name) => name === "SET").length;
  assert.equal(names.filter((name) => name === "WAIT").length, writes);
  assert.equal(result.writesInAll, writes);
  // The server says that one replica had it.
  assert.equal(result.shortWaits, writes);
  assert.ok(result.cpuAfter.machine >= result.cpuBefore.machine);
  assert.ok((result.cpuAfter.processes[process.pid] ?? 0) > 0);
});

test("a read, then a write of the same key, is one operation", async (t) => {
  const server = await startServer(t);
  const parts = [{ operation: "read-modify-write", share: 1 }] as const;
  await runJob(t, server.port, { pace: CLOSED, parts, pipeline: 1, connections: 1 });
  const data = server.requests.filter(([name]) => name === "GET" || name === "SET");
  assert.ok(data.length > 2);
  for (const [index, [name, key]] of data.entries()) {
    assert.equal(name, index % 2 === 0 ? "GET" : "SET");
    if (name === "SET") assert.equal(key, data[index - 1]?.[1]);
  }
});

test("an open loop charges a server that stands still for all who would have come", async (t) => {
  const server = await startServer(t);
  const stallMs = 600;
  const ratePerSecond = 500;
  const pace = { kind: "open", warmMs: 100, measureMs: 1_500, ratePerSecond } as const;
  server.stallAfter(200, stallMs);
  const result = await runJob(t, server.port, { pace, pipeline: 1 });
  // At least a third of all came during the stall, or waited for what did.
  assert.ok(result.latency.p99 > (stallMs * 1_000) / 2, JSON.stringify(result.latency));
  assert.ok((result.lateness?.count ?? 0) > 0);
  assert.ok(result.operations <= 1.5 * ratePerSecond * result.seconds + ratePerSecond);
});

test("a load fails when the server goes away", async (t) => {
  const server = await startServer(t);
  const timer = setInterval(() => {
    // The connections have to be there first.
    if (server.requests.some(([name]) => name === "SET")) server.close();
  }, 20);
  t.after(() => clearInterval(timer));
  await assert.rejects(
    runJob(t, server.port, { pace: { kind: "closed", warmMs: 50, measureMs: 20_000 } }),
    /closed the connection|ECONNRESET|EPIPE/,
  );
});

async function runJob(
  t: TestContext,
  port: number,
  changes: Partial<LoadJob> & Pick<LoadJob, "pace">,
): Promise<LoadResult> {
  const generators = new Generators();
  t.after(() => generators.stop());
  return generators.run({ ...JOB, endpoints: [{ host: "127.0.0.1", port }], ...changes });
}

interface TestServer {
  readonly port: number;
  readonly requests: string[][];
  /** Answers nothing for a while, beginning after so many requests. */
  stallAfter(requests: number, ms: number): void;
  close(): void;
}

/** A server that speaks as much RESP as these tests send: arrays of short bulk strings, whole in one piece or not. */
async function startServer(t: TestContext): Promise<TestServer> {
  const requests: string[][] = [];
  const sockets = new Set<Socket>();
  let stall: { readonly after: number; readonly ms: number } | undefined;
  let stalledUntilMs = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      let replies = "";
      for (;;) {
        const request = takeRequest(text);
        if (request === undefined) break;
        text = text.slice(request.length);
        requests.push(request.words);
        replies += replyTo(request.words[0]);
      }
      if (stall !== undefined && requests.length > stall.after) {
        stalledUntilMs = performance.now() + stall.ms;
        stall = undefined;
      }
      const waitMs = stalledUntilMs - performance.now();
      if (waitMs > 0) setTimeout(() => socket.write(replies), waitMs);
      else socket.write(replies);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  t.after(close);
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    stallAfter(after, ms) {
      stall = { after, ms };
    },
    close,
  };
}

function replyTo(name: string | undefined): string {
  switch (name) {
    case "WAIT":
      return ":1\r\n";
    case "GET":
      return "$1\r\nv\r\n";
    default:
      return "+OK\r\n";
  }
}

function takeRequest(
  text: string,
): { readonly words: string[]; readonly length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let at = head[0].length;
  const words: string[] = [];
  for (let word = 0; word < Number(head[1]); word += 1) {
    const bulk = /^\$(\d+)\r\n/.exec(text.slice(at, at + 16));
    if (bulk === null) return undefined;
    const from = at + bulk[0].length;
    const to = from + Number(bulk[1]);
    if (text.length < to + 2) return undefined;
    words.push(text.slice(from, to));
    at = to + 2;
  }
  return { words, length: at };
}
