import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LocalDoor } from "../../test/support/local-door.ts";
import { plainReply } from "../../test/support/plain-reply.ts";
import { Command } from "../data/command.ts";
import { NULL_ARRAY, OK, Refusal, type Reply } from "../data/reply.ts";
import { slotOf } from "../kit/crc16.ts";
import { Router } from "./router.ts";

const SHARDS = 4;

function ask(router: Router, ...args: string[]): Reply {
  const replies: Reply[] = [];
  router.dispatch(Command.from(args), 1, { answered: (reply) => replies.push(plainReply(reply)) });
  assert.equal(replies.length, 1, "answered exactly once");
  return replies[0] ?? null;
}

function refusal(reply: Reply): string {
  assert.ok(reply instanceof Refusal);
  return `${reply.code} ${reply.message}`;
}

/** A key of each shard, in the order of the shards. */
function keyOfEachShard(): string[] {
  const keys: string[] = [];
  for (let n = 0; keys.filter(Boolean).length < SHARDS; n += 1) {
    keys[Math.floor((slotOf(`k${n}`) * SHARDS) / 16_384)] ??= `k${n}`;
  }
  return keys;
}

const [a = "", b = "", c = "", d = ""] = keyOfEachShard();

describe("Router", () => {
  it("sends a command to the shard of its key, as a write or not", () => {
    const door = new LocalDoor(SHARDS);
    const router = new Router(door);
    assert.equal(ask(router, "SET", b, "1"), OK);
    assert.equal(ask(router, "get", b), "1");
    assert.deepEqual(
      door.submitted.map(({ shard, session, request }) => [shard, session, request.isWrite]),
      [
        [1, 1, true],
        [1, 1, false],
      ],
    );
  });

  it("splits MSET and MGET, and keeps the order of the values", () => {
    const router = new Router(new LocalDoor(SHARDS));
    assert.equal(ask(router, "mset", d, "4", a, "1", b, "2", a, "5"), OK);
    assert.deepEqual(ask(router, "mget", a, d, "missing", b, a), ["5", "4", null, "2", "5"]);
    assert.equal(ask(router, "exists", a, b, c, d, a), 4);
    assert.equal(ask(router, "touch", a, b, c), 2);
    assert.equal(ask(router, "del", a, b, c), 2);
    assert.equal(ask(router, "unlink", a, d), 1);
  });

  it("answers in order when the parts finish out of order", () => {
    const door = new LocalDoor(SHARDS, "manual");
    const router = new Router(door);
    const replies: Reply[] = [];
    const sink = { answered: (reply: Reply) => replies.push(plainReply(reply)) };
    router.dispatch(Command.of("mset", a, "1", b, "2", c, "3"), 1, sink);
    while (door.waiting.length > 0) door.step(door.waiting.length - 1);
    router.dispatch(Command.of("mget", c, b, a), 1, sink);
    while (door.waiting.length > 0) {
      assert.equal(replies.length, 1);
      door.step(door.waiting.length - 1);
    }
    assert.deepEqual(replies, [OK, ["3", "2", "1"]]);
  });

  it("does not split what does not come out even", () => {
    const router = new Router(new LocalDoor(SHARDS));
    assert.equal(
      refusal(ask(router, "mset", a, "1", b)),
      "ERR wrong number of arguments for 'mset' command",
    );
    assert.deepEqual(ask(router, "mget", a, b), [null, null]);
  });

  it("keeps keys of one shard together, whatever their slots", () => {
    const door = new LocalDoor(1);
    const router = new Router(door);
    assert.equal(ask(router, "msetnx", a, "1", b, "2"), 1);
    assert.equal(ask(router, "mset", a, "1", b, "2"), OK);
    assert.equal(door.submitted.length, 2);
  });

  for (const args of [
    ["rename", a, b],
    ["msetnx", a, "1", b, "2"],
    ["copy", a, b],
    ["lcs", a, b],
  ]) {
    it(`refuses ${args[0]} over two shards`, () => {
      assert.equal(
        refusal(ask(new Router(new LocalDoor(SHARDS)), ...args)),
        "CROSSSLOT Keys in request don't hash to the same slot",
      );
    });
  }

  it("puts together what runs on every shard", () => {
    const router = new Router(new LocalDoor(SHARDS));
    assert.equal(ask(router, "randomkey"), null);
    ask(router, "mset", a, "1", b, "2", c, "3");
    assert.equal(ask(router, "dbsize"), 3);
    assert.deepEqual([...(ask(router, "keys", "*") as string[])].sort(), [a, b, c].sort());
    assert.ok([a, b, c].includes(ask(router, "randomkey") as string));
    assert.equal(refusal(ask(router, "flushall", "nonsense")), "ERR syntax error");
    assert.equal(ask(router, "flushall"), OK);
    assert.equal(ask(router, "dbsize"), 0);
  });

  it("scans all shards, each key once", () => {
    const router = new Router(new LocalDoor(SHARDS));
    const keys = Array.from({ length: 300 }, (_none, n) => `key:${n}`);
    for (const key of keys) ask(router, "set", key, "1");
    const seen: string[] = [];
    let cursor = "0";
    do {
      const [next, page] = ask(router, "scan", cursor, "count", "7") as [string, string[]];
      seen.push(...page);
      cursor = next;
    } while (cursor !== "0");
    assert.deepEqual(seen.sort(), keys.sort());
    assert.deepEqual(ask(router, "scan", "16384"), ["0", []]);
    assert.equal(refusal(ask(router, "scan", "x")), "ERR invalid cursor");
  });

  it("knows what it does not know", () => {
    const router = new Router(new LocalDoor());
    assert.equal(
      refusal(ask(router, "foo", "a", "b")),
      "ERR unknown command 'foo', with args beginning with: 'a' 'b' ",
    );
    assert.equal(refusal(ask(router, "get")), "ERR wrong number of arguments for 'get' command");
  });

  it("refuses before the first configuration", () => {
    const door = new LocalDoor();
    door.isConfigured = false;
    const router = new Router(door);
    for (const args of [["get", "a"], ["mget", "a", "b"], ["dbsize"], ["scan", "0"]]) {
      assert.match(refusal(ask(router, ...args)), /^TRYAGAIN .*no configuration/);
    }
    assert.match(refusal(router.shardOf(["a"]) as Refusal), /^TRYAGAIN/);
  });

  it("never answers a write as not executed of which a part was", () => {
    const door = new LocalDoor(SHARDS);
    const router = new Router(door);
    const tryAgain = new Refusal("TRYAGAIN", "no lease");
    door.intercept = (_request, shard) => (shard === 1 ? tryAgain : undefined);
    assert.match(refusal(ask(router, "mset", a, "1", b, "2")), /^UNCERTAIN /);
    assert.match(refusal(ask(router, "del", a, b)), /^UNCERTAIN /);
    assert.equal(ask(router, "mget", a, b), tryAgain);
    assert.equal(ask(router, "set", b, "1"), tryAgain);
    door.intercept = () => tryAgain;
    assert.equal(ask(router, "mset", a, "1", b, "2"), tryAgain);
    const uncertain = new Refusal("UNCERTAIN", "cut off");
    door.intercept = (_request, shard) => (shard === 1 ? uncertain : tryAgain);
    assert.match(refusal(ask(router, "mset", a, "1", b, "2")), /^UNCERTAIN /);
  });

  it("runs a transaction on its shard, if what it watched is unchanged", () => {
    const door = new LocalDoor(SHARDS);
    const router = new Router(door);
    const replies: Reply[] = [];
    const sink = { answered: (reply: Reply) => replies.push(plainReply(reply)) };
    ask(router, "set", b, "1");
    router.watch([b], 1, sink);
    const [version] = replies.pop() as number[];
    assert.ok(version !== undefined && version > 0);
    const shard = router.shardOf([b]);
    assert.equal(shard, 1);
    const transaction = {
      commands: [Command.of("incr", b), Command.of("get", b)],
      watched: [{ key: b, version }],
      shard: 1,
    };
    router.execute(transaction, 1, sink);
    assert.deepEqual(replies.pop(), [2, "2"]);
    router.execute(transaction, 1, sink);
    assert.equal(replies.pop(), NULL_ARRAY);
    assert.equal(door.submitted.at(-1)?.request.isWrite, true);
    router.execute({ commands: [Command.of("get", b)], watched: [], shard: 1 }, 1, sink);
    assert.equal(door.submitted.at(-1)?.request.isWrite, false);
  });

  it("runs a transaction where its keys are now, not where they were when it was queued", () => {
    const door = new LocalDoor(SHARDS);
    const router = new Router(door);
    const replies: Reply[] = [];
    const sink = { answered: (reply: Reply) => replies.push(reply) };
    router.execute({ commands: [Command.of("get", b)], watched: [], shard: 2 }, 1, sink);
    assert.equal(door.submitted.at(-1)?.shard, 1);
    const count = door.submitted.length;
    router.execute(
      {
        commands: [Command.of("get", a), Command.of("get", b)],
        watched: [],
        shard: 1,
      },
      1,
      sink,
    );
    router.execute(
      { commands: [Command.of("get", b)], watched: [{ key: a, version: 0 }], shard: 1 },
      1,
      sink,
    );
    router.execute({ commands: [Command.of("dbsize")], watched: [], shard: 0 }, 1, sink);
    assert.equal(door.submitted.length, count);
    for (const reply of replies.slice(1)) assert.match(refusal(reply as Refusal), /^CROSSSLOT/);
    assert.equal(replies.length, 4);
  });

  it("finds the one place of a command of a transaction", () => {
    const router = new Router(new LocalDoor(SHARDS));
    const place = (...args: string[]) => {
      const command = Command.from(args);
      const route = router.find(command);
      assert.ok(!(route instanceof Refusal));
      return router.placeOf(route, command);
    };
    assert.equal(place("set", c, "1"), 2);
    assert.match(refusal(place("mget", a, b) as Refusal), /^CROSSSLOT/);
    assert.match(refusal(place("dbsize") as Refusal), /^CROSSSLOT/);
    const single = new Router(new LocalDoor(1));
    const route = single.find(Command.of("dbsize"));
    assert.ok(!(route instanceof Refusal));
    assert.equal(single.placeOf(route, Command.of("dbsize")), 0);
    const replies: Reply[] = [];
    single.execute({ commands: [Command.of("scan", "0")], watched: [], shard: 0 }, 1, {
      answered: (reply) => replies.push(reply),
    });
    assert.deepEqual(replies, [[["0", []]]]);
  });
});
