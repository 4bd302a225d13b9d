import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { InvalidArgumentError } from "commander";
import { parseAddress, parseCount, parsePort, threadsOf, threadsOption } from "./options.ts";

test("counts and ports are whole numbers in their range", () => {
  assert.equal(parseCount(1, 16)("16"), 16);
  for (const text of ["0", "17", "-1", "1.5", "1e1", "", " 2", "x"]) {
    assert.throws(() => parseCount(1, 16)(text), InvalidArgumentError, text);
  }
  assert.equal(parsePort("65535"), 65_535);
  assert.throws(() => parsePort("65536"), InvalidArgumentError);
});

test("addresses name a host and a port", () => {
  assert.deepEqual(parseAddress("localhost:8001"), { host: "localhost", port: 8001 });
  assert.deepEqual(parseAddress("[::1]:8001"), { host: "::1", port: 8001 });
  for (const text of ["localhost", ":8001", "a:b", "a:0", "::1:8001"]) {
    assert.throws(() => parseAddress(text), InvalidArgumentError, text);
  }
});

test("threads leave one core to others, are shared by the nodes of a machine, and are never none", () => {
  const cores = availableParallelism();
  assert.ok(threadsOf(1) === 1 || threadsOf(1) <= cores - 1);
  assert.ok(threadsOf(2) === 1 || 2 * threadsOf(2) <= cores - 1);
  assert.equal(threadsOf(1_000), 1);
  const parse = threadsOption("one").parseArg;
  assert.equal(parse?.("3", undefined), 3);
  for (const text of ["0", "65", "two"]) {
    assert.throws(() => parse?.(text, undefined), InvalidArgumentError, text);
  }
});
