import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";

import { createClient } from "redis";

import { type OracleReply, RedisOracle } from "../../test/support/redis-oracle.ts";
import { RespClient } from "../../test/support/resp-client.ts";
import { setUpServer } from "../../test/support/resp-server.ts";
import {
  MapReply,
  NULL_ARRAY,
  OK,
  QUEUED,
  Refusal,
  type Reply,
  Status,
  VerbatimReply,
} from "../data/reply.ts";
import { splitInlineRequest } from "../resp/inline-request.ts";
import { IN_FLIGHT_MAX, OUTPUT_HARD_BYTES_MAX, TURN_MS_MAX, UNANSWERED_MAX } from "./limits.ts";
import { onlyServer } from "./node-wide.ts";
import { RespServer } from "./resp-server.ts";

const run = promisify(execFile);

function refusal(reply: Reply): string {
  assert.ok(reply instanceof Refusal, JSON.stringify(reply));
  return `${reply.code} ${reply.message}`;
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn += 1) {
    assert.ok(turn < 3000, "the condition never held");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lets the server see small replies, so that it takes as many requests at once as it ever does. */
async function warmUp(client: RespClient): Promise<void> {
  client.send(...Array.from({ length: 200 }, () => ["PING"]));
  await client.take(200);
}

/** Inline requests on one connection, each with what Redis 7 answers. */
const CONVERSATIONS: readonly [name: string, lines: readonly [string, unknown][]][] = [
  [
    "PING and ECHO",
    [
      ["PING", "+PONG"],
      ["PING hi", "hi"],
      ["PING a b", "-ERR wrong number of arguments for 'ping' command"],
      ["ECHO hi", "hi"],
      ["ECHO", "-ERR wrong number of arguments for 'echo' command"],
      ["RESET", "+RESET"],
    ],
  ],
  [
    "data commands",
    [
      ["SET a 1", "+OK"],
      ["GeT a", "1"],
      ["GET b", null],
      ["INCR a", 2],
      ["FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' "],
      ["GET", "-ERR wrong number of arguments for 'get' command"],
    ],
  ],
  [
    "SELECT",
    [
      ["SELECT 0", "+OK"],
      ["SELECT 99", "-ERR DB index is out of range"],
      ["SELECT x", "-ERR value is not an integer or out of range"],
    ],
  ],
  [
    "HELLO's errors",
    [
      ["HELLO 4", "-NOPROTO unsupported protocol version"],
      ["HELLO x", "-ERR Protocol version is not an integer or out of range"],
      ["HELLO 2 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"],
      [
        'HELLO 2 SETNAME "a b"',
        "-ERR Client names cannot contain spaces, newlines or special characters.",
      ],
    ],
  ],
  [
    "AUTH without a password",
    [
      [
        "AUTH x",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
      ],
      ["AUTH x y", "-WRONGPASS invalid username-password pair or user is disabled."],
      ["AUTH default y", "+OK"],
      ["AUTH a b c", "-ERR syntax error"],
    ],
  ],
  [
    "CLIENT",
    [
      ["CLIENT GETNAME", ""],
      ["CLIENT SETNAME me", "+OK"],
      ["CLIENT GETNAME", "me"],
      ['CLIENT SETNAME ""', "+OK"],
      [
        'CLIENT SETNAME "a b"',
        "-ERR Client names cannot contain spaces, newlines or special characters.",
      ],
      ["CLIENT SETINFO LIB-NAME lib", "+OK"],
      ["CLIENT SETINFO lib-ver 1", "+OK"],
      ["CLIENT SETINFO foo 1", "-ERR Unrecognized option 'foo'"],
      ["CLIENT NO-EVICT on", "+OK"],
      ["CLIENT NO-EVICT x", "-ERR syntax error"],
      ["CLIENT NO-TOUCH OFF", "+OK"],
      ["CLIENT REPLY x", "-ERR syntax error"],
      ["CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"],
      ["CLIENT LIST TYPE pubsub", ""],
      ["CLIENT LIST ID x", "-ERR Invalid client ID"],
      ["CLIENT LIST ID 999", ""],
      ["CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."],
      ["CLIENT", "-ERR wrong number of arguments for 'client' command"],
      ["CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command"],
    ],
  ],
  [
    "CONFIG",
    [
      ["CONFIG GET maxclients maxclients", ["maxclients", "10000"]],
      ["CONFIG GET sav?", ["save", ""]],
      ["CONFIG GET", "-ERR wrong number of arguments for 'config|get' command"],
      ["CONFIG SET maxclients 20 timeout 7", "+OK"],
      ["CONFIG GET timeout", ["timeout", "7"]],
      ["CONFIG GET maxclients", ["maxclients", "20"]],
      ["CONFIG SET foo bar", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'"],
      ["CONFIG SET maxclients", "-ERR wrong number of arguments for 'config|set' command"],
      [
        "CONFIG SET databases 3",
        "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
      ],
      ['CONFIG SET save ""', "+OK"],
      [
        "CONFIG SET timeout 9 maxclients x",
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer",
      ],
      ["CONFIG GET timeout", ["timeout", "7"]],
      [
        "CONFIG SET maxclients 0",
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive",
      ],
      [
        "CONFIG SET maxclients 10 maxclients 20",
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter",
      ],
      ["CONFIG SET proto-max-bulk-len 2mb", "+OK"],
      ["CONFIG GET proto-max-bulk-len", ["proto-max-bulk-len", "2097152"]],
      ["CONFIG RESETSTAT", "+OK"],
      ["CONFIG REWRITE", "-ERR The server is running without a config file"],
      ["CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."],
    ],
  ],
  [
    "COMMAND",
    [
      ["COMMAND GETKEYS mset a 1 b 2", ["a", "b"]],
      ["COMMAND GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command"],
      ["COMMAND GETKEYS ping x", "-ERR The command has no key arguments"],
      ["COMMAND GETKEYS foo x", "-ERR Invalid command specified"],
      ["COMMAND GETKEYS set x", "-ERR Invalid number of arguments specified for command"],
      ["COMMAND LIST FILTERBY PATTERN xyz*", []],
      ["COMMAND LIST FILTERBY PATTERN mge*", ["mget"]],
      ["COMMAND LIST FILTERBY FOO x", "-ERR syntax error"],
      ["COMMAND INFO foo", [null]],
      ["COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."],
    ],
  ],
  [
    "transactions",
    [
      ["MULTI", "+OK"],
      ["MULTI", "-ERR MULTI calls can not be nested"],
      ["WATCH a", "-ERR WATCH inside MULTI is not allowed"],
      ["SET a 1", "+QUEUED"],
      ["PING", "+QUEUED"],
      ["INCR a", "+QUEUED"],
      ["ECHO x", "+QUEUED"],
      ["EXEC", ["+OK", "+PONG", 2, "x"]],
      ["EXEC", "-ERR EXEC without MULTI"],
      ["DISCARD", "-ERR DISCARD without MULTI"],
      ["MULTI", "+OK"],
      ["EXEC", []],
      ["MULTI", "+OK"],
      ["PING", "+QUEUED"],
      ["EXEC", ["+PONG"]],
      ["MULTI", "+OK"],
      ["SET a x", "+QUEUED"],
      ["DISCARD", "+OK"],
      ["GET a", "2"],
      ["MULTI", "+OK"],
      ["SET a x", "+QUEUED"],
      ["INCR a", "+QUEUED"],
      ["GET a", "+QUEUED"],
      ["EXEC", ["+OK", "-ERR value is not an integer or out of range", "x"]],
      ["UNWATCH", "+OK"],
    ],
  ],
  [
    "transactions that are aborted",
    [
      ["MULTI", "+OK"],
      ["FOO", "-ERR unknown command 'FOO', with args beginning with: "],
      ["SET a 1", "+QUEUED"],
      ["EXEC", "-EXECABORT Transaction discarded because of previous errors."],
      ["GET a", null],
      ["MULTI", "+OK"],
      ["GET", "-ERR wrong number of arguments for 'get' command"],
      ["EXEC", "-EXECABORT Transaction discarded because of previous errors."],
      ["MULTI", "+OK"],
      ["CLIENT ID", "-ERR Command not allowed inside a transaction"],
      ["EXEC", "-EXECABORT Transaction discarded because of previous errors."],
      ["MULTI", "+OK"],
      ["RESET", "+RESET"],
      ["EXEC", "-ERR EXEC without MULTI"],
    ],
  ],
  [
    "WATCH",
    [
      ["WATCH a b", "+OK"],
      ["SET a 1", "+OK"],
      ["MULTI", "+OK"],
      ["SET b 2", "+QUEUED"],
      ["EXEC", NULL_ARRAY],
      ["GET b", null],
      ["MULTI", "+OK"],
      ["SET b 2", "+QUEUED"],
      ["EXEC", ["+OK"]],
      ["WATCH a", "+OK"],
      ["SET a 2", "+OK"],
      ["WATCH a", "+OK"],
      ["MULTI", "+OK"],
      ["EXEC", NULL_ARRAY],
      ["WATCH a", "+OK"],
      ["SET a 3", "+OK"],
      ["UNWATCH", "+OK"],
      ["MULTI", "+OK"],
      ["PING", "+QUEUED"],
      ["EXEC", ["+PONG"]],
    ],
  ],
];

/** Replies as the tables above write them. */
function shown(reply: Reply): unknown {
  if (reply instanceof Status) return `+${reply.text}`;
  if (reply instanceof Refusal) return `-${reply.code} ${reply.message}`;
  if (Array.isArray(reply)) return (reply as readonly Reply[]).map(shown);
  return reply;
}

/** Those of the conversations that Redis 7.0 must answer alike; the others show what is ours or newer. */
const AS_REDIS: readonly string[] = [
  "PING and ECHO",
  "SELECT",
  "HELLO's errors",
  "AUTH without a password",
  "transactions",
  "WATCH",
];

function shownOfOracle(reply: OracleReply): unknown {
  if (reply === null || typeof reply === "string") return reply;
  if ("status" in reply) return `+${reply.status}`;
  if ("error" in reply) return `-${reply.error}`;
  if ("integer" in reply) return Number(reply.integer);
  return reply.map(shownOfOracle);
}

describe("The tables of this test", () => {
  it("expect what Redis answers", async (t) => {
    const oracle = await RedisOracle.start();
    if (oracle === undefined) {
      t.skip("redis-server is not installed");
      return;
    }
    t.after(() => oracle.stop());
    for (const [name, lines] of CONVERSATIONS.filter(([each]) => AS_REDIS.includes(each))) {
      await oracle.ask([["FLUSHALL"]]);
      for (const [line, expected] of lines) {
        const [reply = null] = await oracle.ask([splitInlineRequest(line) ?? []]);
        const wanted = expected === NULL_ARRAY ? null : expected;
        assert.deepEqual(shownOfOracle(reply), wanted, `${name}: ${line}`);
      }
    }
  });
});

describe("RespServer, commands", () => {
  for (const [name, lines] of CONVERSATIONS) {
    for (const way of ["now", "later", "threaded"] as const) {
      it(`answers ${name}, one by one and pipelined (${way})`, async (t) => {
        const options = way === "threaded" ? { isThreaded: true } : { pace: way };
        const single = await (await setUpServer(t, options)).connect();
        for (const [line, expected] of lines) {
          single.write(`${line}\r\n`);
          const reply = shown(await single.next());
          // Without a name Redis answers null; both are written as "" here.
          assert.deepEqual(reply ?? (expected === "" ? "" : null), expected, line);
        }
        const pipelined = await (await setUpServer(t, options)).connect();
        pipelined.write(lines.map(([line]) => `${line}\r\n`).join(""));
        for (const [line, expected] of lines) {
          const reply = shown(await pipelined.next());
          assert.deepEqual(reply ?? (expected === "" ? "" : null), expected, line);
        }
      });
    }
  }

  it("shakes hands in RESP2 and RESP3", async (t) => {
    const { connect } = await setUpServer(t);
    const client = await connect();
    const two = (await client.ask("HELLO")) as readonly Reply[];
    assert.equal(two.length, 14);
    const three = await client.ask("HELLO", "3", "SETNAME", "me");
    assert.ok(three instanceof MapReply);
    assert.deepEqual(three.entries[2], ["proto", 3]);
    assert.equal(await client.ask("GET", "missing"), null);
    assert.equal(await client.ask("CLIENT", "GETNAME"), "me");
    assert.ok((await client.ask("CONFIG", "GET", "save")) instanceof MapReply);
    assert.ok((await client.ask("INFO")) instanceof VerbatimReply);
    assert.ok(Array.isArray(await client.ask("HELLO", "2")));
  });

  it("lets nobody in without the password", async (t) => {
    const { connect } = await setUpServer(t, { requirePass: "s\xffcret" });
    const client = await connect();
    assert.equal(refusal(await client.ask("GET", "a")), "NOAUTH Authentication required.");
    assert.equal(refusal(await client.ask("PING")), "NOAUTH Authentication required.");
    assert.match(refusal(await client.ask("HELLO", "3")), /^NOAUTH HELLO must be called/);
    assert.match(refusal(await client.ask("FOO")), /^ERR unknown command/);
    const wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert.equal(refusal(await client.ask("AUTH", "no")), wrong);
    assert.equal(refusal(await client.ask("HELLO", "3", "AUTH", "default", "no")), wrong);
    assert.deepEqual(await client.ask("AUTH", "s\xffcret"), OK);
    assert.equal(await client.ask("GET", "a"), null);
    assert.deepEqual(await client.ask("RESET"), new Status("RESET"));
    assert.match(refusal(await client.ask("GET", "a")), /^NOAUTH/);
    assert.ok((await client.ask("HELLO", "3", "AUTH", "default", "s\xffcret")) instanceof MapReply);
    const stranger = await connect();
    stranger.write("*11\r\n");
    assert.equal(
      refusal(await stranger.next()),
      "ERR Protocol error: unauthenticated multibulk length",
    );
    await stranger.closed();
  });

  it("keeps silent when asked to", async (t) => {
    const client = await (await setUpServer(t, { pace: "later" })).connect();
    client.send(
      ["CLIENT", "REPLY", "SKIP"],
      ["SET", "a", "1"],
      ["GET", "a"],
      ["CLIENT", "REPLY", "OFF"],
      ["SET", "a", "2"],
      ["FOO"],
      ["CLIENT", "REPLY", "ON"],
      ["GET", "a"],
    );
    assert.deepEqual(await client.take(3), ["1", OK, "2"]);
  });

  it("refuses transactions and watches over several shards", async (t) => {
    const client = await (await setUpServer(t, { shards: 16 })).connect();
    const crossSlot = "CROSSSLOT Keys in request don't hash to the same slot";
    assert.deepEqual(await client.ask("MULTI"), OK);
    assert.deepEqual(await client.ask("SET", "{a}1", "1"), QUEUED);
    assert.deepEqual(await client.ask("SET", "{a}2", "1"), QUEUED);
    assert.equal(refusal(await client.ask("SET", "b", "1")), crossSlot);
    assert.match(refusal(await client.ask("EXEC")), /^EXECABORT/);
    assert.equal(await client.ask("GET", "{a}1"), null);
    assert.equal(refusal(await client.ask("WATCH", "a", "b")), crossSlot);
    await client.ask("MULTI");
    await client.ask("SET", "a", "1");
    assert.deepEqual(await client.ask("EXEC"), NULL_ARRAY);
    assert.deepEqual(await client.ask("WATCH", "a"), OK);
    await client.ask("MULTI");
    assert.equal(refusal(await client.ask("SET", "b", "1")), crossSlot);
    assert.match(refusal(await client.ask("EXEC")), /^EXECABORT/);
    await client.ask("MULTI");
    assert.equal(refusal(await client.ask("DBSIZE")), crossSlot);
    await client.ask("DISCARD");
  });

  it("does not run a transaction whose watch was refused", async (t) => {
    const { connect, door } = await setUpServer(t);
    const client = await connect();
    door.intercept = ({ commands: [args] }) =>
      args?.text(0) === "watch" ? new Refusal("TRYAGAIN", "no lease") : undefined;
    client.send(["WATCH", "a"], ["MULTI"], ["SET", "a", "1"], ["EXEC"], ["GET", "a"]);
    const [watch = null, , , exec, value] = await client.take(5);
    assert.match(refusal(watch), /^TRYAGAIN/);
    assert.deepEqual(exec, NULL_ARRAY);
    assert.equal(value, null);
  });

  it("describes itself and its clients", async (t) => {
    const { connect, port } = await setUpServer(t, { shards: 2 });
    const client = await connect();
    await client.ask("SET", "a", "1");
    await client.ask("CLIENT", "SETNAME", "me");
    const info = (await client.ask("INFO")) as string;
    for (const line of [
      `tcp_port:${port}`,
      "hothot_version:0.0.0-test",
      "connected_clients:1",
      "role:master",
      "replication_mode:sync",
      "shard_1:slots=8192-16383,role=primary,epoch=1,primary=n1",
      "peer_n2:link=down",
      "db0:keys=1",
    ]) {
      assert.ok(info.includes(`\r\n${line}`), `${line} in ${info}`);
    }
    const keyspace = (await client.ask("INFO", "keyspace")) as string;
    assert.equal(keyspace, "# Keyspace\r\ndb0:keys=1\r\n");
    const id = String(await client.ask("CLIENT", "ID"));
    const list = (await client.ask("CLIENT", "LIST", "ID", id)) as string;
    assert.match(list, new RegExp(`^id=${id} addr=127.0.0.1:\\d+ .* name=me .* cmd=client .*\\n$`));
    assert.equal(
      await client.ask("COMMAND", "COUNT"),
      ((await client.ask("COMMAND")) as []).length,
    );
    const [seconds, microseconds] = (await client.ask("TIME")) as string[];
    assert.ok(Math.abs(Number(seconds) - Date.now() / 1000) < 100);
    assert.ok(Number(microseconds) < 1_000_000);
    for (const name of ["CLIENT", "COMMAND", "CONFIG"]) {
      assert.ok(((await client.ask(name, "HELP")) as []).length > 4);
    }
  });

  it("sleeps only where that is enabled", async (t) => {
    const awake = await (await setUpServer(t)).connect();
    assert.match(refusal(await awake.ask("DEBUG", "SLEEP", "1")), /^ERR DEBUG command not allowed/);
    const sleepy = await (await setUpServer(t, { enableDebug: true })).connect();
    const before = performance.now();
    assert.deepEqual(await sleepy.ask("DEBUG", "SLEEP", "0.05"), OK);
    assert.ok(performance.now() - before >= 49);
    assert.match(refusal(await sleepy.ask("DEBUG", "FOO")), /^ERR unknown subcommand/);
  });

  it("tells the observer of each command", async (t) => {
    const seen: string[] = [];
    const observer = {
      tallyOf: (name: string) => ({
        answered: (isRefusal: boolean, ms: number) => {
          assert.ok(ms >= 0);
          seen.push(`${name} ${isRefusal ? "error" : "ok"}`);
        },
      }),
    };
    const client = await (await setUpServer(t, { observer, pace: "later" })).connect();
    client.send(["SeT", "a", "x"], ["Ping"], ["incr", "a"], ["nonsense"]);
    await client.take(4);
    assert.deepEqual(seen.sort(), ["incr error", "ping ok", "set ok", "unknown error"]);
  });
});

const KINDS = [
  { reading: "into one buffer", readsIntoBuffer: true, isThreaded: false },
  { reading: "into their own", readsIntoBuffer: false, isThreaded: false },
  {
    reading: "into one buffer, of a thread without a core",
    readsIntoBuffer: true,
    isThreaded: true,
  },
];

for (const { reading, ...kind } of KINDS) {
  const setUp: typeof setUpServer = (t, options) => setUpServer(t, { ...kind, ...options });
  describe(`RespServer, connections that read ${reading}`, () => {
    it("answers in the order of the requests, however operations finish", async (t) => {
      const { connect, door } = await setUp(t, { pace: "manual", shards: 4 });
      const client = await connect();
      client.send(["SET", "a", "1"], ["SET", "b", "2"], ["PING"], ["GET", "a"], ["GET", "b"]);
      await until(() => door.waiting.length === 4);
      for (const index of [1, 0, 1, 0]) door.step(index);
      assert.deepEqual(await client.take(5), [OK, OK, new Status("PONG"), "1", "2"]);
    });

    for (const pace of ["now", "later"] as const) {
      it(`takes 10,000 commands in one write (${pace})`, async (t) => {
        const client = await (await setUp(t, { pace, shards: 4 })).connect();
        const numbers = Array.from({ length: 10_000 }, (_none, n) => n);
        client.send(...numbers.map((n) => ["SET", `k${n}`, `${n}`]));
        assert.ok((await client.take(10_000)).every((reply) => shown(reply) === "+OK"));
        client.send(...numbers.map((n) => ["GET", `k${n}`]));
        assert.deepEqual(await client.take(10_000), numbers.map(String));
      });
    }

    it("takes no more requests than it may have unanswered", async (t) => {
      const { connect, door } = await setUp(t, { pace: "manual" });
      const client = await connect();
      await warmUp(client);
      const count = IN_FLIGHT_MAX + 500;
      client.send(...Array.from({ length: count }, (_none, n) => ["SET", "k", `${n}`]));
      await until(() => door.waiting.length === IN_FLIGHT_MAX);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(door.waiting.length, IN_FLIGHT_MAX);
      const taken = client.take(count);
      while (door.submitted.length < count || door.waiting.length > 0) {
        if (door.waiting.length > 0) door.step();
        else await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal((await taken).length, count);
    });

    it("reads requests in pieces", async (t) => {
      const client = await (await setUp(t)).connect();
      for (const char of "*2\r\n$4\r\nECHO\r\n$5\r\nh\r\nlo\r\n") {
        client.write(char);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(await client.next(), "h\r\nlo");
    });

    for (const [bytes, text] of [
      ["*1\r\n:5\r\n", "expected '$', got ':'"],
      ["*99999999999\r\n", "invalid multibulk length"],
      ["*x\r\n", "invalid multibulk length"],
      ["*2\r\n$3\r\nGET\r\n$629145600\r\n", "invalid bulk length"],
      ["*1\r\n$4\r\nPINGxx", "expected a line end"],
      ['SET a "b\r\n', "unbalanced quotes in request"],
      ["a".repeat(70_000), "too big inline request"],
    ] as const) {
      it(`closes after the protocol error: ${text} (${bytes.length} bytes)`, async (t) => {
        const { connect, server } = await setUp(t, { pace: "later" });
        const client = await connect();
        client.write(`SET a 1\r\n${bytes}PING\r\n`);
        assert.deepEqual(await client.next(), OK);
        assert.equal(refusal(await client.next()), `ERR Protocol error: ${text}`);
        await client.closed();
        assert.equal(server.counters.protocolErrors, 1);
        await until(() => server.connectionCount === 0);
      });
    }

    it("closes after QUIT, and looks at nothing behind it", async (t) => {
      const { connect, server } = await setUp(t, { pace: "later" });
      const client = await connect();
      client.send(["SET", "a", "1"], ["QUIT"], ["SET", "a", "2"]);
      assert.deepEqual(await client.take(2), [OK, OK]);
      await assert.rejects(client.next(), /closed/);
      await until(() => server.connectionCount === 0);
      assert.equal(await (await connect()).ask("GET", "a"), "1");
    });

    it("answers what a client sent before it ended its side", async (t) => {
      const { connect, server } = await setUp(t, { pace: "later" });
      const client = await connect();
      client.send(["SET", "a", "1"], ["GET", "a"]);
      client.socket.end();
      assert.deepEqual(await client.take(2), [OK, "1"]);
      await until(() => client.isClosed && server.connectionCount === 0);
    });

    it("forgets a client that vanishes with operations under way", async (t) => {
      const { connect, server, door } = await setUp(t, { pace: "manual" });
      const client = await connect();
      client.send(["SET", "a", "1"]);
      await until(() => door.waiting.length === 1);
      client.socket.resetAndDestroy();
      await until(() => server.connectionCount === 0);
      door.step();
    });

    it("takes no more clients than maxclients", async (t) => {
      const { connect, server } = await setUp(t, { maxClients: 2 });
      const first = await connect();
      await first.ask("PING");
      await (await connect()).ask("PING");
      const third = await connect();
      assert.equal(refusal(await third.next()), "ERR max number of clients reached");
      await third.closed();
      assert.equal(server.counters.rejectedConnections, 1);
      first.destroy();
      await until(() => server.connectionCount === 1);
      assert.deepEqual(await (await connect()).ask("PING"), new Status("PONG"));
    });

    it("serves 1,000 connections", async (t) => {
      const { connect, server } = await setUp(t, { pace: "later" });
      const clients: RespClient[] = [];
      for (let n = 0; n < 1000; n += 100) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, connect))));
      }
      const replies = await Promise.all(clients.map((client) => client.ask("INCR", "n")));
      assert.deepEqual(
        replies.map(Number).sort((x, y) => x - y),
        clients.map((_client, n) => n + 1),
      );
      assert.equal(server.connectionCount, 1000);
    });

    it("closes connections that are idle for longer than `timeout`", async (t) => {
      const { connect, server } = await setUp(t);
      const client = await connect();
      await client.ask("CONFIG", "SET", "timeout", "1");
      await client.closed();
      await until(() => server.connectionCount === 0);
    });

    it("stops reading from a client that does not read, serves others, and goes on", async (t) => {
      const { connect, door } = await setUp(t);
      const value = "x".repeat(1_000_000);
      const client = await connect();
      await client.ask("SET", "big", value);
      client.socket.pause();
      const count = 200;
      client.send(...Array.from({ length: count }, () => ["GET", "big"]));
      const other = await connect();
      await until(() => door.submitted.length > 1);
      for (let n = 0; n < 20; n += 1) await other.ask("GET", "small");
      const asked = door.submitted.filter(
        ({ request }) => request.commands[0]?.text(1) === "big",
      ).length;
      assert.ok(asked < count, `${asked} of ${count} were run`);
      client.socket.resume();
      for (const reply of await client.take(count)) assert.ok(reply === value);
    });

    it("cuts off a client that leaves too much unread", async (t) => {
      const { connect, server, door } = await setUp(t, { pace: "manual" });
      const client = await connect();
      await warmUp(client);
      client.socket.pause();
      // One string stands for all replies, so that only the server's count of them is large.
      const value = "x".repeat(8 * 1024 * 1024);
      door.intercept = () => value;
      const count = Math.ceil(OUTPUT_HARD_BYTES_MAX / value.length) + 40;
      client.send(...Array.from({ length: count }, () => ["GET", "big"]));
      await until(() => door.waiting.length === count);
      while (door.waiting.length > 0) {
        door.step();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => server.connectionCount === 0);
      assert.equal(server.counters.outputLimitDisconnections, 1);
      assert.deepEqual(await (await connect()).ask("PING"), new Status("PONG"));
    });

    it("takes few requests at once while their replies may be large", async (t) => {
      const { connect, door } = await setUp(t, { pace: "manual" });
      const client = await connect();
      const value = "x".repeat(2 * 1024 * 1024);
      door.intercept = () => value;
      const count = 150;
      client.send(...Array.from({ length: count }, () => ["GET", "big"]));
      const taken = client.take(count);
      let most = 0;
      for (let answered = 0; answered < count; answered += 1) {
        await until(() => door.waiting.length > 0);
        if (answered > 64) most = Math.max(most, door.waiting.length);
        door.step();
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok((await taken).every((reply) => reply === value));
      assert.ok(most <= 32, `${most} were in flight`);
    });

    it("takes only so long for requests in each turn of the loop", async (t) => {
      const { connect, door } = await setUp(t);
      const clients = await Promise.all(Array.from({ length: 20 }, connect));
      for (const client of clients) await warmUp(client);
      let inTurn = 0;
      let most = 0;
      let isDone = false;
      door.intercept = () => {
        inTurn += 1;
        const untilMs = performance.now() + TURN_MS_MAX / 10;
        while (performance.now() < untilMs);
        return undefined;
      };
      const onTurn = (): void => {
        most = Math.max(most, inTurn);
        inTurn = 0;
        if (!isDone) setImmediate(onTurn);
      };
      onTurn();
      const requests = Array.from({ length: 20 }, (_, each) => ["SET", "a", String(each)]);
      for (const client of clients) client.send(...requests);
      // All but one leave at once, and are answered before their end all the same.
      for (const client of clients.slice(1)) client.socket.end();
      const replies = await Promise.all(clients.map((client) => client.take(requests.length)));
      isDone = true;
      assert.ok(replies.flat().every((reply) => reply instanceof Status && reply.text === "OK"));
      // Of 400; a turn for those that waited and one for those that came may both fall between two looks.
      assert.ok(most <= 2 * 11, `${most} requests in one turn`);
    });

    it("reads no more while too many requests are unanswered, whoever sent them", async (t) => {
      const { connect, door } = await setUp(t, { pace: "manual" });
      const clients = await Promise.all(Array.from({ length: 30 }, connect));
      door.intercept = () => OK;
      const each = 600;
      const requests = Array.from({ length: each }, () => ["GET", "a"]);
      for (const client of clients) await warmUp(client);
      for (const client of clients) client.send(...requests);
      await until(() => door.waiting.length === UNANSWERED_MAX);
      const gone = clients.pop();
      gone?.destroy();
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(door.waiting.length, UNANSWERED_MAX);
      // Answered one by one, from the last on, so that nobody's order helps.
      let isDone = false;
      const taking = Promise.all(clients.map((client) => client.take(each))).finally(() => {
        isDone = true;
      });
      await until(() => {
        for (let step = 0; step < 1000; step += 1) door.step(door.waiting.length - 1);
        assert.ok(door.waiting.length <= UNANSWERED_MAX);
        return isDone;
      });
      await taking;
    });

    it("lets pending answers go out before it closes", async (t) => {
      const { connect, server, door, port } = await setUp(t, { pace: "manual" });
      const client = await connect();
      const idle = await connect();
      await idle.ask("PING");
      client.send(["SET", "a", "1"]);
      await until(() => door.waiting.length === 1);
      const closing = server.close(10_000);
      await assert.rejects(RespClient.connect(port));
      await idle.closed();
      door.step();
      assert.deepEqual(await client.next(), OK);
      await client.closed();
      await closing;
    });

    it("says when the port is busy", async (t) => {
      const { port, door } = await setUp(t);
      const second = new RespServer({
        host: "127.0.0.1",
        port,
        door,
        nodeWide: onlyServer(door),
        version: "0",
      });
      await assert.rejects(second.listen(), { code: "EADDRINUSE" });
    });
  });
}

describe("RespServer, stock clients", () => {
  for (const protocol of [2, 3] as const) {
    it(`serves node-redis in RESP${protocol}`, async (t) => {
      const { port } = await setUpServer(t, { shards: 4, pace: "later", requirePass: "p" });
      const client = createClient({
        RESP: protocol,
        password: "p",
        name: "app",
        socket: { host: "127.0.0.1", port, reconnectStrategy: false },
      });
      client.on("error", () => undefined);
      await client.connect();
      t.after(() => client.destroy());
      assert.equal(await client.set("a", "1", { expiration: { type: "EX", value: 100 } }), "OK");
      assert.equal(await client.get("a"), "1");
      assert.equal(await client.incr("a"), 2);
      assert.equal(await client.mSet({ x: "1", y: "2", z: "3" }), "OK");
      assert.deepEqual(await client.mGet(["x", "nope", "z"]), ["1", null, "3"]);
      assert.deepEqual(await client.multi().set("m", "1").incr("m").get("m").exec(), [
        "OK",
        2,
        "2",
      ]);
      assert.equal(await client.clientGetName(), "app");
      const keys: string[] = [];
      for await (const page of client.scanIterator({ COUNT: 2 })) keys.push(...page);
      assert.deepEqual(keys.sort(), ["a", "m", "x", "y", "z"]);
      assert.deepEqual({ ...(await client.configGet("maxclients")) }, { maxclients: "10000" });
      assert.match(await client.info("server"), /redis_version:/);
      await client.watch("m");
      await client.set("m", "9");
      await assert.rejects(client.multi().get("m").exec(), /watched keys/);
      await assert.rejects(client.sendCommand(["NOPE"]), /unknown command 'NOPE'/);
    });

    it(`serves redis-cli in RESP${protocol}`, async (t) => {
      const { port } = await setUpServer(t, { pace: "later" });
      const cli = async (...args: string[]) => {
        const { stdout } = await run("redis-cli", [`-${protocol}`, "-p", String(port), ...args]);
        return stdout.trim();
      };
      assert.equal(await cli("SET", "a", "1"), "OK");
      assert.equal(await cli("GET", "a"), "1");
      assert.equal(await cli("GET", "missing"), "");
      assert.match(await cli("INFO", "server"), /tcp_port/);
      assert.match(await cli("COMMAND", "DOCS", "get"), /summary/);
      assert.match(await cli("NOPE"), /unknown command/);
    });
  }
});
