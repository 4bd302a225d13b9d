import assert from "node:assert/strict";
import { test } from "node:test";
import { effectsOf } from "../data/effect-writer.ts";
import { OK } from "../data/reply.ts";
import type { Entry } from "../replica/entry.ts";
import { EntryBatch } from "../replica/entry-batch.ts";
import { Issuers } from "../replica/issuers.ts";
import { parseLog } from "./codec.ts";
import { ShardBook } from "./shard-book.ts";

function entryOf(seq: number, incarnation: number): Entry {
  return {
    seq,
    epoch: 2,
    stamp: { node: "n1", incarnation, counter: seq, doneBelow: seq },
    reply: OK,
    effects: effectsOf([{ kind: "set", key: `key:${seq}`, value: "value", expireAtMs: 0 }]),
    form: "plain",
  };
}

/** The entries of each piece as they are read, each piece by itself. */
function readPieces(book: ShardBook): Entry[][] {
  return book.takePending().map((change) => {
    assert.ok(change.kind === "log");
    return parseLog(change.bytes, book.shard).flatMap((item) =>
      item.kind === "entries" ? [...item.entries] : [],
    );
  });
}

const nameOf = ({ seq, stamp, reply }: Entry): unknown => ({ seq, stamp, reply });

test("each piece of a log says what the numbers in its entries mean", () => {
  const book = new ShardBook(0);
  book.whole();
  const issuers = new Issuers();
  const entries = Array.from({ length: 12 }, (_, index) => entryOf(index + 1, index % 5));
  const pieces: Entry[][] = [];
  for (const at of [0, 3, 6, 9]) {
    book.append(EntryBatch.of(entries.slice(at, at + 3), issuers));
    if (at === 3) pieces.push(...readPieces(book));
  }
  pieces.push(...readPieces(book));
  assert.deepEqual(
    pieces.map(({ length }) => length),
    [6, 6],
  );
  assert.deepEqual(pieces.flat().map(nameOf), entries.map(nameOf));
});

test("entries with other numbers in one piece keep their meaning", () => {
  const book = new ShardBook(0);
  book.whole();
  const entries = [entryOf(1, 8), entryOf(2, 9), entryOf(3, 8)];
  for (const entry of entries) book.append(EntryBatch.of([entry], new Issuers()));
  assert.deepEqual(readPieces(book).flat().map(nameOf), entries.map(nameOf));
});
