import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Configuration, NodeId, NodeRecord } from "../replica/configuration.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "./placement.ts";
import { type Move, planRebalance, spreadOf } from "./rebalance.ts";

type Place = Pick<NodeRecord, "id" | "host" | "zone">;

/** Nodes of hosts and zones of their own, or of those given. */
function places(count: number, of: (index: number) => Partial<Place> = () => ({})): Place[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `n${index + 1}`,
    host: `10.0.0.${index + 1}`,
    zone: "",
    ...of(index),
  }));
}

function clusterOf(nodes: readonly Place[], shardCount: number, replicas: number): Configuration {
  return initialConfiguration({
    clusterId: "c",
    nodes: nodes.map((node) => ({ ...node, peerPort: 3, respPort: 1, httpPort: 2 })),
    settings: { ...DEFAULT_SETTINGS, shardCount, replicas },
  });
}

function withNodes(configuration: Configuration, nodes: readonly Place[]): Configuration {
  const added = nodes.map((node) => ({
    ...node,
    peerPort: 3,
    respPort: 1,
    httpPort: 2,
    incarnation: 0,
  }));
  return { ...configuration, nodes: [...configuration.nodes, ...added] };
}

function applied(configuration: Configuration, moves: readonly Move[]): Configuration {
  const targets = new Map(moves.map((move) => [move.shard, move.to]));
  const shards = configuration.shards.map((shard) => ({
    ...shard,
    replicas: targets.get(shard.id) ?? shard.replicas,
  }));
  return { ...configuration, shards };
}

function copied(moves: readonly Move[]): number {
  return moves.reduce((sum, move) => sum + move.copiedTo.length, 0);
}

/** By how much two of these nodes differ. */
function range(counts: ReadonlyMap<NodeId, number>, nodes: readonly NodeId[]): number {
  const values = nodes.map((node) => counts.get(node) ?? 0);
  return Math.max(...values) - Math.min(...values);
}

/** Pairs of copies of one shard that are at the same place. */
function collisions(configuration: Configuration, key: (node: NodeRecord) => string): number {
  const keys = new Map(configuration.nodes.map((node) => [node.id, key(node)]));
  return configuration.shards.reduce((sum, { replicas }) => {
    const counts = new Map<string, number>();
    for (const node of replicas) {
      const at = keys.get(node) ?? "";
      counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    return (
      sum + [...counts.values()].reduce((pairs, count) => pairs + (count * (count - 1)) / 2, 0)
    );
  }, 0);
}

const hostOf = (node: NodeRecord): string => node.host;
const zoneOf = (node: NodeRecord): string => node.zone;

/**
 * Any cluster at all: replicas drawn by chance, so neither even nor kept apart, with fewer or more copies than wanted; some
 * of the nodes are to go.
 */
const anyCluster = fc
  .record({
    nodes: fc.integer({ min: 1, max: 7 }),
    shards: fc.integer({ min: 1, max: 24 }),
    replicas: fc.integer({ min: 1, max: 4 }),
    leaving: fc.integer({ min: 0, max: 3 }),
    seeds: fc.array(fc.nat(), { minLength: 24, maxLength: 24 }),
  })
  .map(({ nodes, shards, replicas, leaving, seeds }) => {
    const all = places(nodes);
    const configuration = clusterOf(all, shards, 1);
    const drawn = configuration.shards.map((shard, index) => {
      const seed = seeds[index] ?? 0;
      const held = all.map(({ id }) => id).filter((_, at) => ((seed >> at) & 1) === 1);
      const turn = seed % Math.max(1, held.length);
      const turned = [...held.slice(turn), ...held.slice(0, turn)].slice(0, replicas + 1);
      return { ...shard, replicas: turned.length === 0 ? ["n1"] : turned };
    });
    const without = new Set(all.slice(0, Math.min(leaving, nodes - 1)).map(({ id }) => id));
    const settings = { ...configuration.settings, replicas };
    return { configuration: { ...configuration, settings, shards: drawn }, without };
  });

describe("a plan for a rebalance", () => {
  it("ends with even copies and even primaries, on the nodes that stay", () => {
    fc.assert(
      fc.property(anyCluster, ({ configuration, without }) => {
        const after = applied(configuration, planRebalance(configuration, { without }));
        const staying = after.nodes.map(({ id }) => id).filter((id) => !without.has(id));
        const wanted = Math.min(after.settings.replicas, staying.length);
        for (const { replicas } of after.shards) {
          assert.equal(replicas.length, wanted);
          assert.equal(new Set(replicas).size, wanted);
          assert.ok(replicas.every((node) => staying.includes(node)));
        }
        const { copies, primaries } = spreadOf(after);
        assert.ok(range(copies, staying) <= 1);
        assert.ok(range(primaries, staying) <= 1);
      }),
    );
  });

  it("changes nothing where all is well, also after itself and after every part of itself", () => {
    fc.assert(
      fc.property(anyCluster, fc.nat(), ({ configuration, without }, seed) => {
        const moves = planRebalance(configuration, { without });
        assert.deepEqual(planRebalance(applied(configuration, moves), { without }), []);
        const part = moves.filter((_, index) => ((seed >> index) & 1) === 1);
        const rest = planRebalance(applied(configuration, part), { without });
        assert.equal(copied(rest), copied(moves) - copied(part));
      }),
    );
  });

  it("copies no more than any other plan would have to", () => {
    // Every assignment of small clusters is tried.
    const small = fc.record({
      nodes: fc.integer({ min: 2, max: 4 }),
      shards: fc.integer({ min: 1, max: 4 }),
      replicas: fc.integer({ min: 1, max: 2 }),
      held: fc.array(fc.nat(), { minLength: 4, maxLength: 4 }),
    });
    fc.assert(
      fc.property(small, ({ nodes, shards, replicas, held }) => {
        const configuration = clusterOf(places(nodes), shards, replicas);
        const ids = configuration.nodes.map(({ id }) => id);
        const subsets = subsetsOf(ids, replicas);
        const drawn = configuration.shards.map((shard, index) => ({
          ...shard,
          replicas: subsets[(held[index] ?? 0) % subsets.length] ?? [],
        }));
        const before = { ...configuration, shards: drawn };
        let least = Number.POSITIVE_INFINITY;
        for (let code = 0; code < subsets.length ** shards; code++) {
          const chosen = drawn.map((_, index) => {
            return subsets[Math.floor(code / subsets.length ** index) % subsets.length] ?? [];
          });
          const counts = new Map(ids.map((id) => [id, 0]));
          for (const id of chosen.flat()) counts.set(id, (counts.get(id) ?? 0) + 1);
          if (range(counts, ids) > 1) continue;
          const moved = chosen.map(
            (to, index) => to.filter((id) => drawn[index]?.replicas.includes(id) !== true).length,
          );
          least = Math.min(
            least,
            moved.reduce((sum, each) => sum + each, 0),
          );
        }
        assert.equal(copied(planRebalance(before)), least);
      }),
      { numRuns: 60 },
    );
  });

  it("moves to new nodes just their share, and nothing between the old ones", () => {
    const three = clusterOf(places(3), 16, 3);
    const five = withNodes(three, places(5).slice(3));
    const moves = planRebalance(five);
    // 48 copies on 5 nodes: 9 or 10 each, so the two new ones get 18 to 20.
    assert.ok(copied(moves) >= 18 && copied(moves) <= 20, `${copied(moves)} copies`);
    for (const { copiedTo } of moves) {
      assert.ok(copiedTo.every((node) => node === "n4" || node === "n5"));
    }
    const back = planRebalance(applied(five, moves), { without: new Set(["n4", "n5"]) });
    assert.equal(copied(back), copied(moves));
  });

  it("leaves the first placement as it is", () => {
    for (const zones of [1, 2, 3, 4]) {
      for (const nodes of [1, 2, 3, 5, 6, 9]) {
        for (const shards of [1, 5, 16, 35]) {
          const all = places(nodes, (index) => ({ zone: `z${index % zones}` }));
          const configuration = clusterOf(all, shards, Math.min(3, nodes));
          assert.deepEqual(planRebalance(configuration), []);
        }
      }
    }
  });

  it("keeps copies of one shard on different hosts, also if that is less even", () => {
    // Two nodes on one machine, one on another: each shard needs the other one.
    const nodes = places(3, (index) => ({ host: index < 2 ? "a" : "b" }));
    const configuration = clusterOf(nodes, 16, 2);
    assert.equal(collisions(configuration, hostOf), 0);
    const { copies, primaries } = spreadOf(configuration);
    assert.deepEqual([...copies.values()], [8, 8, 16]);
    assert.ok(range(primaries, ["n1", "n2", "n3"]) <= 1);
    const crowded = {
      ...configuration,
      shards: configuration.shards.map((shard) => ({ ...shard, replicas: ["n1", "n2"] })),
    };
    const moves = planRebalance(crowded);
    assert.equal(collisions(applied(crowded, moves), hostOf), 0);
    assert.equal(copied(moves), 16);
  });

  it("keeps copies in different zones, evenly where zones are alike", () => {
    const zoned = fc.record({
      perZone: fc.integer({ min: 1, max: 3 }),
      zones: fc.integer({ min: 1, max: 4 }),
      shards: fc.integer({ min: 1, max: 20 }),
      replicas: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(zoned, ({ perZone, zones, shards, replicas }) => {
        const all = places(perZone * zones, (index) => ({ zone: `z${index % zones}` }));
        fc.pre(replicas <= all.length);
        const configuration = clusterOf(all, shards, replicas);
        // The fewest pairs that share a zone: as many copies in each as in the others.
        const low = Math.floor(replicas / zones);
        const fuller = replicas % zones;
        const pairs = fuller * ((low * (low + 1)) / 2) + (zones - fuller) * ((low * (low - 1)) / 2);
        assert.equal(collisions(configuration, zoneOf), shards * pairs);
        const ids = all.map(({ id }) => id);
        assert.ok(range(spreadOf(configuration).copies, ids) <= 1);
        assert.ok(range(spreadOf(configuration).primaries, ids) <= 1);
      }),
    );
  });

  it("would rather have two copies in one zone than on one host", () => {
    const nodes = places(4, (index) =>
      index < 3 ? { zone: "a" } : { zone: "b", host: "10.0.0.9" },
    );
    const more = withNodes(clusterOf(nodes, 4, 4), [{ id: "n5", zone: "b", host: "10.0.0.9" }]);
    const crowded = {
      ...more,
      shards: more.shards.map((shard) => ({ ...shard, replicas: ["n4", "n5", "n1", "n2"] })),
    };
    const after = applied(crowded, planRebalance(crowded));
    assert.equal(collisions(after, hostOf), 0);
  });

  it("gives the copies of a lost node to the others, and its own back", () => {
    const configuration = clusterOf(places(4), 24, 2);
    const lost = planRebalance(configuration, { without: new Set(["n2"]) });
    assert.equal(copied(lost), 12);
    assert.deepEqual(new Set(lost.flatMap((move) => move.copiedTo)), new Set(["n1", "n3", "n4"]));
    const back = planRebalance(applied(configuration, lost));
    assert.equal(copied(back), 12);
    assert.ok(back.every((move) => move.copiedTo.every((node) => node === "n2")));
  });

  it("has a plan for the largest clusters in reasonable time", () => {
    const before = clusterOf(places(40), 1_024, 3);
    const grown = withNodes(before, places(50).slice(40));
    assert.ok(copied(planRebalance(grown)) <= Math.ceil((1_024 * 3) / 50) * 10);
  });

  it("needs a node", () => {
    const configuration = clusterOf(places(1), 1, 1);
    assert.throws(() => planRebalance(configuration, { without: new Set(["n1"]) }), RangeError);
  });
});

function subsetsOf(ids: readonly NodeId[], size: number): NodeId[][] {
  if (size === 0) return [[]];
  return ids.flatMap((id, index) =>
    subsetsOf(ids.slice(index + 1), size - 1).map((rest) => [id, ...rest]),
  );
}
