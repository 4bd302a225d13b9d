import assert from "node:assert/strict";
import * as net from "node:net";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Heartbeat, Message } from "../replica/messages.ts";
import { encodeGreeting, type Hello } from "./handshake.ts";
import {
  ack,
  beat,
  closeSides,
  createSide,
  helloOf,
  isUp,
  join,
  pair,
  type Side,
  until,
} from "./testing.ts";

afterEach(closeSides);

const big = (counter: number, bytes: number): Message => ({
  kind: "answer",
  shard: 0,
  epoch: 1,
  counter,
  reply: "x".repeat(bytes),
});
const seqs = (side: Side): number[] =>
  side.received.flatMap((message) =>
    message.kind === "acks" ? message.acks.map(({ seq }) => seq) : [],
  );

describe("peer links", () => {
  it("connect, tell the incarnation, and carry messages in order both ways", async () => {
    const [a, b] = await pair();
    assert.deepEqual(a.events, ["+n2@22"]);
    assert.deepEqual(b.events, ["+n1@11"]);
    for (let i = 1; i <= 1000; i++) {
      a.links.send("n2", ack(i));
      if (i % 7 === 0) a.links.flush();
    }
    b.links.send("n1", beat);
    b.links.send("n1", ack(5));
    a.links.flush();
    b.links.flush();
    await until("all came", () => b.received.length === 1000 && a.received.length === 2);
    assert.deepEqual(
      seqs(b),
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      new Set(a.received.map((message) => message.kind)),
      new Set(["heartbeat", "acks"]),
    );
  });

  it("carry values larger than any socket buffer, many in one batch", async () => {
    const [a, b] = await pair();
    for (let i = 1; i <= 3; i++) a.links.send("n2", big(i, 5_000_000));
    a.links.send("n2", ack(9));
    a.links.flush();
    // The buffer must not be used again while the socket still has it.
    a.links.send("n2", ack(10));
    a.links.flush();
    await until("all came", () => b.received.length === 5);
    assert.deepEqual(seqs(b), [9, 10]);
    for (const message of b.received) {
      if (message.kind === "answer") assert.equal(message.reply, "x".repeat(5_000_000));
    }
  });

  it("tell disconnected and connected, in order, when a connection is replaced", async () => {
    const [a, b] = await pair();
    await a.links.close();
    await until("the end is seen", () => b.events.length === 2);
    const again = createSide("n1", {
      incarnation: 33,
      peers: [{ id: "n2", host: "127.0.0.1", port: b.port }],
    });
    await again.links.listen();
    await until("the new one is up", () => b.events.length === 3);
    assert.deepEqual(b.events, ["+n1@11", "-n1", "+n1@33"]);
  });

  it("let the older of two processes of one name win, as long as it lives", async () => {
    const [a, b] = await pair({ aliveMs: 60_000 });
    const peers = [{ id: "n2", host: "127.0.0.1", port: b.port }];
    const second = createSide("n1", { incarnation: 44, peers });
    await second.links.listen();
    await until("both know", () => b.refusals.length > 0 && second.refusals.length > 0);
    assert.deepEqual(new Set([...b.refusals, ...second.refusals]), new Set(["duplicate-node"]));
    assert.match(b.logged.join(), /two processes run as n1: incarnation 11 .* 44 is refused/);
    assert.deepEqual(b.events, ["+n1@11"]);
    // Once the older is gone, the other gets in at its next try.
    await a.links.close();
    await until("the second is up", () => b.events.length === 3);
    assert.deepEqual(b.events, ["+n1@11", "-n1", "+n1@44"]);
  });

  it("let a new process replace one that has fallen silent, its connection still open", async () => {
    const [, b] = await pair({ aliveMs: 0 });
    const peers = [{ id: "n2", host: "127.0.0.1", port: b.port }];
    const second = createSide("n1", { incarnation: 44, peers });
    await second.links.listen();
    await until("the second is up", () => b.events.includes("+n1@44"));
    assert.equal(b.events[b.events.indexOf("+n1@44") - 1], "-n1");
    await second.links.close();
  });

  it("refuse another cluster's node, and log it on both sides", async () => {
    const a = createSide("n1", { clusterId: "other" });
    const b = createSide("n2");
    await join(a, "n1", b, "n2");
    await until("both know", () => a.refusals.length > 0 && b.refusals.length > 0);
    assert.equal(a.refusals[0], "wrong-cluster");
    assert.equal(b.refusals[0], "wrong-cluster");
    assert.deepEqual([...a.events, ...b.events], []);
    // Dialled again and again, logged once a channel.
    await sleep(300);
    assert.ok(a.refusals.length <= 2 && b.refusals.length <= 2);
  });

  it("refuse a connection meant for another node", async () => {
    const a = createSide("n1");
    const b = createSide("n2");
    a.port = await a.links.listen();
    b.port = await b.links.listen();
    b.links.setPeers([{ id: "n1", host: "127.0.0.1", port: a.port }]);
    // n3's address is wrong: n2 listens there.
    a.links.setPeers([{ id: "n3", host: "127.0.0.1", port: b.port }]);
    await until("both know", () => a.refusals.length > 0 && b.refusals.length > 0);
    assert.equal(a.refusals[0], "wrong-node");
    assert.equal(b.refusals[0], "wrong-node");
    assert.match(a.logged.join(), /n1 looks for n3 and found n2; correct the address of n3/);
    assert.deepEqual([...a.events, ...b.events], []);
  });

  it("refuse swapped addresses, each by its name", async () => {
    const [a, b, c] = [createSide("n1"), createSide("n2"), createSide("n3")];
    for (const side of [a, b, c]) side.port = await side.links.listen();
    const own = { id: "n1", host: "127.0.0.1", port: a.port };
    b.links.setPeers([own]);
    c.links.setPeers([own]);
    a.links.setPeers([
      { id: "n2", host: "127.0.0.1", port: c.port },
      { id: "n3", host: "127.0.0.1", port: b.port },
    ]);
    await until("all know", () => [b, c].every((side) => side.refusals.length > 0));
    await until("n1 knows both", () => a.logged.length >= 2);
    assert.match(a.logged.join(), /looks for n2 and found n3/);
    assert.match(a.logged.join(), /looks for n3 and found n2/);
    assert.deepEqual([...a.events, ...b.events, ...c.events], []);
  });

  it("refuse a connection to oneself", async () => {
    const a = createSide("n1");
    a.port = await a.links.listen();
    a.links.setPeers([{ id: "n2", host: "127.0.0.1", port: a.port }]);
    await until("it knows", () => a.refusals.length > 0);
    assert.equal(a.refusals[0], "self");
    assert.match(a.logged.join(), /the address of n2 leads back to n1 itself/);
    assert.deepEqual(a.events, []);
  });

  it("close a connection that says nonsense, and serve on", async () => {
    const [a, b] = await pair();
    const hello: Hello = { ...helloOf("n1", "n2"), incarnation: 11 };
    const begin = Buffer.concat([encodeGreeting(hello), encodeGreeting({ kind: "confirm" })]);
    const nonsense: Buffer[] = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.from("HOTHOT\xff\xff", "latin1"),
      Buffer.concat([Buffer.from("HOTHOT\x02\x00", "latin1"), Buffer.from("{}")]),
      Buffer.concat([begin, Buffer.from([2, 0, 0, 0, 200, 1])]),
      // A heartbeat has no business on the data link.
      Buffer.concat([begin, Buffer.from([1, 0, 0, 0, 1])]),
      Buffer.concat([encodeGreeting(hello), encodeGreeting(hello)]),
      encodeGreeting({ kind: "confirm" }),
      encodeGreeting({ ...hello, nodeId: "n9" }),
      encodeGreeting({ ...hello, nodeId: "n0" }),
    ];
    for (const bytes of nonsense) {
      const socket = net.connect(b.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(bytes);
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
    }
    // Each kind was told, and how often strangers repeat it was not.
    const kinds = new Set(["not-hothot", "malformed", "unknown-node"]);
    assert.deepEqual(new Set(b.refusals), kinds);
    // The liar's connection took the place of the real one, which is dialled anew.
    await until("both are up again", () => isUp(a) && isUp(b));
    const before = b.received.length;
    a.links.send("n2", ack(1));
    a.links.flush();
    await until("it is carried", () => b.received.length === before + 1);
  });

  it("drop a connection that never greets", async () => {
    const b = createSide("n2", { limits: { handshakeMsMax: 50 } });
    b.port = await b.links.listen();
    const socket = net.connect(b.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("HOT");
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  it("reset a link that takes no more, instead of queueing without end", async () => {
    const a = createSide("n1", { limits: { queuedBytesMax: 1_000_000 } });
    // Greets, then reads nothing.
    const stuck: net.Socket[] = [];
    const server = net.createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => {
        stuck.push(socket);
        socket.pause();
        const channel = stuck.length > 1 ? "heartbeat" : "data";
        socket.write(encodeGreeting({ ...helloOf("n2", "n1"), channel }));
        socket.write(encodeGreeting({ kind: "confirm" }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      await a.links.listen();
      const { port } = server.address() as net.AddressInfo;
      a.links.setPeers([{ id: "n2", host: "127.0.0.1", port }]);
      await until("it is up", () => a.events.length === 1);
      let sent = 0;
      await until("it is reset", () => {
        a.links.send("n2", big(++sent, 400_000));
        a.links.flush();
        return a.events.includes("-n2");
      });
      assert.equal(a.links.status()[0]?.queuedBytes, 0);
    } finally {
      for (const socket of stuck) socket.destroy();
      server.close();
    }
  });

  it("reset the connections of a peer that is silent", async () => {
    const [a, b] = await pair({ silentMsMax: 200 });
    await until("both were reset", () => a.events.includes("-n2") && b.events.includes("-n1"));
    await until("both are up again", () => isUp(a) && isUp(b));
    assert.deepEqual(a.events.slice(0, 3), ["+n2@22", "-n2", "+n2@22"]);
  });

  it("drop everything of a blocked peer silently, and begin anew when the block is lifted", async () => {
    const [a, b] = await pair();
    a.links.send("n2", ack(1));
    a.links.flush();
    await until("the first came", () => b.received.length === 1);
    a.links.blockPeers(new Set(["n2"]), "both");
    a.links.send("n2", ack(2));
    a.links.flush();
    b.links.send("n1", ack(3));
    b.links.flush();
    await sleep(100);
    assert.deepEqual([seqs(a), seqs(b)], [[], [1]]);
    assert.deepEqual([a.events, b.events], [["+n2@22"], ["+n1@11"]], "a block looks like silence");
    a.links.blockPeers(new Set(), "both");
    await until("both are up again", () => a.events.length === 3 && b.events.length === 3);
    assert.deepEqual(a.events, ["+n2@22", "-n2", "+n2@22"]);
    assert.deepEqual(b.events, ["+n1@11", "-n1", "+n1@11"]);
    a.links.send("n2", ack(4));
    a.links.flush();
    b.links.send("n1", ack(5));
    b.links.flush();
    await until("new messages came", () => a.received.length === 1 && b.received.length === 2);
    assert.deepEqual([seqs(a), seqs(b)], [[5], [1, 4]]);
  });

  for (const direction of ["in", "out"] as const) {
    it(`block one way only: ${direction}`, async () => {
      const [a, b] = await pair();
      a.links.blockPeers(new Set(["n2"]), direction);
      a.links.send("n2", ack(1));
      a.links.flush();
      b.links.send("n1", ack(2));
      b.links.flush();
      const open = direction === "in" ? b : a;
      const cut = direction === "in" ? a : b;
      await until("the open way works", () => open.received.length === 1);
      await sleep(50);
      assert.equal(cut.received.length, 0);
      a.links.blockPeers(new Set(), "both");
      await until("both are up again", () => a.events.length === 3 && b.events.length === 3);
      assert.equal(cut.received.length, 0, "what was dropped does not come later");
    });
  }

  it("let no blocked peer connect", async () => {
    const a = createSide("n1");
    const b = createSide("n2");
    a.port = await a.links.listen();
    b.port = await b.links.listen();
    b.links.setPeers([{ id: "n1", host: "127.0.0.1", port: a.port }]);
    b.links.blockPeers(new Set(["n1"]), "both");
    a.links.setPeers([{ id: "n2", host: "127.0.0.1", port: b.port }]);
    await sleep(200);
    assert.deepEqual([...a.events, ...b.events], []);
    b.links.blockPeers(new Set(), "both");
    await until("both are up", () => isUp(a) && isUp(b));
  });

  it("say when the port is taken", async () => {
    const a = createSide("n1");
    const port = await a.links.listen();
    const b = createSide("n2", { port });
    await assert.rejects(b.links.listen(), { code: "EADDRINUSE" });
  });

  it("drop heartbeats instead of queueing them", async () => {
    const [a, b] = await pair();
    const wide: Heartbeat = {
      ...beat,
      shards: Array.from({ length: 16_000 }, (_, shard) => ({
        shard,
        epoch: 1000 + shard,
        echoes: true,
        ackSeq: 2 ** 50,
        commitSeq: 2 ** 49,
        startedEpoch: 1,
        ready: false,
        lacksDisk: false,
      })),
    };
    // All in one turn: nothing can be read meanwhile, so at some point the kernel takes no more.
    for (let i = 0; i < 300; i++) {
      a.links.send("n2", wide);
      a.links.flush();
    }
    a.links.send("n2", ack(1));
    a.links.flush();
    await until("the ack came", () => seqs(b).length === 1);
    await until("heartbeats came", () => b.received.length > 5);
    await sleep(100);
    assert.ok(b.received.length < 300, `${b.received.length} of 300`);
  });
});
