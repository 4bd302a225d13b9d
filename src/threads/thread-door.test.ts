import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { LocalDoor, type Pace } from "../../test/support/local-door.ts";
import { plainReply } from "../../test/support/plain-reply.ts";
import { createThreadWay, type ThreadWay } from "../../test/support/thread-way.ts";
import { Command } from "../data/command.ts";
import { NULL_ARRAY, OK, Refusal, type Reply } from "../data/reply.ts";
import { slotOf } from "../kit/crc16.ts";
import type { Configuration } from "../replica/configuration.ts";
import { Router } from "../router/router.ts";

interface Setup {
  readonly way: ThreadWay;
  readonly core: LocalDoor;
  readonly router: Router;
  /** What the valve was told. */
  readonly valve: ("hold" | "release")[];
  ask(...args: readonly string[]): Promise<Reply>;
}

function setUp(
  t: TestContext,
  options: { readonly shards?: number; readonly pace?: Pace; readonly nowMs?: () => number } = {},
): Setup {
  const core = new LocalDoor(options.shards ?? 4, options.pace ?? "now");
  const valve: ("hold" | "release")[] = [];
  const way = createThreadWay(
    core,
    { hold: () => valve.push("hold"), release: () => valve.push("release") },
    options.nowMs,
  );
  t.after(() => way.close());
  const router = new Router(way.door);
  const ask = (...args: readonly string[]): Promise<Reply> =>
    new Promise((resolve) => {
      router.dispatch(Command.from(args), 7, { answered: (reply) => resolve(plainReply(reply)) });
    });
  return { way, core, router, valve, ask };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn += 1) {
    assert.ok(turn < 20_000, `never: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("the door of a thread without a core", () => {
  it("gives the core what was asked, with its shard and session, and brings every kind of answer back", async (t) => {
    const { core, ask, way } = setUp(t);
    assert.equal(await ask("set", "a", "\x00\xff\r\n"), OK);
    assert.equal(await ask("GET", "a"), "\x00\xff\r\n");
    assert.equal(await ask("get", "none"), null);
    assert.equal(await ask("incr", "n"), 1);
    assert.deepEqual(await ask("mget", "a", "n", "none"), ["\x00\xff\r\n", "1", null]);
    assert.equal(await ask("dbsize"), 2);
    const refused = await ask("incr", "a");
    assert.ok(refused instanceof Refusal);
    assert.equal(refused.code, "ERR");
    const [first] = core.submitted;
    assert.equal(first?.shard, Math.floor((slotOf("a") * 4) / 16_384));
    assert.equal(first.session, 7);
    assert.ok(first.request.isWrite);
    assert.equal(way.door.unanswered, 0);
  });

  it("carries transactions with what they watch", async (t) => {
    const { router, core } = setUp(t, { shards: 1 });
    const commands = [Command.of("set", "a", "1"), Command.of("get", "a")];
    const run = (version: number): Promise<Reply> =>
      new Promise((resolve) => {
        router.execute({ commands, watched: [{ key: "w", version }], shard: 0 }, 1, {
          answered: (reply) => resolve(plainReply(reply)),
        });
      });
    assert.deepEqual(await run(0), [OK, "1"]);
    assert.equal(await run(99), NULL_ARRAY);
    // Only what the server itself answers was queued, but what is watched still counts.
    commands.length = 0;
    assert.deepEqual(await run(0), []);
    assert.equal(await run(99), NULL_ARRAY);
    const [, second] = core.submitted;
    assert.deepEqual(second?.request.watched, [{ key: "w", version: 99 }]);
    assert.ok(second.request.isTransaction);
  });

  it("keeps the order of what is submitted, whatever its size", async (t) => {
    const { router, core } = setUp(t, { shards: 1 });
    const sizes = [10, 300_000, 20, 1_500_000, 70_000, 70_000, 30, 3_000_000, 5];
    const replies: Reply[] = [];
    for (const [index, size] of sizes.entries()) {
      const value = String(index).repeat(size);
      router.dispatch(Command.of("getset", "k", value), 1, {
        answered: (reply) => replies.push(plainReply(reply)),
      });
    }
    await until("all are answered", () => replies.length === sizes.length);
    assert.equal(core.submitted.length, sizes.length);
    for (const [index, reply] of replies.entries()) {
      const before = index === 0 ? null : String(index - 1).repeat(sizes[index - 1] ?? 0);
      assert.ok(reply === before, `the answer ${index}`);
    }
  });

  it("has its valve closed while the way is full, and loses nothing", async (t) => {
    const { router, valve, way } = setUp(t, { shards: 1 });
    const count = 30;
    const value = "v".repeat(100_000);
    const replies: Reply[] = [];
    for (let n = 0; n < count; n += 1) {
      router.dispatch(Command.of("set", `k${n}`, value), 1, {
        answered: (reply) => replies.push(reply),
      });
    }
    assert.deepEqual(valve, ["hold"]);
    assert.equal(way.door.unanswered, count);
    await until("all are answered", () => replies.length === count);
    assert.deepEqual(valve, ["hold", "release"]);
    assert.ok(replies.every((reply) => reply === OK));
  });

  it("answers what finishes later, in any order", async (t) => {
    const { router, core } = setUp(t, { shards: 1, pace: "manual" });
    const answered: number[] = [];
    for (let n = 0; n < 100; n += 1) {
      router.dispatch(Command.of("set", "k", String(n)), 1, {
        answered: () => answered.push(n),
      });
    }
    await until("the core has them", () => core.waiting.length === 100);
    while (core.waiting.length > 0) core.step(core.waiting.length - 1);
    await until("all are answered", () => answered.length === 100);
    assert.deepEqual(
      answered,
      Array.from({ length: 100 }, (_none, n) => 99 - n),
    );
  });

  it("takes operations for a bounded time of a turn, and the others in the next ones", async (t) => {
    let nowMs = 0;
    // Each look at the clock finds that a whole turn is over.
    const { router, core } = setUp(t, { shards: 1, nowMs: () => (nowMs += 11) });
    let answered = 0;
    for (let n = 0; n < 100; n += 1) {
      router.dispatch(Command.of("get", "k"), 1, {
        answered: () => {
          answered += 1;
        },
      });
    }
    const perTurn: number[] = [];
    for (let before = 0; answered < 100; before = core.submitted.length) {
      await new Promise((resolve) => setImmediate(resolve));
      perTurn.push(core.submitted.length - before);
      assert.ok(perTurn.length < 1_000, "all are answered");
    }
    assert.ok(Math.max(...perTurn) <= 16, perTurn.join(" "));
  });

  it("looks at the clock after each command that may take long", async (t) => {
    let nowMs = 0;
    const { router, core } = setUp(t, { shards: 1, nowMs: () => (nowMs += 11) });
    let answered = 0;
    for (let n = 0; n < 10; n += 1) {
      router.dispatch(Command.of("keys", "*"), 1, {
        answered: () => {
          answered += 1;
        },
      });
    }
    let most = 0;
    for (let before = 0; answered < 10; before = core.submitted.length) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, core.submitted.length - before);
    }
    assert.equal(most, 1);
  });
});

describe("operations that an older configuration has routed", () => {
  /** The core divides its shard while operations are on their way. */
  function divide(core: LocalDoor): Configuration {
    const before = core.configuration();
    const [only] = before?.shards ?? [];
    assert.ok(before !== undefined && only !== undefined);
    const divided: Configuration = {
      ...before,
      version: before.version + 1,
      shards: [
        { ...only, lastSlot: 8_191 },
        { ...only, id: 1, firstSlot: 8_192 },
      ],
    };
    core.configuration = () => divided;
    return divided;
  }

  const low = "bar";
  const high = "foo";

  it("go to the shard that has the key now", async (t) => {
    assert.ok(slotOf(low) < 8_192 && slotOf(high) >= 8_192);
    const { core, router } = setUp(t, { shards: 1, pace: "manual" });
    for (const key of [low, high]) {
      router.dispatch(Command.of("set", key, "v"), 1, { answered: () => undefined });
    }
    divide(core);
    await until("the core has them", () => core.waiting.length === 2);
    assert.deepEqual(
      core.waiting.map(({ shard }) => shard),
      [0, 1],
    );
  });

  it("are to be tried again if no shard has all of it", async (t) => {
    const { core, router, ask } = setUp(t, { shards: 1, pace: "manual" });
    const replies: Reply[] = [];
    for (const args of [["mset", low, "1", high, "2"], ["dbsize"]]) {
      router.dispatch(Command.from(args), 1, { answered: (reply) => replies.push(reply) });
    }
    divide(core);
    await until("both are answered", () => replies.length === 2);
    for (const reply of replies) assert.ok(reply instanceof Refusal && reply.code === "TRYAGAIN");
    // From then on the thread knows the new shards.
    void ask("dbsize");
    await until("the core has both parts", () => core.waiting.length === 2);
    assert.deepEqual(
      core.waiting.map(({ shard }) => shard),
      [0, 1],
    );
  });

  it("stay where they are if only a primary has changed", async (t) => {
    const { core, router } = setUp(t, { shards: 1, pace: "manual" });
    router.dispatch(Command.of("dbsize"), 1, { answered: () => undefined });
    const before = core.configuration();
    assert.ok(before !== undefined);
    const next = { ...before, version: before.version + 1 };
    core.configuration = () => next;
    await until("the core has it", () => core.waiting.length === 1);
    assert.equal(core.waiting[0]?.shard, 0);
  });
});
