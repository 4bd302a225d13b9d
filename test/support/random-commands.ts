/** Random commands on data for tests against an oracle: valid ones, wrong ones, and in between, from a seed. */

import type { Prng } from "../../src/kit/prng.ts";

/** What a seed's commands depend on besides it. */
export interface CommandSettings {
  /** Now, ms since 1970: absolute times lie far from it, so that a slow run still sees the same keys. */
  readonly wallMs: number;
}

const KEYS = [
  "a",
  "b",
  "c",
  "{t}1",
  "{t}2",
  "key:4",
  "k\u00ff\u0000\r\n",
  "longer-key-name",
  "7",
  "foo",
  "fop",
];
const VALUES = [
  "",
  "0",
  "1",
  "-1",
  "007",
  "+5",
  " 3",
  "3 ",
  "10",
  "-0",
  "3.0",
  "3.5",
  "-2.25",
  "1e3",
  "1e-3",
  "0x10",
  "0x1.8p3",
  "inf",
  "-inf",
  "nan",
  "1.",
  ".5",
  ".",
  "e5",
  "1e",
  "1e400",
  "1e4932",
  "1e5000",
  "1e-5000",
  "5.0e3",
  "9223372036854775807",
  "-9223372036854775808",
  "9223372036854775808",
  "9007199254740993",
  "9007199254740991",
  "123456789012345678",
  "0.1",
  "0.2",
  "1234567.1234567",
  "0.00000000000000001",
  "3.00000000000000000000001",
  "hello",
  "hello world",
  "ohmytext",
  "mynewtext",
  "\u0000\u00ff\u0080",
  "ABCABCABC",
  "abcabcaabbcc",
];
const INDEXES = [
  "0",
  "1",
  "2",
  "3",
  "5",
  "-1",
  "-2",
  "-3",
  "-100",
  "100",
  "9223372036854775807",
  "-9223372036854775808",
  "x",
  "1.5",
];
const OFFSETS = ["0", "1", "3", "10", "30", "-1", "536870912", "9223372036854775807", "x"];
const PATTERNS = [
  "*",
  "?",
  "k*",
  "*o*",
  "f[op]?",
  "f[^o]*",
  "[a-c]",
  "[c-a]",
  "\\a",
  "{t}*",
  "*[0-9]",
  "k*\\:*",
  "[abc",
  "[^",
  "[",
  "f[\\o]o",
  "fo[o-p]",
  "fo[p-]",
  "*a*e*",
  "**",
  "a\\",
  "[]a]",
  "*-*-*",
  "lon*name",
];

type Maker = (random: Prng, settings: CommandSettings) => string[];

const key = (random: Prng) => random.pick(KEYS);
const value = (random: Prng) => random.pick(VALUES);

/** A time to live that is far from over, or one that no command takes. */
function ttl(random: Prng, factor: number): string {
  if (random.chance(0.8)) return String((5_000 + random.below(1_000_000_000)) * factor);
  return random.pick([
    "0",
    "-1",
    "x",
    "",
    "1.5",
    "9223372036854775807",
    "9223372036854775",
    "-9223372036854775808",
    "99999999999999999999",
  ]);
}

function at(random: Prng, wallMs: number, divisor: number): string {
  if (random.chance(0.7))
    return String(Math.floor((wallMs + 5_000_000 + random.below(1_000_000_000)) / divisor));
  return random.pick(["1", "0", "-5", "1000", "x", "9223372036854775807", "-9223372036854775808"]);
}

function timeOption(random: Prng, { wallMs }: CommandSettings): string[] {
  switch (random.below(4)) {
    case 0:
      return [anyCase(random, "EX"), ttl(random, 1)];
    case 1:
      return [anyCase(random, "PX"), ttl(random, 1000)];
    case 2:
      return [anyCase(random, "EXAT"), at(random, wallMs, 1000)];
    default:
      return [anyCase(random, "PXAT"), at(random, wallMs, 1)];
  }
}

function anyCase(random: Prng, word: string): string {
  return random.chance(0.5) ? word : word.toLowerCase();
}

function several<T>(random: Prng, max: number, make: () => T): T[] {
  return Array.from({ length: 1 + random.below(max) }, make);
}

function setOptions(random: Prng, settings: CommandSettings): string[] {
  const words: string[] = [];
  while (random.chance(0.5)) {
    if (random.chance(0.4)) words.push(...timeOption(random, settings));
    else
      words.push(
        anyCase(
          random,
          random.pick(["NX", "XX", "GET", "KEEPTTL", "NX", "XX", "GET", "PERSIST", "FOO", "EX"]),
        ),
      );
  }
  return words;
}

function expireOptions(random: Prng): string[] {
  const words: string[] = [];
  while (random.chance(0.4))
    words.push(anyCase(random, random.pick(["NX", "XX", "GT", "LT", "GT", "LT", "BAD"])));
  return words;
}

const MAKERS: readonly Maker[] = [
  (r, s) => ["set", key(r), value(r), ...setOptions(r, s)],
  (r, s) => ["SET", key(r), value(r), ...setOptions(r, s)],
  (r) => ["set", key(r), value(r)],
  (r) => ["get", key(r)],
  (r, s) => [
    "getex",
    key(r),
    ...(r.chance(0.6)
      ? timeOption(r, s)
      : r.pick([[], ["PERSIST"], ["KEEPTTL"], ["NX"], ["EX"], ["PERSIST", "EX", "9000"]])),
  ],
  (r) => ["getdel", key(r)],
  (r) => ["getset", key(r), value(r)],
  (r) => ["setnx", key(r), value(r)],
  (r) => ["setex", key(r), ttl(r, 1), value(r)],
  (r) => ["psetex", key(r), ttl(r, 1000), value(r)],
  (r) => [
    "mset",
    ...several(r, 3, () => [key(r), value(r)]).flat(),
    ...(r.chance(0.1) ? ["odd"] : []),
  ],
  (r) => [
    "msetnx",
    ...several(r, 2, () => [key(r), value(r)]).flat(),
    ...(r.chance(0.1) ? ["odd"] : []),
  ],
  (r) => ["mget", ...several(r, 4, () => key(r))],
  (r) => ["append", key(r), value(r)],
  (r) => ["strlen", key(r)],
  (r) => ["setrange", key(r), r.pick(OFFSETS), value(r)],
  (r) => ["getrange", key(r), r.pick(INDEXES), r.pick(INDEXES)],
  (r) => ["substr", key(r), r.pick(INDEXES), r.pick(INDEXES)],
  (r) => ["incr", key(r)],
  (r) => ["decr", key(r)],
  (r) => ["incrby", key(r), value(r)],
  (r) => ["decrby", key(r), value(r)],
  (r) => ["incrbyfloat", key(r), value(r)],
  (r) => ["incrbyfloat", key(r), `${r.chance(0.5) ? "-" : ""}${r.below(1e9)}.${r.below(1e9)}`],
  (r) => ["incrbyfloat", key(r), `${r.below(1e9)}e${r.below(40) - 20}`],
  (r) => [
    "lcs",
    key(r),
    key(r),
    ...(r.chance(0.6)
      ? several(r, 3, () => r.pick(["LEN", "IDX", "idx", "WITHMATCHLEN"]))
      : r.pick([
          [],
          ["MINMATCHLEN"],
          ["IDX", "MINMATCHLEN", "2"],
          ["IDX", "minmatchlen", "-4"],
          ["MINMATCHLEN", "x"],
          ["BAD"],
        ])),
  ],
  (r) => [r.pick(["del", "unlink"]), ...several(r, 3, () => key(r))],
  (r) => [r.pick(["exists", "touch"]), ...several(r, 4, () => key(r))],
  (r) => ["type", key(r)],
  (r) => ["expire", key(r), ttl(r, 1), ...expireOptions(r)],
  (r) => ["pexpire", key(r), ttl(r, 1000), ...expireOptions(r)],
  (r, s) => ["expireat", key(r), at(r, s.wallMs, 1000), ...expireOptions(r)],
  (r, s) => ["pexpireat", key(r), at(r, s.wallMs, 1), ...expireOptions(r)],
  (r) => ["ttl", key(r)],
  (r) => ["pttl", key(r)],
  (r) => ["expiretime", key(r)],
  (r) => ["pexpiretime", key(r)],
  (r) => ["persist", key(r)],
  (r) => ["rename", key(r), key(r)],
  (r) => ["renamenx", key(r), key(r)],
  (r) => [
    "copy",
    key(r),
    key(r),
    ...(r.chance(0.5)
      ? []
      : r.pick([
          ["REPLACE"],
          ["DB", "0"],
          ["db", "0", "replace"],
          ["DB", "x"],
          ["DB", "99"],
          ["DB", "99999999999"],
          ["DB"],
          ["FOO"],
        ])),
  ],
  (r) => ["keys", r.pick(PATTERNS)],
];

/** One command from the seed's sequence: the name first. */
export function randomCommand(random: Prng, settings: CommandSettings): string[] {
  if (random.chance(0.01))
    return [
      random.pick(["flushall", "flushdb"]),
      ...random.pick([[], ["async"], ["SYNC"], ["now"], ["sync", "sync"]]),
    ];
  const args = random.pick(MAKERS)(random, settings);
  if (random.chance(0.03)) return random.chance(0.5) ? args.slice(0, -1) : [...args, "extra"];
  return args;
}
