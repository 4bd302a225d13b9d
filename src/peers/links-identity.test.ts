import assert from "node:assert/strict";
import * as net from "node:net";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FrameDecoder, FrameEncoder, WIRE_CODEC, type WireCodec } from "./codec.ts";
import { encodeGreeting } from "./handshake.ts";
import type { LinksOptions } from "./links.ts";
import { ClusterSecret } from "./secret.ts";
import {
  ack,
  closeSides,
  createSide,
  helloOf,
  isLinked,
  join,
  pair,
  type Side,
  until,
} from "./testing.ts";

afterEach(closeSides);

const secret = (text: string, clusterId = "c1"): ClusterSecret =>
  new ClusterSecret(Buffer.from(text), clusterId);
const known = secret("a secret of at least thirty-two bytes");
const other = secret("another secret of thirty-two bytes..");

async function refusedPair(
  a: Partial<LinksOptions>,
  b: Partial<LinksOptions>,
): Promise<[Side, Side]> {
  const one = createSide("n1", { incarnation: 11, heartbeatChannel: "udp", ...a });
  const two = createSide("n2", { incarnation: 22, heartbeatChannel: "udp", ...b });
  await join(one, "n1", two, "n2");
  await until("both know", () => one.refusals.length > 0 && two.refusals.length > 0);
  assert.deepEqual([one.refusals.length, two.refusals.length], [1, 1]);
  assert.equal(one.refusals[0], two.refusals[0]);
  // Dialled again and again, logged once on either side, and nothing else has happened.
  await sleep(300);
  assert.deepEqual([one.refusals.length, two.refusals.length], [1, 1]);
  assert.deepEqual([...one.events, ...two.events], []);
  return [one, two];
}

describe("the cluster secret", () => {
  it("links those who share it, and carries messages as ever", async () => {
    const [a, b] = await pair({}, { secret: known });
    for (let i = 1; i <= 100; i++) a.links.send("n2", ack(i));
    b.links.send("n1", ack(1));
    a.links.flush();
    b.links.flush();
    await until("all came", () => b.received.length === 100 && a.received.length === 1);
    assert.deepEqual([...a.logged, ...b.logged], []);
  });

  for (const [what, a, b, text] of [
    ["another one", known, other, /has another cluster secret than .* same --secret-file/],
    ["none, at the dialler", undefined, known, /n2 has a cluster secret, n1 has none; start n1/],
    ["none, at the other", known, undefined, /n1 has a cluster secret, n2 has none; start n2/],
  ] as const) {
    it(`keeps out who has ${what}`, async () => {
      const sides = await refusedPair(
        a === undefined ? {} : { secret: a },
        b === undefined ? {} : { secret: b },
      );
      for (const side of sides) {
        assert.equal(side.refusals[0], "secret");
        assert.match(side.logged.join(), text);
      }
    });
  }

  it("gives no link to who repeats another's proof, or returns this side's own", async () => {
    const b = createSide("n2", { secret: known, heartbeatChannel: "udp" });
    b.port = await b.links.listen();
    b.links.setPeers([{ id: "n1", host: "127.0.0.1", port: 1 }]);
    const hello = encodeGreeting({ ...helloOf("n1", "n2"), hasSecret: true });
    const transcript = [hello, encodeGreeting({ ...helloOf("n2", "n1"), hasSecret: true })];
    const stale = known.prove("dialler", transcript).toString("hex");
    for (const confirm of [
      encodeGreeting({ kind: "confirm", proof: stale }),
      encodeGreeting({ kind: "confirm", proof: "" }),
      encodeGreeting({ kind: "confirm" }),
      "its own",
    ] as const) {
      const socket = net.connect(b.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(hello);
      socket.once("data", (answer) => {
        // The second word of the answer is its confirm.
        const own = answer.subarray(answer.indexOf("HOTHOT", 6, "latin1"));
        socket.write(confirm === "its own" ? own : confirm);
      });
      await new Promise((resolve) => socket.once("close", resolve));
    }
    assert.deepEqual(b.events, []);
    assert.deepEqual(b.refusals, ["secret"]);
  });

  it("is worth nothing in another cluster", () => {
    const text = "a secret of at least thirty-two bytes";
    const bytes = [Buffer.from("x")];
    const proof = secret(text, "c1").prove("dialler", bytes);
    assert.ok(known.isProof("dialler", bytes, proof));
    assert.ok(!secret(text, "c2").isProof("dialler", bytes, proof));
    assert.ok(!known.isProof("acceptor", bytes, proof));
    assert.ok(!known.isProof("dialler", [Buffer.from("y")], proof));
    assert.ok(!known.isTag(Buffer.from("x"), proof.subarray(0, 16)));
    assert.throws(() => secret("short"), RangeError);
  });
});

/** Version 2 of a codec that a later release may have: its frames' lengths are inverted, so that version 1 cannot read it. */
const NEWER: WireCodec = {
  versions: { lowest: 1, highest: 2 },
  createEncoder: (version, bytesMax) =>
    version === 1 ? WIRE_CODEC.createEncoder(1, bytesMax) : new InvertedEncoder(bytesMax),
  createDecoder: (version, bytesMax) =>
    version === 1 ? WIRE_CODEC.createDecoder(1, bytesMax) : new InvertedDecoder(bytesMax),
};

class InvertedEncoder extends FrameEncoder {
  override bytes(): Buffer {
    return inverted(super.bytes());
  }
}

class InvertedDecoder extends FrameDecoder {
  override push(...[chunk, start, end, onMessage]: Parameters<FrameDecoder["push"]>): void {
    super.push(inverted(chunk.subarray(start, end)), 0, end - start, onMessage);
  }
}

function inverted(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0xff));
}

describe("wire versions", () => {
  const versionOf = (side: Side): number => side.links.status()[0]?.wireVersion ?? 0;

  for (const heartbeatChannel of ["udp", "tcp"] as const) {
    for (const [what, a, b, agreed] of [
      ["both newer", NEWER, NEWER, 2],
      ["the dialler older", WIRE_CODEC, NEWER, 1],
      ["the dialler newer", NEWER, WIRE_CODEC, 1],
    ] as const) {
      it(`are the highest that both speak, heartbeats over ${heartbeatChannel}: ${what}`, async () => {
        const one = createSide("n1", { codec: a, incarnation: 11, heartbeatChannel });
        const two = createSide("n2", { codec: b, incarnation: 22, heartbeatChannel });
        await join(one, "n1", two, "n2");
        await until("both are up", () => isLinked(one) && isLinked(two));
        assert.deepEqual([versionOf(one), versionOf(two)], [agreed, agreed]);
        const beat = { kind: "heartbeat" as const, fromIncarnation: 11, toIncarnation: 22 };
        const times = { sentAtMs: 1, echoMs: -1, wallMs: 3, version: 4, shards: [] };
        one.links.send("n2", ack(5));
        one.links.flush();
        await until("both kinds came", () => {
          one.links.send("n2", { ...beat, ...times });
          one.links.flush();
          return new Set(two.received.map(({ kind }) => kind)).size === 2;
        });
        assert.deepEqual(
          two.received.find(({ kind }) => kind === "acks"),
          ack(5),
        );
        assert.deepEqual([...one.logged, ...two.logged], []);
      });
    }
  }

  it("without one in common are refused, both ranges named", async () => {
    const far: WireCodec = { ...WIRE_CODEC, versions: { lowest: 8, highest: 9 } };
    for (const [a, b] of [
      [far, WIRE_CODEC],
      [WIRE_CODEC, far],
    ] as const) {
      for (const side of await refusedPair({ codec: a }, { codec: b })) {
        assert.equal(side.refusals[0], "version");
        assert.match(side.logged.join(), /speaks wire versions (8 to 9, n\d 1 to 1|1 to 1, n\d 8)/);
      }
    }
  });

  it("come with the features that both have", async () => {
    const one = createSide("n1", { features: ["b", "a", "only-n1"], incarnation: 11 });
    const two = createSide("n2", { features: ["c", "a", "b"], incarnation: 22 });
    await join(one, "n1", two, "n2");
    await until("both are up", () => isLinked(one) && isLinked(two));
    for (const side of [one, two]) {
      assert.deepEqual(side.links.status()[0]?.features, ["a", "b"]);
    }
  });

  it("can be told by a hello with fields that this release does not know", async () => {
    const b = createSide("n2", { heartbeatChannel: "udp" });
    b.port = await b.links.listen();
    b.links.setPeers([{ id: "n1", host: "127.0.0.1", port: 1 }]);
    const hello = { ...helloOf("n1", "n2"), wireMax: 900, colour: "green", deep: { er: [1] } };
    const confirm = { kind: "confirm" as const, colour: "red" };
    const socket = net.connect(b.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(Buffer.concat([encodeGreeting(hello), encodeGreeting(confirm)]));
    socket.resume();
    await until("it is linked", () => b.events.length === 1);
    assert.deepEqual(b.events, ["+n1@5"]);
    socket.destroy();
  });
});

describe("clocks", () => {
  it("that differ are told once, both named, and refused never", async () => {
    const [a, b] = await pair({}, { wallMs: () => Date.UTC(2026, 0, 1) });
    assert.deepEqual([...a.logged, ...b.logged], []);
    const late = createSide("n0", {
      incarnation: 33,
      wallMs: () => Date.UTC(2026, 0, 1) - 600_000,
      peers: [{ id: "n2", host: "127.0.0.1", port: b.port }],
    });
    late.port = await late.links.listen();
    const early = { id: "n1", host: "127.0.0.1", port: a.port };
    b.links.setPeers([early, { id: "n0", host: "127.0.0.1", port: late.port }]);
    await until("they are linked", () => b.events.includes("+n0@33") && isLinked(late));
    assert.match(b.logged.join(), /the clock of n0 is 600 s behind that of n2; .*NTP/);
    assert.match(late.logged.join(), /the clock of n2 is 600 s ahead of that of n0; .*NTP/);
    b.links.setPeers([early, { id: "n0", host: "localhost", port: late.port }]);
    await until("linked anew", () => b.events.filter((event) => event === "+n0@33").length > 1);
    assert.equal(b.logged.length, 1, b.logged.join("\n"));
  });
});

describe("handshakes", () => {
  it("get through a crowd of those who never finish theirs", async () => {
    const b = createSide("n2", { limits: { handshakesMax: 8, handshakeMsMax: 60_000 } });
    b.port = await b.links.listen();
    const half = encodeGreeting(helloOf("n1", "n2")).subarray(0, 30);
    const crowd = Array.from({ length: 40 }, () => net.connect(b.port, "127.0.0.1"));
    let ended = 0;
    for (const socket of crowd) {
      socket.on("error", () => undefined);
      socket.once("close", () => {
        ended += 1;
      });
      socket.resume();
      socket.write(half);
    }
    await until("the oldest were ended", () => ended >= 32);
    const a = createSide("n1", { incarnation: 11 });
    a.port = await a.links.listen();
    b.links.setPeers([{ id: "n1", host: "127.0.0.1", port: a.port }]);
    a.links.setPeers([{ id: "n2", host: "127.0.0.1", port: b.port }]);
    await until("the node got in", () => isLinked(a) && isLinked(b));
    for (const socket of crowd) socket.destroy();
  });
});
