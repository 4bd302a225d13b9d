import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { documentOf, until } from "../../test/contracts/register.ts";
import { WitnessServer } from "./witness.ts";
import { WitnessRegister } from "./witness-client.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startWitness(options: { file?: string; port?: number; clusterId?: string } = {}) {
  const server = new WitnessServer({ host: "127.0.0.1", port: 0, ...options });
  const port = await server.listen();
  cleanups.push(() => server.close());
  return { server, port, url: `http://127.0.0.1:${port}` };
}

function client(url: string, timeoutMs = 10_000): WitnessRegister {
  const register = new WitnessRegister({ url, timeoutMs });
  cleanups.push(() => register.close());
  return register;
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "hothot-witness-"));
  cleanups.push(() => rm(path, { recursive: true }));
  return path;
}

async function put(url: string, body: string): Promise<number> {
  return (await fetch(`${url}/configuration`, { method: "PUT", body })).status;
}

describe("witness", () => {
  it("keeps its document over a restart, and leaves no other file", async () => {
    const path = await folder();
    const file = join(path, "configuration.json");
    const first = await startWitness({ file });
    const register = client(first.url);
    await register.swap(documentOf(1));
    await register.swap(documentOf(2));
    await first.server.close();
    const second = await startWitness({ file });
    assert.deepEqual(await client(second.url).read(), documentOf(2));
    assert.deepEqual(await readdir(path), ["configuration.json"]);
    assert.equal((await client(second.url).swap(documentOf(2, 5))).outcome, "conflict");
  });

  it("has the document on disk before it answers", async () => {
    const file = join(await folder(), "configuration.json");
    const { url } = await startWitness({ file });
    const register = client(url);
    for (let version = 1; version <= 5; version++) {
      await register.swap(documentOf(version));
      assert.deepEqual(JSON.parse(await readFile(file, "utf8")), documentOf(version));
    }
  });

  it("refuses to start on a damaged file, and leaves it alone", async () => {
    const file = join(await folder(), "configuration.json");
    for (const content of ["", "{", JSON.stringify({ ...documentOf(1), shards: 3 })]) {
      await writeFile(file, content);
      const server = new WitnessServer({ host: "127.0.0.1", port: 0, file });
      await assert.rejects(server.listen(), { name: "RegisterError", code: "corrupt" });
      assert.equal(await readFile(file, "utf8"), content);
    }
  });

  it("refuses to start on a file of a newer format, and leaves it alone", async () => {
    const file = join(await folder(), "configuration.json");
    const content = JSON.stringify({ ...documentOf(1), format: 2 });
    await writeFile(file, content);
    const server = new WitnessServer({ host: "127.0.0.1", port: 0, file });
    await assert.rejects(server.listen(), { code: "newer-format", message: /upgrade/ });
    assert.equal(await readFile(file, "utf8"), content);
  });

  it("removes what a crash within a replacement has left, and nothing else", async () => {
    const path = await folder();
    const file = join(path, "configuration.json");
    await writeFile(`${file}.123.0011aabb.tmp`, "{");
    await writeFile(`${file}.old.tmp`, "{");
    await startWitness({ file });
    assert.deepEqual(await readdir(path), ["configuration.json.old.tmp"]);
  });

  it("refuses to start on another cluster's file", async () => {
    const file = join(await folder(), "configuration.json");
    await writeFile(file, JSON.stringify(documentOf(3)));
    const server = new WitnessServer({ host: "127.0.0.1", port: 0, file, clusterId: "other" });
    await assert.rejects(server.listen(), { code: "corrupt" });
  });

  it("answers a swap that its disk refused with an unknown outcome", async () => {
    const path = await folder();
    const { url } = await startWitness({ file: join(path, "missing", "configuration.json") });
    const result = await client(url).swap(documentOf(1));
    assert.equal(result.outcome, "unknown");
    assert.equal(await client(url).read(), undefined);
  });

  it("names what is wrong with a request", async () => {
    const { url } = await startWitness({ clusterId: "contract" });
    assert.equal((await fetch(`${url}/configuration`)).status, 404);
    assert.equal((await fetch(`${url}/nothing`)).status, 404);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    assert.equal((await fetch(`${url}/configuration?after=x`)).status, 400);
    assert.equal((await fetch(`${url}/configuration`, { method: "DELETE" })).status, 405);
    assert.equal(await put(url, "{"), 400);
    assert.equal(await put(url, "[]"), 400);
    assert.equal(await put(url, JSON.stringify({ ...documentOf(1), format: 2 })), 422);
    assert.equal(await put(url, JSON.stringify(documentOf(1, 1, "other"))), 422);
    assert.equal(await put(url, JSON.stringify(documentOf(2))), 409);
    assert.equal(await put(url, JSON.stringify(documentOf(1))), 200);
    assert.equal(await put(url, JSON.stringify(documentOf(1))), 409);
  });

  it("lets a long poll end without news", async () => {
    const server = new WitnessServer({ host: "127.0.0.1", port: 0, pollMsMax: 20 });
    const port = await server.listen();
    cleanups.push(() => server.close());
    const answer = await fetch(`http://127.0.0.1:${port}/configuration?after=0`);
    assert.equal(answer.status, 204);
  });

  it("closes while others wait for news", async () => {
    const { server, url } = await startWitness();
    const waiting = fetch(`${url}/configuration?after=0`).then(
      (answer) => answer.status,
      () => "cut off",
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    assert.ok([204, "cut off"].includes(await waiting));
  });
});

describe("witness client", () => {
  it("gives an unknown outcome when the witness is away, and an error to a reader", async () => {
    const { server, url } = await startWitness();
    await server.close();
    const register = client(url, 500);
    assert.equal((await register.swap(documentOf(1))).outcome, "unknown");
    await assert.rejects(register.read(), { name: "RegisterError", code: "unreachable" });
  });

  it("gives an unknown outcome when the witness takes the request and says nothing", async () => {
    const sockets: net.Socket[] = [];
    const mute = net.createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.resume();
    });
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    cleanups.push(async () => {
      for (const socket of sockets) socket.destroy();
      mute.close();
    });
    const { port } = mute.address() as net.AddressInfo;
    const result = await client(`http://127.0.0.1:${port}`, 100).swap(documentOf(1));
    assert.equal(result.outcome, "unknown");
  });

  it("watches on after the witness was away", async () => {
    const file = join(await folder(), "configuration.json");
    const first = await startWitness({ file });
    const reachable: boolean[] = [];
    const register = new WitnessRegister({
      url: first.url,
      timeoutMs: 10_000,
      onReachable: (isReachable) => reachable.push(isReachable),
    });
    cleanups.push(() => register.close());
    const seen: number[] = [];
    register.watch(0, (document) => seen.push(document.version));
    await register.swap(documentOf(1));
    await until("the first is seen", () => seen.includes(1));
    await first.server.close();
    await until("it is missed", () => reachable.includes(false));
    const second = await startWitness({ file, port: first.port });
    await client(second.url).swap(documentOf(2));
    await until("the second is seen", () => seen.includes(2));
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(reachable, [false, true]);
  });
});
