import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { byteOffset, Slab } from "./slab.ts";

const size = fc.oneof(
  fc.integer({ min: 1, max: 200 }),
  fc.integer({ min: 1, max: 70_000 }),
  fc.integer({ min: 65_000, max: 66_000 }),
);

test("cells of any sizes do not overlap, whatever is freed in between", () => {
  const step = fc.record({ bytes: size, free: fc.option(fc.nat(), { freq: 2 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const slab = new Slab();
      const cells = new Map<number, { readonly bytes: number; readonly mark: number }>();
      for (const [mark, { bytes, free }] of steps.entries()) {
        const victim = free === null ? undefined : [...cells.keys()][free % cells.size];
        if (victim !== undefined) {
          check(slab, cells, victim);
          slab.free(victim);
          cells.delete(victim);
        }
        const reference = slab.allocate(bytes);
        assert.ok(!cells.has(reference) && reference !== 0);
        cells.set(reference, { bytes, mark: mark % 256 });
        const from = byteOffset(reference);
        slab.page(reference).bytes.fill(mark % 256, from, from + bytes);
      }
      for (const reference of cells.keys()) check(slab, cells, reference);
      for (const reference of cells.keys()) slab.free(reference);
      assert.equal(slab.bytes, 0, "all pages are given back");
    }),
    { numRuns: 60 },
  );
});

function check(
  slab: Slab,
  cells: ReadonlyMap<number, { readonly bytes: number; readonly mark: number }>,
  reference: number,
): void {
  const { bytes = 0, mark } = cells.get(reference) ?? {};
  const page = slab.page(reference);
  const from = byteOffset(reference);
  assert.ok(page.cellBytes >= bytes && from + page.cellBytes <= page.bytes.length);
  const cell = page.bytes.subarray(from, from + bytes);
  assert.ok(cell.every((byte) => byte === mark));
}

test("a cell is at most a sixteenth larger than asked for, or to the next multiple of 8", () => {
  for (let bytes = 1; bytes <= 70_000; bytes++) {
    const cellBytes = Slab.cellBytes(bytes);
    assert.ok(cellBytes >= bytes && cellBytes % 8 === 0, `${bytes}`);
    assert.ok(
      cellBytes < bytes + 8 || cellBytes <= (bytes * 17) / 16 + 8,
      `${bytes}: ${cellBytes}`,
    );
    assert.equal(Slab.cellBytes(cellBytes), cellBytes, `${bytes}`);
  }
});

test("many cells take little more than their bytes, and no page is longer than 256 KiB", () => {
  const slab = new Slab();
  for (let i = 0; i < 100_000; i++) {
    const page = slab.page(slab.allocate(104));
    assert.ok(page.bytes.length <= 256 * 1024);
  }
  assert.ok(slab.bytes < 104 * 100_000 * 1.03, `${slab.bytes} bytes`);
});

test("half of the cells being freed by pages, their memory is given back", () => {
  const slab = new Slab();
  const references = Array.from({ length: 50_000 }, () => slab.allocate(100));
  const full = slab.bytes;
  for (const reference of references.splice(0, 40_000)) slab.free(reference);
  assert.ok(slab.bytes < full * 0.3, `${slab.bytes} of ${full} bytes are kept`);
  // What comes and goes at the edge of a page does not make and drop one each time.
  const edge = slab.bytes;
  const pages = new Set<unknown>();
  for (let i = 0; i < 1_000; i++) {
    const reference = slab.allocate(100);
    pages.add(slab.page(reference));
    slab.free(reference);
  }
  assert.ok(pages.size <= 2 && slab.bytes <= edge + 256 * 1024);
});

test("a cell with a page of its own keeps its reference and first bytes when it is resized", () => {
  const slab = new Slab();
  const reference = slab.allocate(100_000);
  slab.page(reference).bytes.fill(7);
  slab.resizeOwn(reference, 200_001, 100_000);
  const { bytes } = slab.page(reference);
  assert.ok(bytes.length >= 200_001 && bytes.subarray(0, 100_000).every((byte) => byte === 7));
  assert.equal(slab.bytes, bytes.length);
  slab.free(reference);
  assert.equal(slab.bytes, 0);
});
