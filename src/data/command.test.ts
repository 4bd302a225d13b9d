import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { slotOf } from "../kit/crc16.ts";
import { Command } from "./command.ts";

const binary = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)),
});

test("a command gives back the arguments that it was made of, in whatever buffer they are", () => {
  fc.assert(
    fc.property(fc.array(binary, { minLength: 1, maxLength: 6 }), (args) => {
      const command = Command.from(args);
      assert.equal(command.count, args.length);
      assert.deepEqual(command.texts(), args);
      assert.equal(command.bytes, args.join("").length);
      assert.equal(command.at(args.length), undefined);
      const moved = Buffer.concat([Buffer.from("xyz"), command.buffer, Buffer.from("z")]);
      const spans = [9, 9, ...command.spans.map((place) => place + 3), 7];
      const other = new Command(moved, spans, 2, args.length);
      other.code = 5;
      assert.deepEqual(other.texts(), args);
      const copy = other.copy();
      assert.deepEqual(copy.texts(), args);
      assert.equal(copy.buffer.buffer.byteLength, args.join("").length);
      assert.equal(copy.code, 5);
      for (const [index, argument] of args.entries()) {
        assert.equal(other.slot(index), slotOf(argument));
      }
    }),
    { numRuns: 200 },
  );
});

test("some of the arguments make a command", () => {
  const command = Command.of("MSET", "a", "1", "bb", "22");
  const picked = command.pick([0, 3, 4]);
  assert.deepEqual(picked.texts(), ["MSET", "bb", "22"]);
  assert.equal(picked.buffer, command.buffer);
  assert.equal(JSON.stringify(picked), '["MSET","bb","22"]');
});
