import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { readInto } from "./accepted-socket.ts";
import { ReadBuffer } from "./read-buffer.ts";

/** A server that keeps what its connections bring, and the accepted side of a first connection to it. */
async function setUp(t: TestContext, pauseOnConnect = true) {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const reads = new ReadBuffer(64 * 1024);
  const open = async () => {
    const client = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    t.after(() => client.destroy());
    const [accepted] = (await once(server, "connection")) as [Socket];
    const received: Buffer[] = [];
    const socket = readInto(accepted, reads.target, (count) => {
      reads.keep(count);
      received.push(reads.page.subarray(reads.start, reads.end));
    });
    t.after(() => (socket ?? accepted).destroy());
    return { client, accepted, socket, received };
  };
  return { server, open };
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < end, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("what several connections bring comes whole, to each its own", async (t) => {
  const { open } = await setUp(t);
  const all = [await open(), await open(), await open()];
  const sent = all.map((_each, index) => {
    const bytes = Buffer.alloc(1_000_000);
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * (index + 1) + (at >> 9)) & 0xff;
    return bytes;
  });
  for (let at = 0; at < 1_000_000; ) {
    const size = 1 + ((at * 31) % 20_000);
    for (const [index, { client }] of all.entries()) {
      client.write((sent[index] as Buffer).subarray(at, at + size));
    }
    if (at % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    at += size;
  }
  for (const [index, { received }] of all.entries()) {
    await until(() => received.reduce((sum, { length }) => sum + length, 0) === 1_000_000);
    assert.ok(Buffer.concat(received).equals(sent[index] as Buffer));
  }
});

test("a paused socket reads no more until it is resumed, and the end comes after all", async (t) => {
  const { open } = await setUp(t);
  const { client, socket, received } = await open();
  assert.ok(socket !== undefined);
  let hasEnded = false;
  socket.on("end", () => {
    hasEnded = true;
  });
  socket.resume();
  client.write("first");
  await until(() => received.length === 1);
  socket.pause();
  client.end("second");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(received.length, 1);
  assert.equal(hasEnded, false);
  socket.resume();
  await until(() => hasEnded);
  assert.equal(Buffer.concat(received).toString(), "firstsecond");
  let answer = "";
  client.on("data", (chunk) => {
    answer += String(chunk);
  });
  socket.end("it can still be answered");
  await until(() => answer === "it can still be answered");
});

test("the server knows when its last connection is gone", async (t) => {
  const { server, open } = await setUp(t);
  const { client, socket } = await open();
  assert.ok(socket !== undefined);
  socket.on("error", () => undefined);
  const closed = new Promise((resolve) => socket.on("close", resolve));
  client.resetAndDestroy();
  await closed;
  const [left] = await new Promise<[number]>((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve([count]) : reject(error)));
  });
  assert.equal(left, 0);
});

test("a socket that reads already is left alone", async (t) => {
  const { open } = await setUp(t, false);
  const { client, accepted, socket } = await open();
  assert.equal(socket, undefined);
  let received = "";
  accepted.on("data", (chunk) => {
    received += String(chunk);
  });
  client.write("hello");
  await until(() => received === "hello");
});
