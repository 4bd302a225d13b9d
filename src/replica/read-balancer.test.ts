import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ReadBalancer } from "./read-balancer.ts";

const NODES = ["n1", "n2", "n3"];

describe("policies of reading", () => {
  it("round robin asks everyone in turn, whoever is slow", () => {
    const balancer = new ReadBalancer("round-robin");
    for (let i = 0; i < 9; i++) balancer.began("n1");
    const asked = Array.from({ length: 6 }, () => balancer.choose(NODES));
    assert.deepEqual([...asked].sort(), ["n1", "n1", "n2", "n2", "n3", "n3"]);
    assert.deepEqual(asked.slice(0, 3), asked.slice(3));
  });

  it("least outstanding asks whoever has least to answer, and equals in turn", () => {
    const balancer = new ReadBalancer("least-outstanding");
    const asked = NODES.map(() => {
      const node = balancer.choose(NODES) ?? "";
      balancer.began(node);
      return node;
    });
    assert.deepEqual(asked.sort(), NODES);
    balancer.ended("n2");
    assert.equal(balancer.choose(NODES), "n2");
    assert.equal(balancer.outstanding("n2"), 0);
  });

  it("has nobody to ask where there is no replica", () => {
    assert.equal(new ReadBalancer("round-robin").choose([]), undefined);
    assert.equal(new ReadBalancer("least-outstanding").choose([]), undefined);
  });
});
