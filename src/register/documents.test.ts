import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Configuration } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";

const VALID: Configuration = {
  format: 1,
  clusterId: "c1",
  version: 3,
  settings: {
    replication: "sync",
    minInSync: 1,
    replicas: 2,
    shardCount: 2,
    heartbeatMs: 50,
    leaseMs: 300,
    driftBound: 0.05,
    durability: "none",
    flushMs: 1_000,
    heartbeatChannel: "tcp",
  },
  nodes: ["n1", "n2"].map((id, index) => ({
    id,
    host: "127.0.0.1",
    zone: "",
    peerPort: 1 + index,
    respPort: 3 + index,
    httpPort: 5 + index,
    incarnation: 2 ** 48 - 1,
  })),
  shards: [0, 1].map((id) => ({
    id,
    firstSlot: id * 8192,
    lastSlot: id * 8192 + 8191,
    replicas: ["n1", "n2"],
    epoch: 4,
    primary: "n1",
    inSync: [{ node: "n2", incarnation: 7, since: 2 }],
  })),
};

/** The document with one field set to something else. */
function altered(path: string, value: unknown): unknown {
  const copy = structuredClone(VALID) as unknown;
  const names = path.split(".");
  const last = names.pop() ?? "";
  const target = names.reduce((at, name) => (at as Record<string, unknown>)[name], copy) as Record<
    string,
    unknown
  >;
  target[last] = value;
  return copy;
}

describe("configurations from outside", () => {
  it("come out as they went in, without unknown fields", () => {
    assert.deepEqual(parseConfiguration(JSON.parse(JSON.stringify(VALID))), VALID);
    assert.deepEqual(parseConfiguration({ ...VALID, extra: 1 }), VALID);
  });

  it("may have shards that were divided from others", () => {
    const [first, second] = VALID.shards;
    assert.ok(first !== undefined && second !== undefined);
    const shards = [
      { ...first, lastSlot: 99 },
      second,
      { ...first, id: 2, firstSlot: 5_000 },
      { ...first, id: 3, firstSlot: 100, lastSlot: 4_999 },
    ];
    assert.deepEqual(parseConfiguration({ ...VALID, shards }), { ...VALID, shards });
    assert.throws(
      () => parseConfiguration({ ...VALID, shards: shards.slice(0, 3) }),
      /leaves a gap/,
    );
  });

  it("are refused by name when their format is newer", () => {
    assert.throws(() => parseConfiguration({ format: 2 }), { code: "newer-format" });
  });

  const wrong: readonly [path: string, value: unknown][] = [
    ["format", 0],
    ["clusterId", ""],
    ["clusterId", "a b"],
    ["version", 0],
    ["version", "3"],
    ["settings", null],
    ["settings.replication", "both"],
    ["settings.driftBound", 1],
    ["settings.heartbeatMs", 0],
    ["settings.shardCount", 3],
    ["nodes", []],
    ["nodes.0.id", "n2"],
    ["nodes.0.id", "n/1"],
    ["nodes.0.id", "n".repeat(33)],
    ["nodes.0.host", ""],
    ["nodes.0.peerPort", 65_536],
    ["nodes.0.incarnation", 2 ** 48],
    ["shards.0.id", 1],
    ["shards.0.lastSlot", 8190],
    ["shards.0.lastSlot", 8192],
    ["shards.1.lastSlot", 16_384],
    ["shards.0.replicas", ["n1", "n1"]],
    ["shards.0.replicas", ["n9"]],
    ["shards.0.replicas", []],
    ["shards.0.primary", "n9"],
    ["shards.0.epoch", -1],
    ["shards.0.inSync", [{ node: "n1", incarnation: 1 }]],
    ["shards.0.inSync", [1]],
  ];
  for (const [path, value] of wrong) {
    it(`are refused with ${path} ${JSON.stringify(value)}`, () => {
      assert.throws(() => parseConfiguration(altered(path, value)), {
        name: "ConfigurationError",
        code: "malformed",
      });
    });
  }

  it("never make the reader throw anything else", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.jsonValue(),
          fc.record({ format: fc.constant(1), nodes: fc.jsonValue(), shards: fc.jsonValue() }),
        ),
        (value) => {
          assert.throws(() => parseConfiguration(value), ConfigurationError);
        },
      ),
      { numRuns: 500 },
    );
  });
});
