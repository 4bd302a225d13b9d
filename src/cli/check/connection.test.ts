import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { createClient, ErrorReply, WatchError } from "redis";
import { Connection, classify } from "./connection.ts";

const set = { kind: "set", key: "k", value: "v" } as const;

test("errors tell whether the command was carried out", () => {
  const outcome = (error: unknown) => classify(error, set).outcome;
  assert.equal(outcome(new ErrorReply("TRYAGAIN later")), "failed");
  assert.equal(outcome(new ErrorReply("NOREPLICAS Not enough good replicas to write.")), "failed");
  assert.equal(outcome(new ErrorReply("UNCERTAIN who knows")), "unknown");
  assert.equal(outcome(new ErrorReply("SOMETHING new")), "unknown", "what is not known is unknown");
  assert.equal(outcome(new WatchError()), "failed");
  assert.equal(outcome(new Error("Socket closed unexpectedly")), "unknown");
  const incr = { kind: "incr", key: "k", by: 1 } as const;
  const text = "ERR value is not an integer or out of range";
  assert.deepEqual(classify(new ErrorReply(text), incr), {
    outcome: "ok",
    result: { error: text },
  });
});

test("a client costs much less than the library's making of one, once there was one", async (t) => {
  const { port } = await fakeServer(t, () => undefined);
  const cpuMsOf = async (count: number, make: (each: number) => unknown): Promise<number> => {
    const begun = process.cpuUsage();
    for (let each = 0; each < count; each++) await make(each);
    return process.cpuUsage(begun).user / 1000 / count;
  };
  const open = async (each: number): Promise<void> => {
    (await Connection.open({ host: "127.0.0.1", port }, each % 2 === 0 ? 2 : 3)).close();
  };
  await cpuMsOf(2, open);
  const ours = await cpuMsOf(20, open);
  const library = await cpuMsOf(4, (each) => createClient({ RESP: each % 2 === 0 ? 2 : 3 }));
  assert.ok(ours < library / 2, `${ours} ms of the processor, the library's own ${library} ms`);
});

/** A server that answers the handshake, and to commands on keys what it is told to do. */
async function fakeServer(t: TestContext, onCommand: (socket: Socket) => void) {
  let commands = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      // The client sends its handshake as several commands in one piece.
      for (const command of chunk.toString("latin1").split(/(?=\*\d+\r\n)/)) {
        if (/\r\n(SET|MULTI)\r\n/.test(command)) {
          commands++;
          onCommand(socket);
        } else if (!/\r\n(EXEC)\r\n/.test(command)) socket.write("+OK\r\n");
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const connection = await Connection.open({ host: "127.0.0.1", port: address.port }, 2);
  t.after(() => connection.close());
  return { connection, port: address.port, commands: () => commands };
}

test("a command whose connection is lost is unknown and is not sent again", async (t) => {
  const { connection, commands } = await fakeServer(t, (socket) => socket.destroy());
  const attempt = await connection.attempt(set, 10_000, false);
  assert.equal(attempt.outcome, "unknown");
  assert.equal(connection.isOpen, false);
  const after = await connection.attempt(set, 10_000, false);
  assert.equal(after.outcome, "failed", "what was never sent did not happen");
  assert.equal(commands(), 1);
});

test("a transaction whose connection is lost is unknown", async (t) => {
  const { connection } = await fakeServer(t, (socket) => socket.destroy());
  const attempt = await connection.attempt({ kind: "multi", actions: [set] }, 10_000, false);
  assert.equal(attempt.outcome, "unknown");
});

test("a command without an answer in time is unknown and ends the connection", async (t) => {
  const { connection } = await fakeServer(t, () => undefined);
  const attempt = await connection.attempt(set, 100, false);
  assert.deepEqual(attempt, { outcome: "unknown", why: "no answer within 100 ms" });
  assert.equal(connection.isOpen, false, "a late answer must not be taken for the next command's");
});
