import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExpiryHeap } from "./expiry-heap.ts";
import { expiryWord } from "./record.ts";
import { Slab, wordOffset } from "./slab.ts";

const step = fc.record({
  what: fc.constantFrom("add", "add", "move", "remove", "take", "relocate"),
  atMs: fc.nat(50),
  which: fc.nat(),
});

class Heap {
  readonly slab = new Slab();
  readonly heap = new ExpiryHeap(this.slab);
  readonly model = new Map<number, number>();

  placeOf(reference: number): number {
    const page = this.slab.page(reference);
    return page.words[expiryWord(page, wordOffset(reference))] as number;
  }

  add(atMs: number): void {
    const reference = this.slab.allocate(32);
    this.heap.add(reference, atMs);
    this.model.set(reference, atMs);
  }

  remove(reference: number): void {
    this.heap.remove(this.placeOf(reference));
    this.model.delete(reference);
    this.slab.free(reference);
  }

  relocate(reference: number): void {
    const moved = this.slab.allocate(64);
    const page = this.slab.page(moved);
    const place = this.placeOf(reference);
    page.words[expiryWord(page, wordOffset(moved))] = place;
    this.heap.relocate(place, moved);
    this.model.set(moved, this.model.get(reference) ?? 0);
    this.model.delete(reference);
    this.slab.free(reference);
  }

  check(): void {
    const { heap, model } = this;
    assert.equal(heap.size, model.size);
    for (const [reference, atMs] of model) assert.equal(heap.atMs(this.placeOf(reference)), atMs);
    if (model.size === 0) assert.equal(heap.first, 0);
    else assert.equal(model.get(heap.first), Math.min(...model.values()));
  }
}

test("the soonest is first through any additions, moves and removals", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const it = new Heap();
      for (const { what, atMs, which } of steps) {
        const chosen = [...it.model.keys()][which % it.model.size];
        if (what === "add" || chosen === undefined) it.add(atMs);
        else if (what === "relocate") it.relocate(chosen);
        else if (what === "take") it.remove(it.heap.first);
        else if (what === "remove") it.remove(chosen);
        else {
          it.heap.move(it.placeOf(chosen), atMs);
          it.model.set(chosen, atMs);
        }
        it.check();
      }
    }),
  );
});

test("many come out in order, and their memory is given back", () => {
  const it = new Heap();
  const count = 20_000;
  for (let i = 0; i < count; i++) it.add((i * 7_919) % count);
  assert.ok(it.heap.bytes > count * 12);
  for (let i = 0; i < count; i++) {
    assert.equal(it.model.get(it.heap.first), i);
    it.remove(it.heap.first);
  }
  assert.ok(it.heap.bytes < 200_000, `${it.heap.bytes} bytes are kept`);
});
