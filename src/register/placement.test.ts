import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SLOT_COUNT } from "../replica/configuration.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "./placement.ts";

function configurationOf(nodes: number, shardCount: number, replicas: number) {
  return initialConfiguration({
    clusterId: "c1",
    nodes: Array.from({ length: nodes }, (_, index) => ({
      id: `n${index + 1}`,
      host: "127.0.0.1",
      zone: "",
      peerPort: 1000 + index,
      respPort: 2000 + index,
      httpPort: 3000 + index,
    })),
    settings: { ...DEFAULT_SETTINGS, shardCount, replicas },
  });
}

function spread(counts: ReadonlyMap<string, number>): number {
  return Math.max(...counts.values()) - Math.min(...counts.values());
}

describe("initial placement", () => {
  it("spreads primaries and copies evenly, whatever the numbers", () => {
    for (let nodes = 1; nodes <= 9; nodes++) {
      for (const shardCount of [1, 2, 3, 5, 8, 15, 16, 20, 32, 35, 40, 64]) {
        for (let replicas = 1; replicas <= nodes; replicas++) {
          const configuration = configurationOf(nodes, shardCount, replicas);
          const primaries = new Map(configuration.nodes.map((node) => [node.id, 0]));
          const copies = new Map(primaries);
          for (const shard of configuration.shards) {
            assert.equal(shard.replicas[0], shard.primary);
            assert.equal(new Set(shard.replicas).size, replicas);
            primaries.set(shard.primary, (primaries.get(shard.primary) ?? 0) + 1);
            for (const id of shard.replicas) copies.set(id, (copies.get(id) ?? 0) + 1);
          }
          const what = `${nodes} nodes, ${shardCount} shards, ${replicas} replicas`;
          assert.ok(spread(primaries) <= 1, what);
          assert.ok(spread(copies) <= 1, `${what}: ${[...copies.values()]}`);
        }
      }
    }
  });

  it("covers every slot once, in shards of even size", () => {
    for (const shardCount of [1, 2, 3, 16, 1000, SLOT_COUNT]) {
      const { shards } = configurationOf(1, shardCount, 1);
      let next = 0;
      const sizes: number[] = [];
      for (const shard of shards) {
        assert.equal(shard.firstSlot, next);
        sizes.push(shard.lastSlot - shard.firstSlot + 1);
        next = shard.lastSlot + 1;
      }
      assert.equal(next, SLOT_COUNT);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    }
  });

  it("lets a node's shards fall to all the others", () => {
    const { shards } = configurationOf(4, 24, 2);
    const heirs = new Set(
      shards.flatMap((shard) => (shard.primary === "n1" ? shard.replicas.slice(1) : [])),
    );
    assert.deepEqual(heirs, new Set(["n2", "n3", "n4"]));
  });

  it("is a document that nobody has started yet", () => {
    const configuration = configurationOf(3, 16, 3);
    assert.equal(configuration.version, 1);
    assert.ok(configuration.nodes.every((node) => node.incarnation === 0));
    assert.ok(
      configuration.shards.every((shard) => shard.epoch === 0 && shard.inSync.length === 0),
    );
  });

  it("says what is wrong", () => {
    assert.throws(() => configurationOf(2, 16, 3), RangeError);
    assert.throws(() => configurationOf(3, SLOT_COUNT + 1, 3), { name: "ConfigurationError" });
    assert.throws(() => configurationOf(3, 0, 3), { name: "ConfigurationError" });
  });
});
