import assert from "node:assert/strict";
import * as dgram from "node:dgram";
import { networkInterfaces } from "node:os";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Heartbeat, ShardBeat } from "../replica/messages.ts";
import { FrameEncoder } from "./codec.ts";
import { encodeDatagrams } from "./heartbeat-datagram.ts";
import { ClusterSecret } from "./secret.ts";
import { ack, beat, closeSides, createSide, join, pair, type Side, until } from "./testing.ts";

afterEach(closeSides);

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);
const secret = (text: string): ClusterSecret => new ClusterSecret(Buffer.from(text), "c1");
const known = secret("a secret of at least thirty-two bytes");

const beats = (side: Side): Heartbeat[] =>
  side.received.filter((message) => message.kind === "heartbeat");

function wideBeat(count: number): Heartbeat {
  const shards = Array.from(
    { length: count },
    (_, shard): ShardBeat => ({
      shard,
      epoch: 1000 + shard,
      echoes: true,
      ackSeq: 2 ** 50 + shard,
      commitSeq: 2 ** 49 + shard,
      startedEpoch: 1,
      ready: false,
      lacksDisk: false,
    }),
  );
  return { ...beat, shards };
}

/** Sends anew until it comes: a datagram may be lost anywhere. */
async function beatUntil(from: Side, to: string, what: string, isThere: () => boolean) {
  await until(what, () => {
    if (isThere()) return true;
    from.links.send(to, beat);
    return false;
  });
}

async function sendDatagrams(port: number, datagrams: readonly Buffer[]): Promise<void> {
  const socket = dgram.createSocket("udp4");
  for (const bytes of datagrams) {
    await new Promise<void>((resolve) => socket.send(bytes, port, "127.0.0.1", () => resolve()));
  }
  socket.close();
}

describe("heartbeats over UDP", () => {
  for (const [what, host, skip] of [
    ["IPv4", "127.0.0.1", false],
    ["IPv6", "::1", !hasIpv6],
    ["a name", "localhost", false],
  ] as const) {
    it(`go both ways over ${what}`, { skip }, async () => {
      const [a, b] = await pair({}, { heartbeatChannel: "udp", host, secret: known });
      await beatUntil(a, "n2", "one came to n2", () => beats(b).length > 0);
      await beatUntil(b, "n1", "one came to n1", () => beats(a).length > 0);
      assert.deepEqual(beats(a)[0], beat);
      assert.deepEqual(beats(b)[0], beat);
      assert.ok(a.links.status().every((status) => status.data && status.heartbeat));
    });
  }

  it("name as many shards as there can be, in parts", async () => {
    const [a, b] = await pair({}, { heartbeatChannel: "udp", secret: known });
    for (const count of [1024, 16_384]) {
      const wide = wideBeat(count);
      // Of hundreds of datagrams at once the system may drop one, and with it the heartbeat.
      await until(`${count} shards came`, () => {
        if (beats(b).some(({ shards }) => shards.length === count)) return true;
        a.links.send("n2", wide);
        return false;
      });
      const came = beats(b).find(({ shards }) => shards.length === count);
      assert.deepEqual(came, wide);
    }
  });

  it("reach nobody who has another secret, or none", async () => {
    const [a, b] = await pair({}, { heartbeatChannel: "udp", secret: known });
    const encoder = new FrameEncoder();
    encoder.append(beat);
    const route = { from: "n1", fromIncarnation: 11, toIncarnation: 22, version: 1 };
    const frame = encoder.bytes();
    const right = encodeDatagrams(route, 1_000_000, frame, known);
    const broken = right.map((bytes) => Buffer.from(bytes));
    for (const bytes of broken) bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
    await sendDatagrams(b.port, [
      ...encodeDatagrams(route, 2_000_000, frame, secret("another secret of thirty-two bytes..")),
      ...encodeDatagrams(route, 2_000_001, frame, undefined),
      ...encodeDatagrams({ ...route, toIncarnation: 21 }, 2_000_002, frame, known),
      ...encodeDatagrams({ ...route, fromIncarnation: 10 }, 2_000_003, frame, known),
      ...encodeDatagrams({ ...route, from: "n7" }, 2_000_004, frame, known),
      ...encodeDatagrams({ ...route, version: 2 }, 2_000_005, frame, known),
      ...broken,
    ]);
    // What is right comes, once; so all before it was looked at and dropped.
    await until("the right one came", () => {
      if (beats(b).length > 0) return true;
      void sendDatagrams(b.port, [...right, ...right]);
      return false;
    });
    a.links.send("n2", ack(1));
    a.links.flush();
    await until("the ack came", () => b.received.length > 1);
    assert.equal(beats(b).length, 1);
    assert.deepEqual(b.events, ["+n1@11"]);
  });

  it("come through a flood of nonsense from strangers", async () => {
    // A busy machine may take seconds for it, and its silence meanwhile is another test's matter.
    const patient = { silentMsMax: 60_000, backMs: 60_000 };
    const [a, b] = await pair(patient, { heartbeatChannel: "udp", secret: known });
    const nonsense = Array.from({ length: 3000 }, (_, i) => Buffer.alloc(i % 1500, i));
    for (const bytes of nonsense) if (bytes.length > 1) bytes.writeUInt16BE(0x4842, 0);
    const flood = sendDatagrams(b.port, nonsense);
    await beatUntil(a, "n2", "one came", () => beats(b).length > 0);
    await flood;
    const before = beats(b).length;
    await beatUntil(a, "n2", "more came", () => beats(b).length > before);
    assert.deepEqual([a.events, b.events], [["+n2@22"], ["+n1@11"]]);
    assert.deepEqual([...a.logged, ...b.logged], []);
  });

  it("are lost without harm while nobody listens", async () => {
    const [a, b] = await pair({}, { heartbeatChannel: "udp" });
    await b.links.close();
    await until("the end is seen", () => a.events.includes("-n2"));
    // The system answers each with an error of its own.
    for (let i = 0; i < 100; i++) a.links.send("n2", beat);
    const again = createSide("n2", {
      heartbeatChannel: "udp",
      port: b.port,
      incarnation: 23,
      peers: [{ id: "n1", host: "127.0.0.1", port: a.port }],
    });
    await again.links.listen();
    await until("it is linked again", () => a.events.includes("+n2@23"));
    await beatUntil(a, "n2", "one came", () => beats(again).length > 0);
    assert.deepEqual(a.logged, []);
  });

  it("keep a link that carries nothing else from being reset", async () => {
    const [a, b] = await pair({ silentMsMax: 400 }, { heartbeatChannel: "udp" });
    const timer = setInterval(() => {
      a.links.send("n2", beat);
      b.links.send("n1", beat);
    }, 20);
    await until("many came", () => beats(a).length > 60 && beats(b).length > 60);
    clearInterval(timer);
    assert.deepEqual([a.events, b.events], [["+n2@22"], ["+n1@11"]]);
    await until("silence resets it", () => a.events.includes("-n2"));
  });

  it("may be as rare as they are said to be", async () => {
    const [a, b] = await pair({ silentMsMax: 100, backMs: 50 }, { heartbeatChannel: "udp" });
    a.links.setPeers([{ id: "n2", host: b.host, port: b.port, beatMs: 10_000 }]);
    b.links.setPeers([{ id: "n1", host: a.host, port: a.port, beatMs: 10_000 }]);
    await sleep(500);
    await beatUntil(a, "n2", "one came", () => beats(b).length > 0);
    assert.deepEqual([a.events, b.events], [["+n2@22"], ["+n1@11"]]);
    b.links.setPeers([{ id: "n1", host: a.host, port: a.port }]);
    await until("silence resets it", () => b.events.includes("-n1"));
  });

  it("are missed aloud where only TCP gets through", async () => {
    const [a, b] = await pair({ silentMsMax: 100 }, { heartbeatChannel: "udp" });
    const timer = setInterval(() => {
      a.links.send("n2", ack(1));
      b.links.send("n1", ack(1));
      a.links.flush();
      b.links.flush();
    }, 20);
    await until("both say so", () => a.logged.length > 0 && b.logged.length > 0);
    clearInterval(timer);
    assert.match(a.logged[0] ?? "", /n2 is connected, but none of its heartbeats comes: let UDP/);
    assert.match(b.logged[0] ?? "", /--heartbeat-channel tcp/);
  });

  it("are dropped in the direction that a test blocks", async () => {
    const [a, b] = await pair({}, { heartbeatChannel: "udp" });
    await beatUntil(a, "n2", "one came", () => beats(b).length > 0);
    a.links.blockPeers(new Set(["n2"]), "in");
    const before = beats(b).length;
    await beatUntil(a, "n2", "the open way works", () => beats(b).length > before);
    for (let i = 0; i < 20; i++) b.links.send("n1", beat);
    b.links.send("n1", ack(1));
    b.links.flush();
    await beatUntil(a, "n2", "time has passed", () => beats(b).length > before + 20);
    assert.equal(a.received.length, 0);
    a.links.blockPeers(new Set(), "both");
    await beatUntil(b, "n1", "they come again", () => beats(a).length > 0);
  });

  it("need their port for UDP too", async () => {
    const taken = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
    const side = createSide("n1", { heartbeatChannel: "udp", port: taken.address().port });
    await assert.rejects(side.links.listen(), { code: "EADDRINUSE" });
    taken.close();
  });

  it("have one setting in the whole cluster: another is refused and named", async () => {
    const a = createSide("n1", { heartbeatChannel: "tcp", incarnation: 11 });
    const b = createSide("n2", { heartbeatChannel: "udp", incarnation: 22 });
    await join(a, "n1", b, "n2");
    await until("both know", () => a.refusals.length > 0 && b.refusals.length > 0);
    assert.deepEqual(new Set([...a.refusals, ...b.refusals]), new Set(["channel"]));
    assert.match(a.logged.join(), /n1 sends heartbeats over TCP, n2 expects UDP/);
  });
});
