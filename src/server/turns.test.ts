import assert from "node:assert/strict";
import { test } from "node:test";
import { Turns } from "./turns.ts";

/** A loop and a clock by hand. */
function byHand(msMax: number) {
  let nowMs = 0;
  let due: (() => void)[] = [];
  const turns = new Turns(
    msMax,
    () => nowMs,
    (run) => due.push(run),
  );
  return {
    turns,
    spend: (ms: number) => {
      nowMs += ms;
    },
    turn: () => {
      const runs = due;
      due = [];
      for (const run of runs) run();
      return runs.length;
    },
  };
}

test("a turn is over when its time is used up, and the next has its own", () => {
  const { turns, spend, turn } = byHand(10);
  assert.equal(turns.isOver, false);
  spend(9);
  assert.equal(turns.isOver, false);
  spend(1);
  assert.equal(turns.isOver, true);
  turn();
  assert.equal(turns.isOver, false);
});

test("who waits goes on in later turns, in order, a turn's worth at a time", () => {
  const { turns, spend, turn } = byHand(10);
  assert.equal(turns.isOver, false);
  spend(10);
  assert.equal(turns.isOver, true);
  const done: string[] = [];
  for (const name of ["a", "b", "c", "left"]) {
    const waiter = {
      goOn: () => {
        done.push(name);
        spend(6);
      },
    };
    turns.wait(waiter);
    turns.wait(waiter);
    if (name === "left") turns.leave(waiter);
  }
  turn();
  assert.deepEqual(done, ["a", "b"]);
  turn();
  assert.deepEqual(done, ["a", "b", "c"]);
  turn();
  assert.equal(turn(), 0, "an idle server asks for no turns");
});

test("one that is never done does not keep the others from their turns", () => {
  const { turns, spend, turn } = byHand(10);
  assert.equal(turns.isOver, false);
  const done: string[] = [];
  const greedy = {
    goOn: () => {
      done.push("greedy");
      spend(100);
      turns.wait(greedy);
    },
  };
  turns.wait(greedy);
  turns.wait({ goOn: () => done.push("other") });
  turn();
  turn();
  assert.deepEqual(done, ["greedy", "other", "greedy"]);
});
