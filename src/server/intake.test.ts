import assert from "node:assert/strict";
import { test } from "node:test";
import { Intake } from "./intake.ts";

/** A loop and a clock by hand. */
function byHand(turnMsMax: number, unansweredMax = 1000) {
  let nowMs = 0;
  let due: (() => void)[] = [];
  const intake = new Intake(
    { turnMsMax, requestsPerLook: 2, unansweredMax, unansweredResume: unansweredMax / 2 },
    () => nowMs,
    (run) => due.push(run),
  );
  return {
    intake,
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
  const { intake, spend, turn } = byHand(10);
  assert.equal(intake.isOpen, true);
  intake.taken(false);
  spend(9);
  assert.equal(intake.isOpen, true);
  intake.taken(false);
  spend(1);
  assert.equal(intake.isOpen, false);
  turn();
  assert.equal(intake.isOpen, true);
});

test("the clock is looked at once for so many quick requests, and after each other one", () => {
  const { intake, spend } = byHand(10);
  assert.equal(intake.isOpen, true);
  spend(10);
  intake.taken(true);
  assert.equal(intake.isOpen, true);
  intake.taken(true);
  assert.equal(intake.isOpen, false);
  assert.equal(intake.look(), 10);
});

test("who waits goes on in later turns, in order, a turn's worth at a time", () => {
  const { intake, spend, turn } = byHand(10);
  assert.equal(intake.isOpen, true);
  spend(10);
  intake.taken(false);
  assert.equal(intake.isOpen, false);
  const done: string[] = [];
  for (const name of ["a", "b", "c", "left"]) {
    const waiter = {
      goOn: () => {
        done.push(name);
        intake.taken(false);
        spend(6);
      },
    };
    intake.wait(waiter);
    intake.wait(waiter);
    if (name === "left") intake.leave(waiter);
  }
  turn();
  assert.deepEqual(done, ["a", "b"]);
  turn();
  assert.deepEqual(done, ["a", "b", "c"]);
  turn();
  assert.equal(turn(), 0, "an idle server asks for no turns");
});

test("one that is never done does not keep the others from their turns", () => {
  const { intake, spend, turn } = byHand(10);
  assert.equal(intake.isOpen, true);
  const done: string[] = [];
  const greedy = {
    goOn: () => {
      done.push("greedy");
      spend(100);
      intake.wait(greedy);
    },
  };
  intake.wait(greedy);
  intake.wait({ goOn: () => done.push("other") });
  turn();
  turn();
  assert.deepEqual(done, ["greedy", "other", "greedy"]);
});

test("while too many are unanswered none is taken, and one waiter at a time goes on when there is room", () => {
  const { intake, turn } = byHand(10, 4);
  for (let each = 0; each < 4; each++) {
    assert.equal(intake.isOpen, true);
    intake.taken(true);
  }
  assert.equal(intake.isOpen, false);
  const done: string[] = [];
  for (const name of ["a", "b", "c"]) {
    intake.wait({
      goOn: () => {
        done.push(name);
        intake.taken(true);
      },
    });
  }
  while (turn() > 0);
  assert.deepEqual(done, [], "nobody spins while there is no room");
  intake.answered();
  assert.equal(turn(), 0, "there has to be more room than for one");
  intake.answered();
  while (turn() > 0);
  assert.deepEqual(done, ["a", "b"], "until it is full again");
  for (let each = 0; each < 4; each++) intake.answered();
  while (turn() > 0);
  assert.deepEqual(done, ["a", "b", "c"]);
});

test("while it is held none is taken, and who waits goes on when it is released", () => {
  const { intake, turn } = byHand(10);
  assert.equal(intake.isOpen, true);
  intake.hold();
  assert.equal(intake.isOpen, false);
  const done: string[] = [];
  intake.wait({ goOn: () => done.push("a") });
  while (turn() > 0);
  intake.taken(true);
  intake.answered();
  while (turn() > 0);
  assert.deepEqual(done, [], "answers alone do not open it");
  intake.release();
  assert.equal(intake.isOpen, true);
  while (turn() > 0);
  assert.deepEqual(done, ["a"]);
});
