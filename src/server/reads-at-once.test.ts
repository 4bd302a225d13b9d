import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";

import fc from "fast-check";

import type { Pace } from "../../test/support/local-door.ts";
import type { RespClient } from "../../test/support/resp-client.ts";
import { setUpServer } from "../../test/support/resp-server.ts";
import { OK, Refusal, type Reply, Status } from "../data/reply.ts";
import { encodeRequest } from "../resp/reply-writer.ts";
import { OUTPUT_SOFT_BYTES } from "./limits.ts";
import type { RespServerOptions } from "./resp-server.ts";

const PACES: readonly Pace[] = ["now", "later"];

async function setUp(t: TestContext, pace: Pace, options: Partial<RespServerOptions> = {}) {
  const setup = await setUpServer(t, { shards: 4, pace, ...options });
  setup.door.readsAtOnce = true;
  return setup;
}

type Step =
  | { readonly kind: "set"; readonly key: number; readonly bytes: number }
  | { readonly kind: "get" | "strlen"; readonly key: number }
  | { readonly kind: "ping" | "wrong arity" | "unknown" };

const key = fc.nat({ max: 4 });
const STEP: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("set" as const), key, bytes: sizes() }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("get" as const, "strlen" as const), key }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("ping" as const, "wrong arity" as const, "unknown" as const),
    }),
  },
);

function sizes(): fc.Arbitrary<number> {
  return fc.oneof(
    { weight: 6, arbitrary: fc.nat({ max: 100 }) },
    { weight: 1, arbitrary: fc.constant(90_000) },
  );
}

/** A client's steps, and into how many pieces their bytes are cut. */
const CLIENT = fc.record({
  steps: fc.array(STEP, { minLength: 1, maxLength: 40 }),
  cuts: fc.array(fc.nat({ max: 5_000 }), { maxLength: 5 }),
});

/** Sends the steps under keys that nobody else uses, in pieces, and looks at the replies. */
async function converse(
  client: RespClient,
  prefix: string,
  { steps, cuts }: { readonly steps: readonly Step[]; readonly cuts: readonly number[] },
): Promise<void> {
  const values = new Map<number, string>();
  const requests: string[][] = [];
  const expected: Reply[] = [];
  for (const [index, step] of steps.entries()) {
    switch (step.kind) {
      case "set": {
        const value = `${index}:`.padEnd(step.bytes, "x");
        values.set(step.key, value);
        requests.push(["SET", `${prefix}${step.key}`, value]);
        expected.push(OK);
        break;
      }
      case "get":
        requests.push(["GET", `${prefix}${step.key}`]);
        expected.push(values.get(step.key) ?? null);
        break;
      case "strlen":
        requests.push(["STRLEN", `${prefix}${step.key}`]);
        expected.push(values.get(step.key)?.length ?? 0);
        break;
      case "ping":
        requests.push(["PING"]);
        expected.push(new Status("PONG"));
        break;
      case "wrong arity":
        requests.push(["GET"]);
        expected.push(new Refusal("ERR", "wrong number of arguments for 'get' command"));
        break;
      default:
        requests.push(["NONE"]);
        expected.push(new Refusal("ERR", "unknown command 'NONE', with args beginning with: "));
    }
  }
  const bytes = Buffer.concat(requests.map(encodeRequest));
  const replies = client.take(expected.length);
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const to = Math.min(bytes.length, cut);
    if (to > from) client.socket.write(bytes.subarray(from, to));
    from = Math.max(from, to);
    await new Promise((resolve) => setImmediate(resolve));
  }
  client.socket.write(bytes.subarray(from));
  assert.deepEqual(await replies, expected);
}

describe("reads that are answered at once", () => {
  for (const pace of PACES) {
    it(`keep their places among all others, for several clients (${pace})`, async (t) => {
      const { connect, door } = await setUp(t, pace);
      const clients = await Promise.all([connect(), connect(), connect()]);
      let round = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(CLIENT, { minLength: 3, maxLength: 3 }), async (plans) => {
          round += 1;
          await Promise.all(
            clients.map((client, n) =>
              converse(client, `r${round}c${n}k`, plans[n] ?? { steps: [], cuts: [] }),
            ),
          );
        }),
        { numRuns: 40 },
      );
      assert.ok(door.reads > 100, `${door.reads} reads were answered at once`);
    });

    it(`are sent before the connection ends (${pace})`, async (t) => {
      const { connect, server } = await setUp(t, pace);
      const client = await connect();
      assert.deepEqual(await client.ask("SET", "a", "1"), OK);
      client.send(["GET", "a"], ["GET", "b"], ["QUIT"], ["GET", "a"]);
      assert.deepEqual(await client.take(3), ["1", null, OK]);
      await assert.rejects(client.next(), /closed/);

      const leaving = await connect();
      leaving.send(["GET", "a"], ["GET", "a"]);
      leaving.socket.end();
      assert.deepEqual(await leaving.take(2), ["1", "1"]);
      await leaving.closed();

      const confused = await connect();
      confused.write("GET a\r\n*x\r\n");
      assert.equal(await confused.next(), "1");
      assert.ok((await confused.next()) instanceof Refusal);
      await confused.closed();
      while (server.connectionCount > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    });
  }

  it("wait for a client that does not read, and go on", async (t) => {
    const { connect, door } = await setUp(t, "now");
    const value = "v".repeat(OUTPUT_SOFT_BYTES / 8);
    const client = await connect();
    assert.deepEqual(await client.ask("SET", "a", value), OK);
    client.socket.pause();
    const count = 400;
    client.send(...Array.from({ length: count }, () => ["GET", "a"]));
    const other = await connect();
    for (let turn = 0; turn < 20; turn += 1) {
      assert.deepEqual(await other.ask("STRLEN", "a"), value.length);
    }
    assert.ok(door.reads < count, `${door.reads} of ${count} replies did not fit`);
    client.socket.resume();
    const replies = await client.take(count);
    assert.ok(replies.every((reply) => reply === value));
  });

  it("are counted like all others", async (t) => {
    const told: string[] = [];
    const observer = {
      tallyOf: (command: string) => ({
        answered: (isRefusal: boolean, ms: number) => {
          assert.ok(ms >= 0);
          told.push(`${command} ${isRefusal ? "refused" : "ok"}`);
        },
      }),
    };
    const { connect, server, door } = await setUp(t, "now", { observer });
    const client = await connect();
    client.send(["GET", "a"], ["STRLEN", "a"], ["GETRANGE", "a", "x", "1"]);
    assert.equal((await client.take(3)).length, 3);
    assert.deepEqual(told, ["get ok", "strlen ok", "getrange refused"]);
    assert.equal(door.reads, 3);
    assert.equal(server.counters.commands, 3);
    assert.equal(server.counters.refusals, 1);
    assert.equal(server.counters.outputBytes, "$-1\r\n:0\r\n".length + REFUSED.length);
  });
});

const REFUSED = "-ERR value is not an integer or out of range\r\n";
