import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "commander";
import { addCommands } from "./commands.ts";

async function namesOf(asked: string | undefined): Promise<readonly string[]> {
  const program = new Command("hothot");
  await addCommands(program, { script: "hothot.js", version: "0.0.0", asked });
  return program.commands.map((command) => command.name());
}

test("each command is there when it is asked for, and few others are", async () => {
  const all = await namesOf(undefined);
  assert.deepEqual(await namesOf("help"), all);
  assert.equal(new Set(all).size, all.length);
  for (const name of all) {
    const names = await namesOf(name);
    assert.ok(names.includes(name), name);
    assert.ok(names.length <= 4, `${name} comes with ${names.join()}`);
  }
});
