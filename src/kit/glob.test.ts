import assert from "node:assert/strict";
import { test } from "node:test";
import { globMatches } from "./glob.ts";

const MATCHES: [pattern: string, texts: string[]][] = [
  ["*", ["", "a", "any thing"]],
  ["**", ["", "a"]],
  ["", [""]],
  ["a?c", ["abc", "a?c", "a\u00ffc"]],
  ["h*llo", ["hllo", "hello", "heeello"]],
  ["*a*b", ["ab", "xaxb", "aabab"]],
  ["[a-c]x", ["ax", "bx", "cx"]],
  ["[c-a]x", ["ax", "bx", "cx"]],
  ["[^a-c]x", ["dx", "^x"]],
  ["[a^]x", ["^x", "ax"]],
  // As in Redis, a bracket ends a range before it could close the class.
  ["[a-]x", ["a", "]", "_", "x"]],
  ["[\\]]x", ["]x"]],
  ["[\\^]x", ["^x"]],
  ["[ab", ["a", "b"]],
  ["\\*", ["*"]],
  ["a\\", ["a\\"]],
  ["a]", ["a]"]],
];

const MISMATCHES: [pattern: string, texts: string[]][] = [
  ["", ["a"]],
  ["a", ["", "A", "aa", "b"]],
  ["a?c", ["ac", "abbc"]],
  ["*a*b", ["a", "b", "ba", "abx"]],
  ["[a-c]x", ["dx", "x", "a"]],
  ["[^a-c]x", ["ax", "cx"]],
  ["[]a]", ["]a]", "a", "]"]],
  ["[", ["[", ""]],
  ["\\*", ["a", "\\*"]],
];

test("patterns match", () => {
  for (const [pattern, texts] of MATCHES) {
    for (const text of texts) assert.ok(globMatches(pattern, text), `${pattern} on ${text}`);
  }
});

test("patterns do not match", () => {
  for (const [pattern, texts] of MISMATCHES) {
    for (const text of texts) assert.ok(!globMatches(pattern, text), `${pattern} on ${text}`);
  }
});

test("many stars cost no more than their number times the text's length", () => {
  // A search that tries all ways to divide the text among the stars would not end in a lifetime.
  assert.ok(!globMatches(`${"a*".repeat(60)}b`, "a".repeat(5_000)));
});
