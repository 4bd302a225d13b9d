import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Expiry, ExpiryHeap } from "./expiry-heap.ts";

const step = fc.record({
  what: fc.constantFrom("add", "move", "remove", "take"),
  atMs: fc.nat(50),
  which: fc.nat(),
});

test("the soonest is first through any additions, moves and removals", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new ExpiryHeap();
      const model: Expiry[] = [];
      for (const [i, { what, atMs, which }] of steps.entries()) {
        const index = which % model.length;
        const chosen = model[index];
        if (what === "add" || chosen === undefined) {
          model.push(heap.add(`k${i}`, atMs));
        } else if (what === "move") {
          heap.move(chosen, atMs);
          assert.equal(chosen.atMs, atMs);
        } else {
          const removed = what === "take" ? heap.peek() : chosen;
          assert.ok(removed !== undefined);
          heap.remove(removed);
          model.splice(model.indexOf(removed), 1);
        }
        assert.equal(heap.size, model.length);
        const soonest = model.length === 0 ? undefined : Math.min(...model.map((e) => e.atMs));
        assert.equal(heap.peek()?.atMs, soonest);
      }
    }),
  );
});

test("what has been removed cannot be used again", () => {
  const heap = new ExpiryHeap();
  const expiry = heap.add("a", 1);
  heap.add("b", 2);
  heap.remove(expiry);
  assert.throws(() => heap.remove(expiry), { name: "AssertionError" });
  assert.throws(() => heap.move(expiry, 5), { name: "AssertionError" });
});
