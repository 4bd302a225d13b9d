import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { effectsOf } from "../data/effect-writer.ts";
import { Effects } from "../data/effects.ts";
import { OK } from "../data/reply.ts";
import type { Entry } from "./entry.ts";
import { ISSUERS_MAX, Issuers } from "./issuers.ts";
import { Log } from "./log.ts";

function entryOf(seq: number, valueBytes: number): Entry {
  return {
    seq,
    epoch: 1 + Math.floor(seq / 10),
    stamp: seq % 3 === 0 ? undefined : { node: "n1", incarnation: 7, counter: seq, doneBelow: 1 },
    reply: seq % 2 === 0 ? null : `reply ${seq}`,
    effects: effectsOf([
      {
        kind: "set",
        key: `key:${seq}`,
        value: String(seq % 10).repeat(valueBytes),
        expireAtMs: seq % 5 === 0 ? 1_000 + seq : 0,
      },
    ]),
    form: undefined,
  };
}

/** Equal, in whatever buffers their effects are. */
function assertSame(
  actual: readonly (Entry | undefined)[],
  expected: readonly (Entry | undefined)[],
): void {
  const plain = (entry: Entry | undefined): unknown =>
    entry === undefined ? undefined : { ...entry, effects: [...entry.effects] };
  assert.deepEqual(actual.map(plain), expected.map(plain));
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("append" as const), bytes: fc.nat(300) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("append" as const), bytes: fc.nat(60_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("cut" as const),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      bytesKept: fc.oneof(fc.constant(0), fc.nat(100_000)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset" as const), seq: fc.nat(50) }) },
);

test("the log gives back what it was given, in whatever parts it is asked for", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 50_000 }), runAll),
    { numRuns: 150 },
  );

  function runAll(
    steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
    bytesMax: number,
  ): void {
    const log = new Log();
    let model: Entry[] = [];
    let lastSeq = 0;
    for (const each of steps) {
      if (each.kind === "append") {
        lastSeq += 1;
        const entry = entryOf(lastSeq, each.bytes);
        model.push(entry);
        log.append(entry);
        assert.ok(log.bytesAt(lastSeq) >= each.bytes);
      } else if (each.kind === "cut") {
        const upTo = Math.floor(each.part * lastSeq);
        log.cut(upTo, each.bytesKept);
        model = model.filter(({ seq }) => seq >= log.firstSeq);
        assert.ok(log.bytes <= each.bytesKept || log.firstSeq > upTo);
      } else {
        model = [];
        lastSeq = each.seq;
        log.reset(each.seq, []);
      }
      assert.equal(log.lastSeq, lastSeq);
      assert.equal(log.firstSeq, lastSeq - model.length + 1);
    }
    let bytes = 0;
    for (const entry of model) {
      assertSame([log.at(entry.seq)], [entry]);
      bytes += log.bytesAt(entry.seq);
    }
    assert.equal(log.bytes, bytes);
    assert.equal(log.at(lastSeq + 1), undefined);
    assert.equal(log.at(log.firstSeq - 1), undefined);
    const sliced: Entry[] = [];
    while (log.firstSeq + sliced.length <= lastSeq) {
      const batch = log.slice(log.firstSeq + sliced.length, bytesMax);
      assert.ok(batch.length > 0);
      assert.equal([...batch].length, batch.length);
      sliced.push(...batch);
    }
    assertSame(sliced, model);
  }
});

test("a batch stays what it was when the log goes on and is cut", () => {
  const log = new Log();
  for (let seq = 1; seq <= 500; seq += 1) log.append(entryOf(seq, 100));
  const batch = log.slice(1, 10_000);
  log.cut(500, 0);
  for (let seq = 501; seq <= 2_000; seq += 1) log.append(entryOf(seq, 200));
  log.cut(2_000, 0);
  const entries = [...batch];
  assert.ok(entries.length > 50 && entries.length < 200);
  assertSame(
    entries,
    entries.map((_, index) => entryOf(index + 1, 100)),
  );
});

test("what one log cuts stays with the other that has the same past", () => {
  for (const cuts of ["the first", "the second"]) {
    const logs = [new Log(), new Log()] as const;
    for (let seq = 1; seq <= 1_000; seq += 1) logs[0].append(entryOf(seq, 100));
    logs[1].inherit(logs[0]);
    const [cut, kept] = cuts === "the first" ? logs : [logs[1], logs[0]];
    for (let seq = 1_001; seq <= 4_000; seq += 1) {
      cut.append(entryOf(seq, 200));
      cut.cut(seq, 20_000);
    }
    const past = Array.from({ length: 1_000 }, (_, index) => entryOf(index + 1, 100));
    assertSame([...kept.slice(1, Number.POSITIVE_INFINITY)], past);
    assert.ok(cut.bytes <= 20_000);
    const rest = [...cut.slice(cut.firstSeq, Number.POSITIVE_INFINITY)];
    assertSame(
      rest,
      rest.map((_, index) => entryOf(cut.firstSeq + index, 200)),
    );
  }
});

test("two logs with one past go on apart", () => {
  const log = new Log();
  for (let seq = 1; seq <= 300; seq += 1) log.append(entryOf(seq, 100));
  log.cut(50, 0);
  const other = new Log();
  other.inherit(log);
  for (let seq = 301; seq <= 600; seq += 1) {
    log.append(entryOf(seq, 10));
    other.append(entryOf(seq, 20));
  }
  const all = Array.from({ length: 550 }, (_, index) => index + 51);
  assertSame(
    [...log.slice(51, Number.POSITIVE_INFINITY)],
    all.map((seq) => entryOf(seq, seq <= 300 ? 100 : 10)),
  );
  assertSame(
    [...other.slice(51, Number.POSITIVE_INFINITY)],
    all.map((seq) => entryOf(seq, seq <= 300 ? 100 : 20)),
  );
});

/** What `SET` made of who is asked for, in turn with what is not plain. */
function plainOf(seq: number, incarnation: number, valueBytes = 20): Entry {
  const value = String(seq % 10).repeat(valueBytes);
  return {
    seq,
    epoch: 300,
    stamp: { node: "n1", incarnation, counter: 1_000 + seq, doneBelow: 900 + seq },
    reply: OK,
    effects: effectsOf([{ kind: "set", key: `key:${seq}`, value, expireAtMs: 0 }]),
    form: "plain",
  };
}

test("who asked for plain entries gets stubs of them, and of no others", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ incarnation: fc.nat(3), isPlain: fc.boolean(), bytes: fc.nat(9_000) }), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.nat(30),
      (parts, afterSeq) => {
        const issuers = new Issuers();
        const log = new Log(issuers);
        const model = parts.map(({ incarnation, isPlain, bytes }, index) => {
          const entry = plainOf(index + 1, incarnation, bytes);
          return isPlain ? entry : { ...entry, form: undefined };
        });
        for (const entry of model) log.append(entry);
        const issuer = issuers.numberOf("n1", 1) ?? assert.fail();
        assertSame(
          [...log.slice(1, Number.POSITIVE_INFINITY, { issuer, afterSeq })],
          model.map((entry) => {
            const isStub =
              entry.form === "plain" && entry.stamp?.incarnation === 1 && entry.seq > afterSeq;
            return isStub ? { ...entry, effects: Effects.NONE, form: "stub" as const } : entry;
          }),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test("a log puts its own numbers into the bytes of another's entries", () => {
  const [theirs, ours] = [new Issuers(), new Issuers()];
  const [log, other] = [new Log(theirs), new Log(ours)];
  ours.numberOf("n9", 9);
  const entries = Array.from({ length: 100 }, (_, index) => plainOf(index + 1, index % 5));
  for (const entry of entries) log.append(entry);
  const batch = log.slice(1, Number.POSITIVE_INFINITY);
  for (let index = 0; index < batch.length; index += 1) {
    other.append(batch.entry(index), batch.bytes(index));
  }
  assert.notEqual(ours.find("n1", 0), theirs.find("n1", 0));
  assertSame([...other.slice(1, Number.POSITIVE_INFINITY)], entries);
});

test("who finds no number left is named in full", () => {
  const [theirs, ours] = [new Issuers(), new Issuers()];
  const [log, other] = [new Log(theirs), new Log(ours)];
  // The other log has given all its numbers to others before.
  for (let number = 0; number < ISSUERS_MAX; number += 1) ours.numberOf("n2", number);
  assert.equal(ours.numberOf("n1", 1), undefined);
  const entries = Array.from({ length: 2 * ISSUERS_MAX }, (_, index) => plainOf(index + 1, index));
  for (const entry of entries) log.append(entry);
  const batch = log.slice(1, Number.POSITIVE_INFINITY);
  assertSame([...batch], entries);
  assert.equal(batch.issuersUsed().length, ISSUERS_MAX);
  for (let index = 0; index < batch.length; index += 1) {
    other.append(batch.entry(index), batch.bytes(index));
  }
  assertSame([...other.slice(1, Number.POSITIVE_INFINITY)], entries);
  assert.equal(other.slice(1, Number.POSITIVE_INFINITY).issuersUsed().length, 0);
});
