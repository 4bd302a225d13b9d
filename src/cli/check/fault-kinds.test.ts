import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseFaults, FAULT_KINDS, PROCESS_FAULT_KINDS } from "./fault-kinds.ts";

test("net stands for all faults of networks and machines, of which the latter may be left out", () => {
  const choice = chooseFaults(["net"]);
  assert.ok(choice !== undefined);
  assert.deepEqual([...PROCESS_FAULT_KINDS, ...choice.kinds], FAULT_KINDS);
  assert.ok(choice.optional.includes("slow-disk"));
  assert.ok(!choice.optional.includes("cut"));
});

test("what is asked for by its own name is not left out", () => {
  const choice = chooseFaults(["slow-disk", "net", "kill"]);
  assert.ok(choice !== undefined);
  assert.ok(choice.kinds.includes("kill"));
  assert.ok(choice.optional.includes("stuck-disk"));
  assert.ok(!choice.optional.includes("slow-disk"));
  assert.deepEqual(chooseFaults(["slow-disk"]), { kinds: ["slow-disk"], optional: [] });
});

test("a word that is no fault's is refused", () => {
  assert.equal(chooseFaults(["kill", "slowdisk"]), undefined);
  assert.equal(chooseFaults([""]), undefined);
});
