import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FlowNetwork } from "./min-cost-flow.ts";

describe("a flow of least cost", () => {
  it("takes the cheap way first, and the dear one for the rest", () => {
    const network = new FlowNetwork();
    const [source, middle, sink] = [
      network.addVertex(),
      network.addVertex(),
      network.addVertex(),
    ] as const;
    const cheap = network.addEdge({ from: source, to: middle, capacity: 2, cost: 1 });
    const dear = network.addEdge({ from: source, to: middle, capacity: 5, cost: 7 });
    network.addEdge({ from: middle, to: sink, capacity: 3, cost: 0 });
    assert.equal(network.send({ source, sink }), 3);
    assert.deepEqual([network.sentThrough(cheap), network.sentThrough(dear)], [2, 1]);
  });

  it("takes back what stands in the way", () => {
    // The first, cheapest path uses the edge in the middle; two paths are possible only without it.
    const network = new FlowNetwork();
    const at = Array.from({ length: 4 }, () => network.addVertex());
    const edge = (from: number, to: number, cost: number): number =>
      network.addEdge({ from: at[from] ?? 0, to: at[to] ?? 0, capacity: 1, cost });
    edge(0, 1, 1);
    edge(0, 2, 4);
    const middle = edge(1, 2, 1);
    edge(1, 3, 4);
    edge(2, 3, 1);
    assert.equal(network.send({ source: 0, sink: 3 }), 2);
    assert.equal(network.sentThrough(middle), 0);
  });

  it("assigns as cheaply as the best of all permutations", () => {
    const costs = fc.array(fc.array(fc.nat(20), { minLength: 4, maxLength: 4 }), {
      minLength: 4,
      maxLength: 4,
    });
    fc.assert(
      fc.property(costs, (table) => {
        const network = new FlowNetwork();
        const source = network.addVertex();
        const sink = network.addVertex();
        const rows = table.map(() => network.addVertex());
        const columns = table.map(() => network.addVertex());
        for (const row of rows) network.addEdge({ from: source, to: row, capacity: 1, cost: 0 });
        for (const column of columns) {
          network.addEdge({ from: column, to: sink, capacity: 1, cost: 0 });
        }
        const edges = table.flatMap((line, row) =>
          line.map((cost, column) => ({
            cost,
            edge: network.addEdge({
              from: rows[row] ?? 0,
              to: columns[column] ?? 0,
              capacity: 1,
              cost,
            }),
          })),
        );
        assert.equal(network.send({ source, sink }), 4);
        const paid = edges.reduce(
          (sum, { cost, edge }) => sum + cost * network.sentThrough(edge),
          0,
        );
        assert.equal(paid, leastOf(table));
      }),
    );
  });

  it("sends nothing where no way leads", () => {
    const network = new FlowNetwork();
    assert.equal(network.send({ source: network.addVertex(), sink: network.addVertex() }), 0);
  });
});

/** The least sum of one number of each line, each from another column. */
function leastOf(table: readonly (readonly number[])[], taken: readonly number[] = []): number {
  const line = table[taken.length];
  if (line === undefined) return 0;
  return Math.min(
    ...line.flatMap((cost, column) =>
      taken.includes(column) ? [] : [cost + leastOf(table, [...taken, column])],
    ),
  );
}
