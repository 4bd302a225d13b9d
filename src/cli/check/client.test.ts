import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { Prng } from "../../kit/prng.ts";
import { runClient } from "./client.ts";
import { Recorder } from "./recorder.ts";
import { layOutKeys, Workload } from "./workload.ts";

/** What a server gives its connections, one after the other: the delay of each answer, ms, before it ends the connection. */
const ANSWERS: readonly (readonly number[])[] = [[], [100], [100, 0]];

/** A server gone long since, whose last words a network held back: an operation that meets the end behind them did not cause it. */
test("a loss may have begun when the connection was opened, or when what was answered last was asked", async (t) => {
  const recorder = new Recorder();
  const greetedAt: number[] = [];
  const firstAnsweredAt: number[] = [];
  let opened = 0;
  const server = createServer((socket) => {
    const connection = opened++;
    const delays = [...(ANSWERS[connection] ?? [])];
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      const greetings = text.split(/\r\n(?:HELLO|CLIENT)\r\n/).length - 1;
      const delayMs = greetings > 0 ? 100 : delays.shift();
      if (delayMs === undefined) {
        socket.end();
        return;
      }
      setTimeout(() => {
        if (greetings > 0) greetedAt[connection] = recorder.now();
        else firstAnsweredAt[connection] ??= recorder.now();
        socket.write(greetings > 0 ? "+OK\r\n".repeat(greetings) : ":1\r\n");
      }, delayMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const ending = new AbortController();
  const losses: number[] = [];
  await runClient({
    targets: [{ id: "n1", host: "127.0.0.1", port: address.port }],
    ...{ first: 0, thinkMs: 0, timeoutMs: 10_000, recorder, signal: ending.signal },
    prng: new Prng(1),
    workload: new Workload(new Prng(1), layOutKeys(1, "k", []), 1),
    onError: (_, from) => {
      losses.push(from);
      if (losses.length === ANSWERS.length) ending.abort();
    },
  });
  const [behindGreeting = Number.NaN, behindAnswer = Number.NaN, later = Number.NaN] = losses;
  assert.ok(behindGreeting < (greetedAt[0] ?? 0), "since the connection was opened");
  assert.ok(behindAnswer >= (greetedAt[1] ?? 0), "not before the greeting, but");
  assert.ok(behindAnswer < (firstAnsweredAt[1] ?? 0), "since the only question was asked");
  assert.ok(later >= (firstAnsweredAt[2] ?? Number.NaN), "since the last answered one was asked");
});
