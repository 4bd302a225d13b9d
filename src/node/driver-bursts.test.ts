import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "../data/command.ts";
import { OK } from "../data/reply.ts";
import { MemoryRegister } from "../register/memory.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "../register/placement.ts";
import type { CoreSurface, Operation, Output, Time } from "../replica/surface.ts";
import type { AnsweredOperation } from "../router/door.ts";
import { NodeClock } from "./clock.ts";
import { Driver } from "./driver.ts";

const FIRST = initialConfiguration({
  clusterId: "c1",
  nodes: [{ id: "n1", host: "127.0.0.1", zone: "", peerPort: 1, respPort: 2, httpPort: 3 }],
  settings: { ...DEFAULT_SETTINGS, replicas: 1, shardCount: 1 },
});

test("the clock is read once for a burst of requests, for each other one, and once for all answers", async (t) => {
  let nowMs = 1_000;
  const submittedAtMs: number[] = [];
  let answers: Output["answers"][number][] = [];
  const readAtMs: number[] = [];
  const core: Pick<CoreSurface, "install" | "submit" | "read" | "drain"> = {
    install: () => undefined,
    read: (_shard, _command, _session, time) => {
      readAtMs.push(time.monoMs);
      return "value";
    },
    submit: (operation: Operation, time: Time) => {
      submittedAtMs.push(time.monoMs);
      answers.push({ operation, reply: OK });
    },
    drain: () => {
      const drained = answers;
      answers = [];
      return {
        messages: [],
        answers: drained,
        swaps: [],
        wantsConfiguration: false,
        events: [],
        journal: [],
      };
    },
  };
  const writtenMs: number[] = [];
  const driver = new Driver({
    core: core as CoreSurface,
    createLinks: () => ({ send: () => {}, flush: () => {}, setPeers: () => {} }),
    register: new MemoryRegister(FIRST),
    clock: new NodeClock({ monoMs: () => nowMs, wallMs: () => nowMs }),
    observer: {
      events: () => {},
      written: (ms) => writtenMs.push(ms),
      clockJumped: () => {},
      registerFailed: () => {},
    },
    tickMs: 100_000,
    fatal: assert.ifError,
  });
  t.after(() => driver.stop());
  driver.start(FIRST);
  let answered = 0;
  const submitLater = (): void => {
    nowMs += 1;
    const operation: AnsweredOperation = {
      shard: 0,
      session: 1,
      request: { commands: [], isTransaction: false, isWrite: true, watched: [] },
      answered: () => {
        answered += 1;
      },
    };
    driver.submit(operation);
  };
  const readLater = (): void => {
    nowMs += 1;
    assert.equal(driver.read(0, Command.of("get", "k"), 1), "value");
  };
  submitLater();
  driver.beginBurst();
  submitLater();
  readLater();
  submitLater();
  driver.endBurst();
  submitLater();
  assert.deepEqual(submittedAtMs, [1_001, 1_001, 1_001, 1_005]);
  readLater();
  assert.deepEqual(readAtMs, [1_001, 1_006]);
  nowMs += 6;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(answered, 4);
  assert.deepEqual(writtenMs, [11, 11, 11, 7]);
  driver.stop();
  assert.equal(driver.read(0, Command.of("get", "k"), 1), undefined);
});
