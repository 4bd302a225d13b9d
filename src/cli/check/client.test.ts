import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { Prng } from "../../kit/prng.ts";
import { runClient } from "./client.ts";
import { Recorder } from "./recorder.ts";
import { layOutKeys, Workload } from "./workload.ts";

/** A server gone long since, whose greeting and end a network held back: an operation that meets the end did not cause it. */
test("a loss that the first operation meets may have begun when the connection was opened", async (t) => {
  const recorder = new Recorder();
  let greetedAt = 0;
  let questions = 0;
  const greet = (socket: Socket, commands: number): void => {
    greetedAt = recorder.now();
    socket.write("+OK\r\n".repeat(commands));
  };
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      const greetings = text.split(/\r\n(?:HELLO|CLIENT)\r\n/).length - 1;
      if (greetings > 0) setTimeout(() => greet(socket, greetings), 100);
      else {
        questions += 1;
        // The first connection breaks at its first question, the second at its second one.
        if (questions === 2) socket.write(":1\r\n");
        else socket.end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const ending = new AbortController();
  const losses: { readonly from: number; readonly greetedAt: number }[] = [];
  await runClient({
    targets: [{ id: "n1", host: "127.0.0.1", port: address.port }],
    ...{ first: 0, thinkMs: 0, timeoutMs: 10_000, recorder, signal: ending.signal },
    prng: new Prng(1),
    workload: new Workload(new Prng(1), layOutKeys(1, "k", []), 1),
    onError: (_, from) => {
      losses.push({ from, greetedAt });
      if (losses.length === 2) ending.abort();
    },
  });
  const [first, second] = losses;
  assert.ok(first !== undefined && first.from < first.greetedAt, "the first meets it");
  assert.ok(second !== undefined && second.from >= second.greetedAt, "a later one caused it");
});
