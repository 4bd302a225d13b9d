import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "../data/command.ts";
import { OK, type Reply } from "../data/reply.ts";
import { AssertionError } from "../kit/assert.ts";
import type { LinkHandler } from "../peers/links.ts";
import { MemoryRegister } from "../register/memory.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "../register/placement.ts";
import { type Register, RegisterError, type SwapResult } from "../register/register.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { JournalItem } from "../replica/journal.ts";
import type { Message } from "../replica/messages.ts";
import type {
  CoreEvent,
  CoreSurface,
  NodeStatus,
  Operation,
  Output,
  StoredShard,
  Time,
} from "../replica/surface.ts";
import type { AnsweredOperation } from "../router/door.ts";
import { NodeClock } from "./clock.ts";
import { Driver } from "./driver.ts";

const FIRST = initialConfiguration({
  clusterId: "c1",
  nodes: ["n1", "n2"].map((id, index) => ({
    id,
    host: "127.0.0.1",
    zone: "",
    peerPort: 1 + index,
    respPort: 3 + index,
    httpPort: 5 + index,
  })),
  settings: { ...DEFAULT_SETTINGS, replicas: 2, shardCount: 1 },
});

/** A core that only writes down what it is told, and hands out what the test puts in. */
class FakeCore implements CoreSurface {
  configuration: Configuration | undefined;
  readonly calls: string[] = [];
  readonly times: Time[] = [];
  readonly operations: Operation[] = [];
  isDrained = false;
  failsAt = "";
  next: {
    messages: { to: string; message: Message }[];
    answers: { operation: Operation; reply: Reply }[];
    swaps: { id: number; configuration: Configuration }[];
    wantsConfiguration: boolean;
    events: CoreEvent[];
    journal: JournalItem[];
  } = empty();

  #told(call: string, time: Time): void {
    this.calls.push(call);
    this.times.push(time);
    if (this.failsAt !== "" && call.startsWith(this.failsAt)) throw new AssertionError("broken");
  }
  beatMs(): number {
    return 50;
  }
  connected(peer: string, incarnation: number, time: Time): void {
    this.#told(`connected ${peer} ${incarnation}`, time);
  }
  disconnected(peer: string, time: Time): void {
    this.#told(`disconnected ${peer}`, time);
  }
  receive(from: string, message: Message, time: Time): void {
    this.#told(`receive ${from} ${message.kind}`, time);
  }
  submit(operation: Operation, time: Time): void {
    this.operations.push(operation);
    this.#told("submit", time);
  }
  read(shard: number, command: Command, session: number, time: Time): Reply | undefined {
    this.#told(`read ${shard} ${command.texts().join(" ")} ${session}`, time);
    return undefined;
  }
  install(configuration: Configuration, time: Time): void {
    this.configuration = configuration;
    this.#told(`install ${configuration.version}`, time);
  }
  swapAnswered(
    id: number,
    outcome: string,
    configuration: Configuration | undefined,
    time: Time,
  ): void {
    this.#told(`swapAnswered ${id} ${outcome} ${configuration?.version ?? "-"}`, time);
  }
  clockJumped(time: Time): void {
    this.#told("clockJumped", time);
  }
  tick(time: Time): void {
    this.#told("tick", time);
  }
  drainShards(time: Time): void {
    this.#told("drainShards", time);
  }
  diskFailed(time: Time): void {
    this.#told("diskFailed", time);
  }
  transfer(shard: number, successor: string, time: Time): string | undefined {
    this.#told(`transfer ${shard} ${successor}`, time);
    return shard === 0 ? undefined : "no such shard";
  }
  split(shard: number, at: number | undefined, time: Time): string | undefined {
    this.#told(`split ${shard} ${at}`, time);
    return shard === 0 ? undefined : "no such shard";
  }
  saved(items: number, filling: ReadonlySet<number>, time: Time): void {
    this.#told(`saved ${items} without ${[...filling]}`, time);
  }
  stored(): StoredShard | undefined {
    return undefined;
  }
  resumeShards(time: Time): void {
    this.#told("resumeShards", time);
  }
  holdCopies(forMs: number, time: Time): void {
    this.#told(`holdCopies ${forMs}`, time);
  }
  recover(lost: readonly string[], time: Time): string | undefined {
    this.#told(`recover ${lost}`, time);
    return undefined;
  }
  drain(): Output {
    this.calls.push("drain");
    const output = this.next;
    this.next = empty();
    return output;
  }
  isReady(): boolean {
    return false;
  }
  status(): NodeStatus {
    return { isDrained: this.isDrained } as NodeStatus;
  }
}

function empty(): FakeCore["next"] {
  return {
    messages: [],
    answers: [],
    swaps: [],
    wantsConfiguration: false,
    events: [],
    journal: [],
  };
}

interface Setup {
  readonly driver: Driver;
  readonly core: FakeCore;
  readonly handler: LinkHandler;
  /** What the driver did, in order. */
  readonly done: string[];
  readonly fatal: unknown[];
  readonly clock: { monoMs: number; wallMs: number };
}

const drivers: Driver[] = [];

afterEach(() => {
  for (const driver of drivers.splice(0)) driver.stop();
});

function setUp(options: { register?: Register; tickMs?: number } = {}): Setup {
  const core = new FakeCore();
  const done: string[] = [];
  const fatal: unknown[] = [];
  const clock = { monoMs: 1000, wallMs: 5_000_000 };
  let handler: LinkHandler | undefined;
  const driver = new Driver({
    core,
    journal: {
      attach: () => undefined,
      append: (items) => {
        for (const { kind } of items) done.push(`journal ${kind}`);
      },
    },
    createLinks: (given) => {
      handler = given;
      return {
        send: (to, message) => done.push(`send ${to} ${message.kind}`),
        flush: () => done.push("flush"),
        setPeers: (peers) => done.push(`peers ${peers.map((peer) => peer.id).join()}`),
      };
    },
    register: options.register ?? new MemoryRegister(FIRST),
    clock: new NodeClock({ monoMs: () => clock.monoMs, wallMs: () => clock.wallMs }),
    observer: {
      events: (events) => done.push(`events ${events.map((event) => event.kind).join()}`),
      written: (ms) => done.push(`written ${ms}`),
      clockJumped: () => done.push("jumped"),
      registerFailed: (what, error) => done.push(`register ${what} ${error.message}`),
    },
    // Tests that are not about ticks shall see none.
    tickMs: options.tickMs ?? 100_000,
    fatal: (error) => fatal.push(error),
  });
  drivers.push(driver);
  assert.ok(handler !== undefined);
  return { driver, core, handler, done, fatal, clock };
}

function operationOf(done: string[], name: string, isWrite = true): AnsweredOperation {
  return {
    shard: 0,
    session: 1,
    request: {
      commands: [Command.of("set", "k", "v")],
      isTransaction: false,
      isWrite,
      watched: [],
    },
    answered: () => done.push(`answered ${name}`),
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < end, `waited in vain: ${what}`);
    await sleep(2);
  }
}

const ACK: Message = { kind: "acks", acks: [{ shard: 0, epoch: 1, seq: 1 }] };

describe("driver", () => {
  it("carries out a turn's effects in order: messages, one flush, answers, swaps, events", async () => {
    const { driver, core, done } = setUp();
    driver.start(FIRST);
    await turn();
    done.length = 0;
    const first = operationOf(done, "first");
    const second = operationOf(done, "second", false);
    driver.submit(first);
    driver.submit(second);
    core.next = {
      messages: [
        { to: "n2", message: ACK },
        { to: "n2", message: { kind: "fetch-configuration" } },
      ],
      answers: [
        { operation: second, reply: "1" },
        { operation: first, reply: OK },
      ],
      swaps: [{ id: 7, configuration: { ...FIRST, version: 2 } }],
      wantsConfiguration: false,
      events: [{ kind: "warning", text: "w" }],
      journal: [{ kind: "started", shard: 0, epoch: 1 }],
    };
    assert.deepEqual(done, [], "nothing happens before the end of the turn");
    await turn();
    assert.deepEqual(done, [
      "journal started",
      "send n2 acks",
      "send n2 fetch-configuration",
      "flush",
      "answered second",
      "written 0",
      "answered first",
      "events warning",
    ]);
    await until("the swap is answered", () => core.calls.includes("swapAnswered 7 done 2"));
  });

  it("tells the core what is saved, and what a disk's failure and its end ask for", async () => {
    const { driver, core } = setUp();
    driver.start(FIRST);
    await turn();
    core.calls.length = 0;
    driver.saved(3, new Set([1]));
    driver.diskFailed();
    driver.diskReplaced();
    assert.deepEqual(core.calls, ["saved 3 without 1", "diskFailed", "resumeShards"]);
  });

  it("drains once for all that a turn brings", async () => {
    const { driver, core, handler } = setUp();
    driver.start(FIRST);
    await turn();
    core.calls.length = 0;
    handler.connected("n2", 5);
    for (let i = 0; i < 10; i++) handler.received("n2", ACK);
    handler.disconnected("n2");
    await turn();
    assert.deepEqual(core.calls, [
      "connected n2 5",
      ...Array<string>(10).fill("receive n2 acks"),
      "disconnected n2",
      "drain",
    ]);
  });

  it("takes operations that answers bring, in the next turn", async () => {
    const { driver, core, done } = setUp();
    driver.start(FIRST);
    await turn();
    const follow = operationOf(done, "follow");
    const first: AnsweredOperation = {
      ...operationOf(done, "first"),
      answered: () => driver.submit(follow),
    };
    driver.submit(first);
    core.next.answers.push({ operation: first, reply: OK });
    await turn();
    assert.deepEqual(core.operations, [first, follow]);
    core.next.answers.push({ operation: follow, reply: OK });
    await turn();
    assert.ok(done.includes("answered follow"));
  });

  it("ticks after all that arrived while it was stalled", async () => {
    const { driver, core, handler } = setUp({ tickMs: 5 });
    const { port1, port2 } = new MessageChannel();
    try {
      driver.start(FIRST);
      await until("it ticks", () => core.calls.includes("tick"));
      // Both are due after the stall: the tick's timer, and a message that lies in a queue of the loop.
      port2.on("message", () => handler.received("n2", ACK));
      // From a timer: no tick can be on its way that was due before.
      await new Promise<void>((resolve) => {
        setTimeout(() => {
          core.calls.length = 0;
          port1.postMessage("x");
          const end = performance.now() + 50;
          while (performance.now() < end);
          resolve();
        }, 1);
      });
      await until("it ticks again", () => core.calls.includes("tick"));
      const received = core.calls.indexOf("receive n2 acks");
      assert.ok(received >= 0 && received < core.calls.indexOf("tick"), core.calls.join());
    } finally {
      port1.close();
    }
  });

  it("tells the core of a clock's jump before anything else", async () => {
    const { driver, core, done, clock, handler } = setUp();
    driver.start(FIRST);
    clock.monoMs += 10;
    clock.wallMs += 100;
    handler.received("n2", ACK);
    assert.ok(!core.calls.includes("clockJumped"), "90 ms are no jump");
    clock.monoMs += 10;
    clock.wallMs += 200;
    driver.submit(operationOf(done, "late"));
    assert.deepEqual(core.calls.slice(-2), ["clockJumped", "submit"]);
    assert.deepEqual(core.times.at(-1), { monoMs: 1020, wallMs: 5_000_300 });
    // Back again: no lease is lost by that.
    clock.wallMs -= 10_000;
    handler.received("n2", ACK);
    assert.equal(core.calls.filter((call) => call === "clockJumped").length, 1);
    // A slow drift never adds up to a jump.
    for (let i = 0; i < 100; i++) {
      clock.monoMs += 100;
      clock.wallMs += 150;
      handler.received("n2", ACK);
    }
    assert.equal(core.calls.filter((call) => call === "clockJumped").length, 1);
  });

  it("reads the register once at a time, and installs what it and the watch give", async () => {
    const register = new MemoryRegister(FIRST);
    let reads = 0;
    const read = register.read.bind(register);
    register.read = () => {
      reads++;
      return read();
    };
    const { driver, core, handler, done } = setUp({ register });
    driver.start(FIRST);
    core.next.wantsConfiguration = true;
    await turn();
    await until("it is installed", () => core.calls.filter((c) => c === "install 1").length === 2);
    assert.equal(reads, 1);
    await register.swap({ ...FIRST, version: 2 });
    await until("the watch brings the next", () => core.calls.includes("install 2"));
    handler.received("n2", ACK);
    await turn();
    assert.deepEqual(
      done.filter((item) => item.startsWith("peers")),
      ["peers n1,n2", "peers n1,n2"],
    );
  });

  it("reports every outcome of a swap, and a failure as unknown", async () => {
    const current = { ...FIRST, version: 9 };
    const results: (SwapResult | Error)[] = [
      { outcome: "conflict", current },
      { outcome: "unknown", cause: new RegisterError("late", { code: "unreachable" }) },
      new RegisterError("no", { code: "refused" }),
      new Error("odd"),
    ];
    const register = new MemoryRegister(FIRST);
    register.swap = async () => {
      const result = results.shift();
      if (result === undefined || result instanceof Error) throw result ?? new Error("too many");
      return result;
    };
    const { driver, core, done } = setUp({ register });
    driver.start(FIRST);
    core.next.swaps = [1, 2, 3, 4].map((id) => ({ id, configuration: { ...FIRST, version: 2 } }));
    await turn();
    await until("all are answered", () => core.calls.some((call) => call.includes("Answered 4")));
    assert.deepEqual(
      core.calls.filter((call) => call.startsWith("swapAnswered")),
      [
        "swapAnswered 1 conflict 9",
        "swapAnswered 2 unknown -",
        "swapAnswered 3 conflict -",
        "swapAnswered 4 unknown -",
      ],
    );
    assert.deepEqual(
      done.filter((item) => item.startsWith("register")),
      ["register swap late", "register swap no", "register swap odd"],
    );
  });

  for (const call of ["submit", "receive", "tick", "install 2", "swapAnswered"]) {
    it(`ends at once when the core throws in ${call}`, async () => {
      const register = new MemoryRegister(FIRST);
      const { driver, core, handler, done, fatal } = setUp({ register, tickMs: 5 });
      driver.start(FIRST);
      await turn();
      core.failsAt = call;
      core.next.swaps = [{ id: 1, configuration: { ...FIRST, version: 2 } }];
      handler.disconnected("n2");
      await turn();
      driver.submit(operationOf(done, "x"));
      handler.received("n2", ACK);
      await until("it is fatal", () => fatal.length > 0);
      assert.ok(fatal[0] instanceof AssertionError);
      const calls = core.calls.length;
      driver.submit(operationOf(done, "y"));
      handler.received("n2", ACK);
      await sleep(20);
      assert.equal(core.calls.length, calls, "the core is left alone");
      assert.equal(fatal.length, 1);
    });
  }

  it("waits until the shards are handed over, but not for ever", async () => {
    const { driver, core } = setUp();
    driver.start(FIRST);
    assert.equal(await driver.drainShards(30), false);
    core.isDrained = true;
    assert.equal(await driver.drainShards(10_000), true);
    assert.ok(core.calls.includes("drainShards"));
  });

  it("passes a transfer on, with the core's refusal", () => {
    const { driver, core } = setUp();
    driver.start(FIRST);
    assert.equal(driver.transfer(0, "n2"), undefined);
    assert.equal(driver.transfer(1, "n2"), "no such shard");
    driver.stop();
    assert.notEqual(driver.transfer(0, "n2"), undefined);
    assert.ok(core.calls.includes("transfer 0 n2"));
  });
});
