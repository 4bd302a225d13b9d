import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/kit/prng.ts";
import { drawOperations } from "./batch.ts";
import { keyText, patchKey } from "./keys.ts";
import { RespDialect } from "./resp.ts";

test("each kind of operation has exactly its share", () => {
  const parts = [
    { operation: "get", share: 0.9 },
    { operation: "set", share: 0.1 },
  ] as const;
  const batches = drawOperations(parts, 16, 100, new Prng(3));
  assert.equal(batches.length, 100);
  assert.ok(batches.every((batch) => batch.length === 16));
  assert.equal(batches.flat().filter((operation) => operation === "set").length, 160);
});

test("a batch is what a client sends, with a WAIT where it was asked for", () => {
  const set = (key: string): string => `*3\r\n$3\r\nSET\r\n$16\r\n${key}\r\n$3\r\naho\r\n`;
  const get = (key: string): string => `*2\r\n$3\r\nGET\r\n$16\r\n${key}\r\n`;
  const wait = "*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$1\r\n0\r\n";
  const [one, two, three] = [keyText(1), keyText(22), keyText(333_333)];
  const operations = ["set", "get", "set"] as const;
  const expected = {
    none: { text: set(one) + get(two) + set(three), replies: 3 },
    write: { text: set(one) + wait + get(two) + set(three) + wait, replies: 5 },
    batch: { text: set(one) + get(two) + set(three) + wait, replies: 4 },
  };
  for (const per of ["none", "write", "batch"] as const) {
    const dialect = new RespDialect({
      parts: [],
      valueBytes: 3,
      ...(per === "none" ? {} : { wait: { replicas: 2, per } }),
    });
    const batch = dialect.batch(operations);
    for (const [index, key] of [1, 22, 333_333].entries())
      patchKey(batch.bytes, batch.keyEnds[index] as number, key);
    const { text, replies } = expected[per];
    assert.equal(batch.bytes.toString(), text);
    assert.deepEqual([batch.replies, batch.operations, batch.writes], [replies, 3, 2]);
  }
});
