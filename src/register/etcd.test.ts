import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { documentOf, registerContract, until } from "../../test/contracts/register.ts";
import { EtcdCluster, lacksEtcd } from "../../test/support/etcd.ts";
import { EtcdRegister, type EtcdRegisterOptions } from "./etcd.ts";
import { openRegister } from "./open-register.ts";
import type { Register } from "./register.ts";

/** Long, for a machine that does other work. What hangs is found by going on, not by waiting. */
const PATIENCE_MS = 20_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let keys = 0;
function freshKey(): string {
  keys += 1;
  return `/test/${keys}/configuration`;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** A register that is closed after the test. */
function open(endpoints: readonly string[], options: Partial<EtcdRegisterOptions> = {}) {
  const key = options.key ?? freshKey();
  const register = new EtcdRegister({ endpoints, timeoutMs: PATIENCE_MS, ...options, key });
  cleanups.push(() => register.close());
  return register;
}

/** What a watch of a register has shown. */
function watching(register: Register, afterVersion = 0): number[] {
  const seen: number[] = [];
  register.watch(afterVersion, (document) => seen.push(document.version));
  return seen;
}

/** A relay to an endpoint that can fall silent in either direction, or cut what it carries. */
async function startRelay(endpoint: string) {
  const target = new URL(endpoint);
  const pairs = new Set<{ readonly near: net.Socket; readonly far: net.Socket }>();
  let carries: (firstBytes: string) => boolean = () => true;
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    const pair = { near, far };
    pairs.add(pair);
    let isMute = false;
    near.on("data", (bytes: Buffer) => {
      if (!carries(bytes.toString("latin1"))) isMute = true;
      far.write(bytes);
    });
    far.on("data", (bytes: Buffer) => {
      if (!isMute && carries("")) near.write(bytes);
    });
    for (const socket of [near, far]) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = (): void => {
    for (const { near, far } of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  cleanups.push(() => {
    cut();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    cut,
    /** From now on, answers to requests that begin so are not carried, on any connection that has seen one. */
    silence(rule: (firstBytes: string) => boolean): void {
      carries = (bytes) => !rule(bytes);
    },
  };
}

describe("register in etcd", { skip: lacksEtcd() }, () => {
  let etcd: EtcdCluster;
  before(async () => {
    etcd = await EtcdCluster.start();
  });
  after(() => etcd.close());

  registerContract("etcd", async () => {
    const key = freshKey();
    const registers: Register[] = [];
    return {
      open: async () => {
        const { endpoints } = etcd;
        const register = new EtcdRegister({ endpoints, key, timeoutMs: PATIENCE_MS });
        registers.push(register);
        return register;
      },
      close: async () => {
        await Promise.all(registers.map((register) => register.close()));
      },
    };
  });

  it("is opened by its address", async () => {
    const options = { timeoutMs: PATIENCE_MS, environment: {} };
    const register = openRegister(`etcd://${etcd.hosts}/by/address`, options);
    cleanups.push(() => register.close());
    await register.swap(documentOf(1));
    assert.deepEqual(
      await open(etcd.endpoints, { key: "/by/address/configuration" }).read(),
      documentOf(1),
    );
  });

  it("answers on while one member, and then the leader, is dead, and the dead one comes back", async () => {
    const register = open(etcd.endpoints);
    const seen = watching(register);
    assert.equal((await register.swap(documentOf(1))).outcome, "done");
    const leader = await etcd.leader();
    const follower = (leader + 1) % etcd.size;
    let version = 1;
    for (const victim of [follower, leader]) {
      await etcd.stopMember(victim);
      // Between the leader's death and the election of the next, an answer may come late: then the register is asked again.
      version += 1;
      await untilSwapped(register, version);
      await until(`version ${version} is seen`, () => seen.includes(version));
      await etcd.startMember(victim);
    }
    assert.deepEqual(await register.read(), documentOf(version));
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    );
  });

  it("finds a live member when the one that it asks first hangs, within one time limit", async () => {
    const leader = await etcd.leader();
    const follower = (leader + 1) % etcd.size;
    const ordered = [follower, (follower + 1) % etcd.size, (follower + 2) % etcd.size];
    const register = open(ordered.map((index) => etcd.endpoints[index] ?? ""));
    await register.swap(documentOf(1));
    etcd.signal(follower, "SIGSTOP");
    cleanups.push(() => etcd.signal(follower, "SIGCONT"));
    assert.equal((await register.swap(documentOf(2))).outcome, "done");
    assert.deepEqual(await register.read(), documentOf(2));
  });

  it("watches on after all members were away, and compacted what it has missed", async () => {
    const reachable: boolean[] = [];
    const key = freshKey();
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    const register = open([relay.url], {
      key,
      onReachable: (is) => reachable.push(is),
      lookMs: 200,
    });
    const seen = watching(register);
    const writer = open(etcd.endpoints, { key });
    await writer.swap(documentOf(1));
    await until("the first is seen", () => seen.includes(1));
    relay.silence(() => true);
    relay.cut();
    await until("it is missed", () => reachable.includes(false));
    for (let version = 2; version <= 6; version++) await writer.swap(documentOf(version));
    await etcd.compact();
    for (let index = 0; index < etcd.size; index++) await etcd.stopMember(index, "SIGTERM");
    relay.silence(() => false);
    relay.cut();
    await Promise.all([0, 1, 2].map((index) => etcd.startMember(index)));
    await until("the last is seen", () => seen.includes(6));
    await untilSwapped(writer, 7);
    await until("one more is seen", () => seen.includes(7));
    assert.deepEqual(reachable, [false, true]);
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    );
  });

  it("notices a watch whose connection is open at one end only", async () => {
    const key = freshKey();
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    relay.silence((bytes) => bytes.includes("/v3/watch"));
    const seen = watching(open([relay.url], { key, lookMs: 100 }));
    const writer = open(etcd.endpoints, { key });
    await writer.swap(documentOf(1));
    await until("the first is seen by a look", () => seen.includes(1));
    await writer.swap(documentOf(2));
    await until("the second is seen by a look", () => seen.includes(2));
  });

  it("leaves a member that falls silent", async () => {
    const key = freshKey();
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    const register = open([relay.url, ...etcd.endpoints.slice(1)], { key, lookMs: 300 });
    const seen = watching(register);
    await register.swap(documentOf(1));
    await until("the first is seen", () => seen.includes(1));
    relay.silence(() => true);
    await open(etcd.endpoints, { key }).swap(documentOf(2));
    await until("the second is seen", () => seen.includes(2));
    assert.deepEqual(await register.read(), documentOf(2));
  });

  it("knows its own document again when the answer to the swap is lost", async () => {
    const key = freshKey();
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    const register = open([relay.url, etcd.endpoints[1] ?? ""], { key });
    await register.swap(documentOf(1));
    relay.silence((bytes) => bytes.includes("/v3/kv/txn"));
    assert.deepEqual(await register.swap(documentOf(2)), { outcome: "done" });
    assert.deepEqual(await open(etcd.endpoints, { key }).read(), documentOf(2));
  });

  it("calls a swap unknown when its answer is lost and nobody else can be asked, and it took place", async () => {
    const key = freshKey();
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    const register = open([relay.url], { key, timeoutMs: 1_000 });
    await untilSwapped(register, 1);
    relay.silence((bytes) => bytes.includes("/v3/kv/txn"));
    assert.equal((await register.swap(documentOf(2))).outcome, "unknown");
    const other = open(etcd.endpoints, { key });
    assert.deepEqual(await other.read(), documentOf(2));
  });

  it("gives an error to a reader, and an unknown outcome, when nobody listens", async () => {
    const register = open(["http://127.0.0.1:1", "http://127.0.0.1:2"], { timeoutMs: 200 });
    await assert.rejects(register.read(), { name: "RegisterError", code: "unreachable" });
    assert.equal((await register.swap(documentOf(1))).outcome, "unknown");
  });

  it("refuses a register that went back, or lost its document", async () => {
    const key = freshKey();
    const register = open(etcd.endpoints, { key });
    for (let version = 1; version <= 3; version++) await register.swap(documentOf(version));
    const put = (document: unknown): Promise<unknown> =>
      etcd.post(0, "/v3/kv/put", { key: base64(key), value: base64(JSON.stringify(document)) });
    await put(documentOf(2));
    await assert.rejects(register.read(), { code: "stale", message: /version 2 after version 3/ });
    assert.equal((await register.swap(documentOf(4))).outcome, "unknown");
    await etcd.post(0, "/v3/kv/deleterange", { key: base64(key) });
    await assert.rejects(register.read(), {
      code: "stale",
      message: /no document after version 3/,
    });
    // An operator puts back what the nodes know.
    await put(documentOf(3));
    assert.deepEqual(await register.read(), documentOf(3));
    assert.equal((await register.swap(documentOf(4))).outcome, "done");
  });

  it("names a document of a newer format, and one that is none, and leaves them alone", async () => {
    const key = freshKey();
    const cases = [
      { text: JSON.stringify({ ...documentOf(1), format: 2 }), code: "newer-format" },
      { text: "{", code: "corrupt" },
      { text: "", code: "corrupt" },
      { text: JSON.stringify({ ...documentOf(1), shards: 3 }), code: "corrupt" },
    ];
    for (const { text, code } of cases) {
      await etcd.post(0, "/v3/kv/put", { key: base64(key), value: base64(text) });
      const register = open(etcd.endpoints, { key });
      await assert.rejects(register.read(), { name: "RegisterError", code });
      assert.equal((await register.swap(documentOf(1))).outcome, "unknown");
      const { kvs } = await etcd.post(0, "/v3/kv/range", { key: base64(key) });
      assert.equal((kvs as { value?: string }[])[0]?.value ?? "", base64(text));
    }
  });

  it("refuses a document that etcd would not take", async () => {
    const first = documentOf(1);
    const nodes = Array.from({ length: 256 }, (_, index) => ({
      ...(first.nodes[0] ?? assert.fail()),
      id: `n${index}`,
      host: "h".repeat(7_000),
    }));
    const shards = first.shards.map((shard) => ({ ...shard, primary: "n1", replicas: ["n1"] }));
    await assert.rejects(open(etcd.endpoints).swap({ ...first, nodes, shards }), {
      code: "refused",
    });
  });

  it("does not mix members of two etcd clusters", async () => {
    const other = await EtcdCluster.start({ members: 1, args: ["--initial-cluster-token", "b"] });
    cleanups.push(() => other.close());
    const relay = await startRelay(etcd.endpoints[0] ?? "");
    const key = freshKey();
    const register = open([relay.url, ...other.endpoints], { key, timeoutMs: 500 });
    const seen = watching(register);
    await untilSwapped(register, 1);
    await until("the first is seen", () => seen.includes(1));
    relay.silence(() => true);
    relay.cut();
    await assert.rejects(register.read(), { code: "unreachable", message: /another etcd cluster/ });
    assert.notEqual((await register.swap(documentOf(2))).outcome, "done");
    assert.equal(await open(other.endpoints, { key }).read(), undefined);
  });
});

describe("register in an etcd with users", { skip: lacksEtcd() }, () => {
  it("logs in, and again when its login has expired", async () => {
    const etcd = await EtcdCluster.start({ args: ["--auth-token-ttl", "1"] });
    cleanups.push(() => etcd.close());
    const key = "/hothot/configuration";
    const auth = (path: string, body: unknown): Promise<unknown> =>
      etcd.post(0, `/v3/auth/${path}`, body);
    await auth("user/add", { name: "root", password: "r00t" });
    await auth("user/grant", { user: "root", role: "root" });
    await auth("role/add", { name: "hothot" });
    await auth("role/grant", {
      name: "hothot",
      perm: { permType: "READWRITE", key: base64(key) },
    });
    await auth("user/add", { name: "hothot", password: "secret" });
    await auth("user/grant", { user: "hothot", role: "hothot" });
    await auth("enable", {});
    const login = (user: string, password: string): Register => {
      const environment = { HOTHOT_ETCD_USER: user, HOTHOT_ETCD_PASSWORD: password };
      const register = openRegister(`etcd://${etcd.hosts}`, { timeoutMs: 5_000, environment });
      cleanups.push(() => register.close());
      return register;
    };
    const register = login("hothot", "secret");
    await untilSwapped(register, 1);
    const seen = watching(register);
    await until("the first is seen", () => seen.includes(1));
    // Longer than a token lives that is not used; and a restart forgets all of them.
    await sleep(2_500);
    await untilSwapped(register, 2);
    for (let index = 0; index < etcd.size; index++) await etcd.stopMember(index);
    await Promise.all([0, 1, 2].map((index) => etcd.startMember(index, false)));
    await untilSwapped(register, 3);
    await until("the third is seen", () => seen.includes(3));

    await assert.rejects(login("hothot", "wrong").read(), {
      message: /invalid user ID or password/,
    });
    const anonymous = openRegister(`etcd://${etcd.hosts}`, { timeoutMs: 5_000, environment: {} });
    cleanups.push(() => anonymous.close());
    await assert.rejects(anonymous.read(), { code: "refused", message: /HOTHOT_ETCD_USER/ });
    const elsewhere = open(etcd.endpoints, {
      key: "/elsewhere",
      credentials: { user: "hothot", password: "secret" },
    });
    await assert.rejects(elsewhere.read(), { code: "refused", message: /permission denied/ });
  });
});

describe("register in an etcd with TLS", { skip: lacksEtcd() }, () => {
  it("trusts its authority alone, and shows its own certificate", async () => {
    const dir = mkdtempSync(join(tmpdir(), "hothot-tls-"));
    cleanups.push(() => rmSync(dir, { recursive: true }));
    const { ca, cert, key } = makeCertificates(dir, "one");
    const etcd = await EtcdCluster.start({ tls: { ca, cert, key } });
    cleanups.push(() => etcd.close());
    const connect = (environment: Record<string, string>, timeoutMs = PATIENCE_MS): Register => {
      const options = { timeoutMs, environment };
      const register = openRegister(`etcds://${etcd.hosts}/tls`, options);
      cleanups.push(() => register.close());
      return register;
    };
    const own = { HOTHOT_ETCD_CA: ca, HOTHOT_ETCD_CERT: cert, HOTHOT_ETCD_KEY: key };
    const register = connect(own);
    const seen = watching(register);
    await untilSwapped(register, 1);
    await until("the first is seen", () => seen.includes(1));
    assert.deepEqual(await connect(own).read(), documentOf(1));
    const strangers = makeCertificates(dir, "two");
    await assert.rejects(connect({ ...own, HOTHOT_ETCD_CA: strangers.ca }, 1_000).read(), {
      code: "unreachable",
      message: /certificate/,
    });
    await assert.rejects(connect({ HOTHOT_ETCD_CA: ca }, 1_000).read(), { code: "unreachable" });

    // Renewed files are taken up without a restart, and damaged ones harm nothing that works.
    const paths = { ca: join(dir, "ca"), cert: join(dir, "cert"), key: join(dir, "key") };
    const install = (from: typeof paths): void => {
      copyFileSync(from.ca, paths.ca);
      copyFileSync(from.cert, paths.cert);
      copyFileSync(from.key, paths.key);
    };
    install(strangers);
    const renewed = connect({
      HOTHOT_ETCD_CA: paths.ca,
      HOTHOT_ETCD_CERT: paths.cert,
      HOTHOT_ETCD_KEY: paths.key,
    });
    const pending = renewed.read();
    install({ ca, cert, key });
    assert.deepEqual(await pending, documentOf(1));
    writeFileSync(paths.cert, "junk");
    for (let index = 0; index < etcd.size; index++) await etcd.stopMember(index);
    await Promise.all([0, 1, 2].map((index) => etcd.startMember(index)));
    assert.deepEqual(await renewed.read(), documentOf(1));
  });
});

/** Swaps until it is done, as the core does: what is unknown is read, then tried again. */
async function untilSwapped(register: Register, version: number): Promise<void> {
  const end = performance.now() + 2 * PATIENCE_MS;
  while (performance.now() < end) {
    const result = await register.swap(documentOf(version));
    if (result.outcome === "done") return;
    if (result.outcome === "conflict" && result.current?.version === version) return;
    await sleep(20);
  }
  assert.fail(`version ${version} was not written in time`);
}

/** An authority and a certificate for loopback, for servers and clients alike, made by openssl. */
function makeCertificates(dir: string, name: string) {
  const path = (suffix: string): string => join(dir, `${name}-${suffix}`);
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { stdio: "pipe" });
  };
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...curve,
    "-days",
    "2",
    "-subj",
    `/CN=authority ${name}`,
    "-keyout",
    path("ca.key"),
    "-out",
    path("ca.pem"),
  );
  openssl(
    "req",
    ...curve,
    "-subj",
    "/CN=member",
    "-keyout",
    path("key.pem"),
    "-out",
    path("csr.pem"),
  );
  writeFileSync(
    path("ext"),
    "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
  );
  openssl(
    "x509",
    "-req",
    "-in",
    path("csr.pem"),
    "-CA",
    path("ca.pem"),
    "-CAkey",
    path("ca.key"),
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    path("ext"),
    "-out",
    path("cert.pem"),
  );
  return { ca: path("ca.pem"), cert: path("cert.pem"), key: path("key.pem") };
}
