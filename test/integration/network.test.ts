/**
 * Clusters in a bed: every process in a network namespace of its own, so that cables can be pulled and lines cut. It takes root
 * and iproute2; elsewhere these tests are skipped, and say why. What clocks do that differ is the simulator's to show, as
 * namespaces share one clock.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { memberOf } from "../../src/cli/bed/bed.ts";
import { bothWays } from "../../src/cli/check/net-faults.ts";
import { killNode, startNode } from "../../src/cli/cluster-state.ts";
import { check, lacksBed, startBed } from "../support/bed.ts";
import { dataDirectory } from "../support/data-dir.ts";
import { type Client, lacks, run, sleep, type TestCluster, until } from "./harness.ts";

const skip = await lacksBed();

/** What a node that cannot serve says; nothing else will do. */
const CLEAR_REFUSAL = /^(TRYAGAIN|UNCERTAIN) /;

test("each impairment does to packets what it says, and nothing else", {
  skip,
  timeout: 240_000,
}, async (t) => {
  const { cluster, network } = await startBed(t, 3);
  type Way = readonly [from: string, to: string];
  const send = (pace: "steady" | "burst", ways: readonly Way[]) =>
    Promise.all(ways.map(([from, to], index) => sendPackets(cluster, { from, to, index, pace })));
  const measure = (...ways: Way[]) => send("steady", ways);
  const [there, back, aside] = [
    ["n1", "n2"] as const,
    ["n2", "n1"] as const,
    ["n2", "n3"] as const,
  ];
  const arrived = (all: readonly Arrivals[]): number[] => all.map((each) => each.count);

  const heal = async (): Promise<void> => {
    await network.heal();
    // Hardware addresses that could not be asked for meanwhile are asked for again within a second or so.
    await until("all arrives again", async () =>
      arrived(await measure(there, back, aside)).every((count) => count === PACKETS),
    );
  };

  await heal();
  await network.impair({ n1: { deafTo: ["n2"] } });
  assert.deepEqual(arrived(await measure(there, back, ["n3", "n1"])), [PACKETS, 0, PACKETS]);
  await heal();
  for (const impairment of [{ isSilent: true }, { isUnplugged: true }] as const) {
    await network.impair({ n1: impairment });
    assert.deepEqual(arrived(await measure(there, back, aside)), [0, 0, PACKETS]);
    await heal();
  }
  await network.impair({ n1: { lossShare: 0.5 } });
  const [lossyThere, lossyBack, whole] = arrived(await measure(there, back, aside));
  for (const count of [lossyThere, lossyBack]) {
    assert.ok(count !== undefined && count > 0.3 * PACKETS && count < 0.7 * PACKETS, `${count}`);
  }
  assert.equal(whole, PACKETS);
  await heal();
  await network.impair({ n1: { rateKbit: 500 } });
  const [slowThere, slowBack, fast] = arrived(await send("burst", [there, back, aside]));
  for (const count of [slowThere, slowBack]) {
    assert.ok(count !== undefined && count > 0 && count < 0.9 * PACKETS, `${count}`);
  }
  assert.equal(fast, PACKETS);
  await heal();
  await network.impair({ n1: { delay: { delayMs: 200, jitterMs: 50 } } });
  const delayed = await measure(there, back);
  assert.deepEqual(arrived(delayed), [PACKETS, PACKETS]);
  for (const { fastestMs, slowestMs } of delayed) {
    assert.ok(fastestMs >= 149, `${fastestMs} ms`);
    assert.ok(slowestMs - fastestMs > 50, "the delay varies");
  }
  await heal();
  const { fastestMs } = (await measure(there))[0] ?? { fastestMs: Number.NaN };
  assert.ok(fastestMs < 149, `${fastestMs} ms`);
});

test("two-machines-suffice", { skip, timeout: 240_000 }, async (t) => {
  const { cluster, network } = await startBed(t, 2);

  await t.test("kill either, cut either: the other serves on", async (t) => {
    const report = await check(t, cluster, "--duration", "10", "--nemesis", "kill,cut,power-off");
    assert.ok(report.faults.length >= 2);
    for (const fault of report.faults) assert.equal(fault.errorsElsewhere, 0, fault.what);
  });

  await t.test("the witness dies: nobody notices", async (t) => {
    const checking = check(t, cluster, "--duration", "4");
    await until("clients work", async () => (await (await cluster.client(0)).dbSize()) > 4);
    await killNode(cluster.state, "witness");
    const report = await checking;
    assert.deepEqual(report.errors, []);
    await startNode(cluster.state, "witness");
  });

  await t.test("each alone, without witness: never two acceptances", async (t) => {
    const [one, two] = [await cluster.client(0), await cluster.client(1)];
    t.after(() => network.heal());
    await network.impair({
      ...bothWays(["n1"], ["n2", "witness"]),
      n2: { deafTo: ["n1", "witness"] },
      witness: { deafTo: ["n1", "n2"] },
    });
    const keys = Array.from({ length: 60 }, (_, index) => `lock:${index}`);
    const [mine, theirs] = await Promise.all([
      acceptances(one, keys, "n1"),
      acceptances(two, keys, "n2"),
    ]);
    const both = keys.filter((key) => mine.accepted.has(key) && theirs.accepted.has(key));
    assert.deepEqual(both, [], "both nodes gave the same lock away");
    for (const why of [...mine.refusals, ...theirs.refusals]) assert.match(why, CLEAR_REFUSAL);
    // Each had lost its lease before it had to answer the last, so these were not all given away by luck.
    assert.ok(mine.refusals.length > 0 && theirs.refusals.length > 0);
    await network.heal();
    await cluster.untilReady();
    for (const [id, { accepted }] of [["n1", mine] as const, ["n2", theirs] as const]) {
      for (const key of accepted) {
        assert.equal(await one.get(key), id);
        assert.equal(await two.get(key), id);
      }
    }
  });
});

test("no-divergence-after-split", { skip, timeout: 120_000 }, async (t) => {
  const { cluster, network } = await startBed(t, 3);
  const clients = [await cluster.client(0), await cluster.client(1), await cluster.client(2)];
  const keys = Array.from({ length: 80 }, (_, index) => `key:${index}`);
  const writeAll = (client: Client, value: string) =>
    Promise.allSettled(keys.map((key) => client.set(key, value)));
  for (const [index, client] of clients.entries()) {
    const writes = await writeAll(client, `before ${index}`);
    assert.ok(writes.every((write) => write.status === "fulfilled"));
  }

  await network.impair(bothWays(["n3"], ["n1", "n2", "witness"]));
  await cluster.untilRemoved("n3", 0);
  const [first, second, lone] = await Promise.all(
    clients.map((client, index) => writeAll(client, `split ${index}`)),
  );
  for (const write of [...(first ?? []), ...(second ?? [])]) {
    assert.equal(write.status, "fulfilled", "the two that hear each other and the witness serve");
  }
  for (const write of lone ?? []) {
    assert.equal(write.status, "rejected", "the one that is cut off accepts nothing");
    if (write.status === "rejected") assert.match(String(write.reason.message), CLEAR_REFUSAL);
  }
  const stale = await Promise.allSettled(keys.map((key) => clients[2]?.get(key)));
  for (const read of stale) {
    assert.equal(read.status, "rejected", "the one that is cut off reads nothing out");
  }

  await network.heal();
  await cluster.untilReady();
  const values = await Promise.all(
    clients.map((client) => Promise.all(keys.map((key) => client.get(key)))),
  );
  assert.deepEqual(values[1], values[0]);
  assert.deepEqual(values[2], values[0]);
  for (const value of values[0] ?? []) assert.match(value ?? "", /^split [01]$/);
});

/** Nobody has to wait for a node at the end of such a line, though a command that it led may be in doubt. */
const BAD_LINES = [
  { what: "2 s of delay", impairment: { delay: { delayMs: 2_000, jitterMs: 200 } }, doubts: false },
  // What TCP has lost it sends again after waits that double: with so much lost, some are longer than a command waits.
  { what: "30 % of all packets lost", impairment: { lossShare: 0.3 }, doubts: true },
] as const;

for (const { what, impairment, doubts } of BAD_LINES) {
  test(`slow-node-evicted: ${what}`, { skip, timeout: 120_000 }, async (t) => {
    const { cluster, network } = await startBed(t, 3);
    const numbers = new Numbers(cluster);
    let isOver = false;
    const writing = [0, 1].map(async (node) => {
      while (!isOver) await numbers.write(node, 40);
    });
    const reading = (async () => {
      while (!isOver) await numbers.read(2, 40);
    })();
    await sleep(500);
    const before = numbers.acknowledged();
    await network.impair({ n3: impairment });
    await sleep(6_000);
    isOver = true;
    await Promise.all([...writing, reading]);
    const during = numbers.acknowledged() - before;
    await network.heal();
    await cluster.untilReady();
    t.diagnostic(
      `${during} writes elsewhere, ${numbers.doubts.length} in doubt, the slowest took ${Math.round(numbers.slowestMs)} ms; ` +
        `the node answered ${numbers.reads} reads and refused ${numbers.refusals.length}`,
    );
    assert.ok(during > 0, "the others write on");
    for (const why of numbers.refusals) assert.match(why, CLEAR_REFUSAL);
    for (const why of numbers.doubts) assert.match(why, /^UNCERTAIN /);
    if (!doubts) assert.deepEqual(numbers.doubts, []);
    await numbers.read(2, 40);
    assert.deepEqual(numbers.stale, []);
  });
}

test("hothot check --nemesis net: every kind of trouble, and no wrong answer", {
  skip,
  timeout: 240_000,
}, async (t) => {
  const disks = ["--data-dir", dataDirectory(), "--durability", "fsync"];
  const { cluster } = await startBed(t, 3, disks);
  const report = await check(t, cluster, "--duration", "25", "--nemesis", "net");
  assert.equal(report.acknowledgedWritesMissing, 0);
  assert.ok(report.faults.length >= 3);
  assert.equal((await cluster.status(0)).status.isReady, true, "nothing stays broken");
  // What the machine cannot do it says; with strace it can do all.
  if (lacks("strace") === false) assert.match(report.reproduce, /slow-node.*stuck-disk/);
  else assert.doesNotMatch(report.reproduce, /-disk/);
});

test("hothot down removes the bed that a crash has left, and nothing else", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const { cluster } = await startBed(t, 2);
  const { bed } = cluster.state;
  assert.ok(bed !== undefined);
  const names = [bed.hub, ...bed.members.map((member) => member.namespace)];
  const before = namespaces();
  for (const name of names) assert.ok(before.includes(name), name);
  cluster.supervisor.kill("SIGKILL");
  await killNode(cluster.state, "n1");
  const down = await cluster.hothot("down");
  assert.equal(down.status, 0, down.stderr);
  assert.deepEqual(
    namespaces().filter((name) => names.includes(name)),
    [],
  );
  assert.ok(!existsSync(`/sys/class/net/${bed.clientDevice}`));
  const others = before.filter((name) => !names.includes(name) && !name.startsWith("hothot-"));
  for (const name of others) assert.ok(namespaces().includes(name), `${name} was not ours`);
});

function namespaces(): string[] {
  return existsSync("/run/netns") ? readdirSync("/run/netns") : [];
}

/** Packets of one measurement: more bytes than a slow line takes, and fewer than a socket holds. */
const PACKETS = 150;
const PACKET_BYTES = 1_000;
const PROBE_PORT = 9_000;

/** What arrived of a measurement's packets, and how long they were under way, ms. */
interface Arrivals {
  readonly count: number;
  readonly fastestMs: number;
  readonly slowestMs: number;
}

/** All namespaces share one clock, so a packet may carry the time at which it was sent. */
const RECEIVER = `
const socket = require("node:dgram").createSocket("udp4");
const times = [];
socket.on("message", (packet) => times.push(Number(process.hrtime.bigint() - packet.readBigUInt64BE()) / 1e6));
socket.bind(Number(process.argv[1]), process.argv[2], () => {
  socket.setRecvBufferSize(2 ** 20);
  console.log("ready");
});
process.stdin.on("end", () => {
  console.log(JSON.stringify({ count: times.length, fastestMs: Math.min(...times), slowestMs: Math.max(...times) }));
  process.exit();
}).resume();
`;
const SENDER = `
const [port, host, count, bytes, pace] = process.argv.slice(1);
const socket = require("node:dgram").createSocket("udp4");
let left = Number(count);
const timer = setInterval(() => {
  do {
    const packet = Buffer.alloc(Number(bytes));
    packet.writeBigUInt64BE(process.hrtime.bigint());
    socket.send(packet, Number(port), host, () => undefined);
  } while (--left > 0 && pace === "burst");
  if (left > 0) return;
  clearInterval(timer);
  setTimeout(() => socket.close(), 600);
}, 1);
`;

/** Sends packets from one process's namespace to another's. @param way its index keeps measurements apart. */
async function sendPackets(
  cluster: TestCluster,
  way: {
    readonly from: string;
    readonly to: string;
    readonly index: number;
    /** One a millisecond, or all at once. */
    readonly pace: "steady" | "burst";
  },
): Promise<Arrivals> {
  const { bed } = cluster.state;
  assert.ok(bed !== undefined);
  const [from, to] = [memberOf(bed, way.from), memberOf(bed, way.to)];
  const port = String(PROBE_PORT + way.index);
  const inside = (namespace: string, script: string, ...args: string[]): string[] => [
    ...["netns", "exec", namespace, process.execPath, "-e", script, ...args],
  ];
  const receiver = spawn("ip", inside(to.namespace, RECEIVER, port, to.address), {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let output = "";
  receiver.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = once(receiver, "close");
  try {
    await until("the receiver listens", () => output.includes("ready"));
    const counts = [String(PACKETS), String(PACKET_BYTES), way.pace];
    const sent = await run("ip", inside(from.namespace, SENDER, port, to.address, ...counts));
    assert.equal(sent.status, 0, sent.stderr);
    receiver.stdin.end();
    await ended;
    return JSON.parse(output.slice(output.indexOf("{")));
  } finally {
    receiver.kill("SIGKILL");
  }
}

/** Counters that are only written at healthy nodes, each by one writer at a time, and read wherever it may be wrong. */
class Numbers {
  readonly #cluster: TestCluster;
  readonly #clients = new Map<number, Client>();
  /** What was acknowledged of each key last. */
  readonly #values = new Map<string, number>();
  /** Writes that were not acknowledged, and why. */
  readonly doubts: string[] = [];
  /** Reads that found less than what had been acknowledged before. */
  readonly stale: string[] = [];
  /** Reads that were not answered, and why. */
  readonly refusals: string[] = [];
  reads = 0;
  slowestMs = 0;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** Writes acknowledged so far. */
  acknowledged(): number {
    return [...this.#values.values()].reduce((sum, value) => sum + value, 0);
  }

  /** Counts each of a node's own keys up. */
  async write(node: number, count: number): Promise<void> {
    const client = await this.#client(node);
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const key = `of ${node}: ${index}`;
        const value = (this.#values.get(key) ?? 0) + 1;
        const startMs = performance.now();
        try {
          await client.set(key, value);
          this.#values.set(key, value);
        } catch (error) {
          this.doubts.push(messageOf(error));
        }
        this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs);
      }),
    );
  }

  /** Reads the keys of the first node at another, which may refuse, and may not be behind. */
  async read(node: number, count: number): Promise<void> {
    const client = await this.#client(node);
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const key = `of 0: ${index}`;
        const least = this.#values.get(key) ?? 0;
        try {
          const value = Number(await client.get(key));
          this.reads += 1;
          if (value < least) this.stale.push(`${key} is ${value}, and was ${least} before`);
        } catch (error) {
          this.refusals.push(messageOf(error));
        }
      }),
    );
  }

  async #client(node: number): Promise<Client> {
    const known = this.#clients.get(node);
    if (known !== undefined) return known;
    const client = await this.#cluster.client(node);
    this.#clients.set(node, client);
    return client;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Takes each lock at a node, one after the other so that they span its loss of the lease, and sees which it gives. */
async function acceptances(
  client: Client,
  keys: readonly string[],
  id: string,
): Promise<{ readonly accepted: ReadonlySet<string>; readonly refusals: readonly string[] }> {
  const accepted = new Set<string>();
  const refusals: string[] = [];
  await Promise.all(
    keys.map(async (key) => {
      try {
        if ((await client.set(key, id, { condition: "NX" })) === "OK") accepted.add(key);
      } catch (error) {
        refusals.push(messageOf(error));
      }
    }),
  );
  return { accepted, refusals };
}
