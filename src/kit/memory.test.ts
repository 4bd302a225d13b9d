import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { allocate, areEqual, copyBytes, Memories, writeText } from "./memory.ts";

const bytes = fc.uint8Array({ maxLength: 300, size: "max" });
const offset = fc.nat(9);

test("copies are of just the bytes, from anywhere to anywhere", () => {
  fc.assert(
    fc.property(bytes, offset, offset, (content, start, at) => {
      const memories = new Memories();
      const from = memories.of(
        Buffer.concat([Buffer.alloc(start, 1), content, Buffer.alloc(9, 2)]),
      );
      const to = allocate(content.length + 20);
      to.bytes.fill(3);
      copyBytes(from, start, start + content.length, to, at);
      const end = at + content.length;
      assert.deepEqual(to.bytes.subarray(at, end), Buffer.from(content));
      assert.ok(to.bytes.subarray(0, at).every((byte) => byte === 3));
      assert.ok(to.bytes.subarray(end).every((byte) => byte === 3));
    }),
  );
});

test("bytes are equal if all are", () => {
  fc.assert(
    fc.property(bytes, offset, fc.nat(), fc.boolean(), (content, start, which, isSame) => {
      const memories = new Memories();
      const a = memories.of(Buffer.concat([Buffer.alloc(start), content]));
      const other = Buffer.from(content);
      const differs = !isSame && other.length > 0;
      if (differs) other[which % other.length] = (other[which % other.length] as number) ^ 0x80;
      assert.equal(areEqual(a, start, memories.of(other), 0, other.length), !differs);
    }),
  );
});

test("binary strings become their bytes", () => {
  const text = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
  const memory = allocate(300);
  for (const part of ["", "\u00ff", text.slice(200, 220), text]) {
    writeText(part, memory, 3);
    assert.equal(memory.bytes.toString("latin1", 3, 3 + part.length), part);
  }
});

test("the memory of a buffer is of its place in the larger one", () => {
  const memories = new Memories();
  const large = Buffer.from("abcdef");
  const part = large.subarray(2, 4);
  const other = Buffer.from("x");
  assert.equal(memories.of(part).view.getUint8(0), "c".charCodeAt(0));
  for (const buffer of [other, part, other, large, part]) {
    assert.equal(memories.of(buffer).bytes, buffer);
    assert.equal(memories.of(buffer).view.byteLength, buffer.length);
  }
});
