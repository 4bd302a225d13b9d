/** Checks the code itself: who imports whom, what the pure rooms must never mention, and that no loose end is left. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { test } from "node:test";

/** Room → rooms that it may import. A room may always import itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | "all">> = {
  kit: [],
  sockets: [],
  data: ["kit"],
  resp: ["kit", "data"],
  commands: ["kit", "data", "replica"],
  replica: ["kit", "data"],
  history: ["kit"],
  register: ["kit", "replica"],
  store: ["kit", "data", "replica"],
  peers: ["kit", "data", "resp", "replica", "sockets"],
  router: ["kit", "data", "commands", "replica"],
  server: ["kit", "data", "resp", "commands", "router", "replica", "sockets"],
  threads: ["kit", "data", "commands", "replica", "router", "server", "node"],
  http: ["kit", "data", "router", "replica"],
  node: ["kit", "data", "commands", "replica", "peers", "register", "router", "store"],
  cli: "all",
  main: "all",
};

/** Rooms that get everything as arguments, the time included, so that the simulator owns all that can vary. */
const PURE_ROOMS = ["kit", "data", "commands", "replica", "history"];

/** What would let time, chance or the environment into a pure room. */
const IMPURE: readonly { readonly name: string; readonly pattern: RegExp }[] = [
  { name: "Date", pattern: /\bDate\b/ },
  { name: "performance", pattern: /\bperformance\s*\./ },
  { name: "Math.random", pattern: /\bMath\.random\b/ },
  { name: "crypto", pattern: /\bcrypto\b/ },
  { name: "timers", pattern: /\b(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick)\b/ },
  { name: "process", pattern: /\bprocess\s*\.|\bglobalThis\b/ },
  { name: "Promise or async", pattern: /\bPromise\b|\basync\b|\bawait\b/ },
  { name: "a module of Node.js", pattern: /from "node:/ },
];

const root = resolve(import.meta.dirname, "../..");
const src = join(root, "src");
const sources = filesUnder(src, ".ts").filter((file) => !file.endsWith(".test.ts"));

test("every room is in the table of imports", () => {
  const rooms = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.deepEqual(
    rooms.map((entry) => entry.name).filter((name) => MAY_IMPORT[name] === undefined),
    [],
  );
});

test("rooms import only what the table allows", () => {
  const broken: string[] = [];
  for (const file of sources) {
    const room = roomOf(file);
    const allowed = MAY_IMPORT[room] ?? [];
    for (const [, target = ""] of read(file).matchAll(/(?:from|import) "(\.{1,2}\/[^"]+)"/g)) {
      const to = roomOf(resolve(dirname(file), target));
      if (to !== room && allowed !== "all" && !allowed.includes(to))
        broken.push(`${name(file)} -> ${to}`);
    }
  }
  assert.deepEqual(broken, []);
});

test("only the driver and what is above it sees the core itself", () => {
  const open =
    /^(?:configuration|parse-configuration|messages|entry|entry-batch|entry-codec|issuers|ports|surface|journal)\.ts$/;
  const insiders = ["replica", "node", "cli", "main"];
  const broken: string[] = [];
  for (const file of sources) {
    if (insiders.includes(roomOf(file))) continue;
    for (const [, target = ""] of read(file).matchAll(/from "\.\.\/replica\/([^"]+)"/g)) {
      if (!open.test(target)) broken.push(`${name(file)} -> replica/${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test("no clock, chance, timer, environment or promise in the pure rooms", () => {
  const broken: string[] = [];
  for (const file of sources) {
    if (!PURE_ROOMS.includes(roomOf(file))) continue;
    for (const [index, line] of withoutComments(read(file)).split("\n").entries()) {
      for (const { name: what, pattern } of IMPURE) {
        if (pattern.test(line)) broken.push(`${name(file)}:${index + 1}: ${what}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

test("every source file opens with what it is for", () => {
  const broken = sources.filter((file) => !/^(#!.*\n)?\/\*\*/.test(read(file))).map(name);
  assert.deepEqual(broken, []);
});

test("nothing is left to do", () => {
  const word = new RegExp(["TO", "DO|FIX", "ME|XX", "X"].join(""));
  const files = ["src", "test", "sim", "bench"].flatMap((folder) =>
    filesUnder(join(root, folder), ".ts"),
  );
  assert.deepEqual(files.filter((file) => word.test(read(file))).map(name), []);
});

test("no test is left out or alone", () => {
  const files = ["src", "test", "sim", "bench"].flatMap((folder) =>
    filesUnder(join(root, folder), ".test.ts"),
  );
  assert.deepEqual(
    files.filter((file) => /\b(?:test|it|describe)\.(?:only|todo)\(/.test(read(file))).map(name),
    [],
  );
});

test("links between documents lead somewhere", () => {
  const documents = [
    ...readdirSync(root)
      .filter((file) => file.endsWith(".md"))
      .map((file) => join(root, file)),
    ...filesUnder(join(root, "docs"), ".md"),
  ];
  assert.ok(documents.length > 0);
  const broken: string[] = [];
  for (const document of documents) {
    for (const [, target = ""] of read(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? document : resolve(dirname(document), path);
      if (!existsSync(file)) broken.push(`${name(document)} -> ${target}`);
      else if (anchor !== undefined && !anchorsOf(read(file)).includes(anchor)) {
        broken.push(`${name(document)} -> ${target} (no such heading)`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

function filesUnder(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file))
    .sort();
}

function read(file: string): string {
  return readFileSync(file, "utf8");
}

function roomOf(file: string): string {
  return relative(src, file).split(sep)[0] ?? "";
}

function name(file: string): string {
  return relative(root, file);
}

/** Blanks comments and text in quotes, line by line, so that prose may name what code must not. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/(^|\s)\/\/.*$/gm, "")
    .replace(/(?<!from )"(?:[^"\\\n]|\\.)*"/g, '""');
}

/** Names that GitHub gives to the headings of a document. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
