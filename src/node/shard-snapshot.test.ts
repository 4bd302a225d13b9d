import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ShardEngine } from "../commands/shard-engine.ts";
import { Command } from "../data/command.ts";
import { Log } from "../replica/log.ts";
import { ShardSnapshot } from "./shard-snapshot.ts";

const RANGE = { firstSlot: 0, lastSlot: 16_383 };
const STEP_BYTES = 200;

/** A shard as the core holds it: a state, and the log of what was done to it. */
class TestShard {
  readonly machine = new ShardEngine(RANGE);
  readonly log = new Log();

  run(...args: string[]): void {
    const seq = this.log.lastSeq + 1;
    const { effects } = this.machine.run(
      { commands: [Command.from(args)], isTransaction: false, isWrite: true, watched: [] },
      seq,
      1_000,
    );
    this.log.append({ seq, epoch: 1, stamp: undefined, reply: null, effects });
  }

  /** What the state holds now. */
  now(): string[] {
    return this.machine
      .copyOut(0, Number.POSITIVE_INFINITY)
      .records.map((each) => JSON.stringify(each))
      .sort();
  }
}

function taken(snapshot: ShardSnapshot): string[] {
  return [...snapshot.take()].map((each) => JSON.stringify(each)).sort();
}

const key = fc.integer({ min: 0, max: 40 }).map((number) => `key:${number}`);
const command = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("SET"), key, fc.string({ maxLength: 5 })) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("DEL"), key) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("APPEND"), key, fc.constant("x")) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constant("SETRANGE"), key, fc.constant("3"), fc.constant("y")),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("PEXPIREAT"), key, fc.constant("9000")) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("COPY"), key, key, fc.constant("REPLACE")) },
  { weight: 1, arbitrary: fc.constant(["FLUSHALL"]) },
);

test("a snapshot is the state of its last step, whatever was written between the steps", () => {
  fc.assert(
    fc.property(
      fc.array(command, { minLength: 30, maxLength: 100 }),
      fc.array(fc.array(command, { maxLength: 8 }), { maxLength: 60 }),
      (before, between) => {
        const shard = new TestShard();
        for (const args of before) shard.run(...args);
        const snapshot = new ShardSnapshot(shard, RANGE);
        let turn = 0;
        while (!snapshot.step(STEP_BYTES))
          for (const args of between[turn++] ?? []) shard.run(...args);
        const expected = shard.now();
        assert.equal(snapshot.seq, shard.log.lastSeq);
        // What comes later is not in it.
        for (const args of before) shard.run(...args);
        assert.deepEqual(taken(snapshot), expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("it begins anew when the log was cut before it was followed, and at last takes all at once", () => {
  const shard = new TestShard();
  for (let each = 0; each < 200; each++) shard.run("SET", `key:${each}`, "first");
  const snapshot = new ShardSnapshot(shard, RANGE);
  let steps = 0;
  while (!snapshot.step(STEP_BYTES)) {
    steps += 1;
    assert.ok(steps < 20, "it ends although nobody lets it follow");
    shard.run("SET", `key:${steps}`, `at ${steps}`);
    shard.log.cut(shard.log.lastSeq, 0);
  }
  assert.ok(steps > 1, "it took several beginnings");
  assert.deepEqual(taken(snapshot), shard.now());
});

test("an empty shard has an empty snapshot", () => {
  const snapshot = new ShardSnapshot(new TestShard(), RANGE);
  assert.equal(snapshot.step(STEP_BYTES), true);
  assert.deepEqual(taken(snapshot), []);
});
