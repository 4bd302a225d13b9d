import assert from "node:assert/strict";
import { test } from "node:test";
import { partsOf } from "../../history/history.ts";
import { slotOf } from "../../kit/crc16.ts";
import { Prng } from "../../kit/prng.ts";
import { layOutKeys, Workload } from "./workload.ts";

test("keys are spread over the shards, those of a group in one slot", () => {
  const shards = Array.from({ length: 16 }, (_, index) => ({
    firstSlot: index * 1024,
    lastSlot: index * 1024 + 1023,
  }));
  const groups = layOutKeys(16, "run", shards);
  assert.equal(groups.flatMap((group) => group.keys).length, 16);
  assert.equal(new Set(groups.map((group) => Math.floor(group.slot / 1024))).size, groups.length);
  for (const group of groups) {
    for (const key of group.keys) assert.equal(slotOf(key.name), group.slot);
  }
  assert.deepEqual(
    layOutKeys(5, "run", []).map((group) => group.keys.length),
    [2, 1, 1, 1],
  );
});

test("values are unique over clients, counters are only counted, and a seed repeats itself", () => {
  const groups = layOutKeys(8, "run", []);
  const draw = (client: number) => {
    const workload = new Workload(new Prng(client), groups, client);
    return Array.from({ length: 5_000 }, () => workload.next());
  };
  const actions = [draw(0), draw(1)].flat();
  const values = actions
    .flatMap((action) => partsOf(action))
    .flatMap((part) => ("value" in part ? [part.value] : []));
  assert.ok(values.length > 3_000);
  assert.equal(new Set(values).size, values.length);
  for (const part of actions.flatMap((action) => partsOf(action))) {
    if (part.key.endsWith("counter")) assert.ok(part.kind === "incr" || part.kind === "get");
  }
  const kinds = new Set(actions.map((action) => action.kind));
  for (const kind of "get set setnx incr getset getdel del append multi".split(" ")) {
    assert.ok(
      [...kinds].some((each) => each === kind),
      `${kind} occurs`,
    );
  }
  assert.deepEqual(draw(0), draw(0));
});
