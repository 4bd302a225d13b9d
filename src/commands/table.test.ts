import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "../data/command.ts";
import { arityMatches, codeOf, commandOf, dataCommands, findCommand, keyPlaces } from "./table.ts";

test("a command is found by its name in any case", () => {
  for (const name of ["get", "GET", "Get", "gEt"]) assert.equal(findCommand(name)?.name, "get");
  for (const name of ["", "gett", "ge", "geT\0", "constructor", "__proto__", "G\x85T", "g@t"]) {
    assert.equal(findCommand(name), undefined);
    assert.equal(commandOf(Command.of(name)), undefined);
  }
  for (const command of dataCommands) {
    const { name } = command;
    const mixed = name.slice(0, 2) + name.slice(2).toUpperCase();
    for (const sent of [name, name.toUpperCase(), mixed]) {
      const request = Command.of(sent, "x");
      assert.equal(commandOf(request), command);
      assert.equal(request.code, codeOf(command));
      assert.equal(commandOf(request), command);
    }
  }
});

test("names are unique and in lower case, and positions of keys make sense", () => {
  const names = dataCommands.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, firstKey, keyStep, flags, summary } of dataCommands) {
    assert.equal(name, name.toLowerCase());
    assert.equal(firstKey === 0, keyStep === 0, name);
    assert.ok(!(flags.includes("write") && flags.includes("readonly")), name);
    assert.match(summary, /^[A-Z].*\.$/, name);
  }
});

test("the arity counts the name, and is a least number if negative", () => {
  const [get, set] = [findCommand("get"), findCommand("set")];
  assert.ok(get !== undefined && set !== undefined);
  assert.deepEqual(
    [1, 2, 3].map((count) => arityMatches(get, count)),
    [false, true, false],
  );
  assert.deepEqual(
    [2, 3, 9].map((count) => arityMatches(set, count)),
    [false, true, true],
  );
});

test("the keys of a command are found", () => {
  const cases: [command: string, keys: string][] = [
    ["get a", "a"],
    ["set a 1 ex 5", "a"],
    ["mset a 1 b 2", "a b"],
    ["mget a b a", "a b a"],
    ["lcs a b len", "a b"],
    ["rename a b", "a b"],
    ["dbsize", ""],
    ["scan 0 match a", ""],
  ];
  for (const [command, keys] of cases) {
    const args = command.split(" ");
    const spec = findCommand(args[0] ?? "");
    assert.ok(spec !== undefined);
    const found = keyPlaces(spec, args.length).map((place) => args[place]);
    assert.equal(found.join(" "), keys, command);
  }
});
