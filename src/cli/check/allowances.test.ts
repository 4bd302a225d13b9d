import assert from "node:assert/strict";
import { test } from "node:test";
import { errorKindOf, explains } from "./allowances.ts";
import { FAULT_KINDS, isOfMachine, isOfNetwork } from "./fault-kinds.ts";

const TRYAGAIN =
  "TRYAGAIN The shard could not serve in time; the command was not executed, send it again";
const UNCERTAIN = "UNCERTAIN No outcome in time; the command may or may not have been executed";

test("errors are told apart by their texts, and what nobody foresaw is nothing's fault", () => {
  assert.equal(errorKindOf(TRYAGAIN), "refused");
  assert.equal(errorKindOf(UNCERTAIN), "uncertain");
  assert.equal(errorKindOf("no answer within 8000 ms"), "silent");
  assert.equal(errorKindOf("Socket closed unexpectedly"), "lost");
  assert.equal(errorKindOf("read ECONNRESET"), "lost");
  for (const why of ["ERR internal", "WRONGTYPE Operation", "", "TRYAGAINST"]) {
    assert.equal(errorKindOf(why), "other");
  }
});

test("of the faults of networks and machines none explains an error elsewhere, or one of an unknown kind", () => {
  for (const kind of FAULT_KINDS.filter((each) => isOfNetwork(each) || isOfMachine(each))) {
    for (const why of [TRYAGAIN, UNCERTAIN, "no answer within 8000 ms", "read ECONNRESET"]) {
      assert.equal(explains(kind, false, why), false, `${kind}: ${why}`);
    }
    assert.equal(explains(kind, true, "ERR internal"), false);
  }
});

test("a node that is only slow, or has lost the witness alone, explains no error at all", () => {
  for (const kind of [
    ...(["cut-witness", "loss", "delay", "slow-link"] as const),
    ...(["slow-node", "slow-disk"] as const),
  ]) {
    assert.equal(explains(kind, true, TRYAGAIN), false);
    assert.equal(explains(kind, true, UNCERTAIN), false);
  }
});

test("a node that is cut off refuses in its own time; one without power says nothing", () => {
  assert.equal(explains("cut", true, UNCERTAIN), true);
  assert.equal(explains("cut", true, "no answer within 8000 ms"), false);
  assert.equal(explains("power-off", true, "no answer within 8000 ms"), true);
  assert.equal(explains("power-off", true, UNCERTAIN), false);
});
