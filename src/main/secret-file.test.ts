import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { ensureSecretFile, isLoopback, readSecretFile, secretFromText } from "./secret-file.ts";

let dir: string;
let path: string;
const warnings: string[] = [];
const read = (): Buffer | undefined => readSecretFile(path, (text) => warnings.push(text));

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "hothot-secret-"));
  path = join(dir, "secret");
  warnings.length = 0;
});

afterEach(() => rmSync(dir, { recursive: true }));

describe("a cluster secret's file", () => {
  it("is made once, for its owner alone", () => {
    ensureSecretFile(path);
    const first = readFileSync(path, "utf8");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(read()?.length, 64);
    assert.deepEqual(warnings, []);
    ensureSecretFile(path);
    assert.equal(readFileSync(path, "utf8"), first);
  });

  it("is used, with a warning, when others may read it", () => {
    ensureSecretFile(path);
    chmodSync(path, 0o644);
    assert.equal(read()?.length, 64);
    assert.match(warnings.join(), /chmod 600/);
  });

  it("is refused by its name when it is missing or too short, and what is in it is not told", () => {
    assert.throws(read, (error: Error) => error.message.startsWith(path));
    writeFileSync(path, "hunter2\n", { mode: 0o600 });
    assert.throws(read, (error: Error) => {
      assert.match(error.message, /7 bytes and needs 32 to 4096/);
      assert.doesNotMatch(error.message, /hunter2/);
      return error.message.startsWith(path);
    });
  });

  it("may come from the environment instead", () => {
    assert.equal(secretFromText(undefined), undefined);
    const text = "0123456789abcdef0123456789abcdef";
    assert.deepEqual(secretFromText(`${text}\n`), Buffer.from(text));
    assert.throws(() => secretFromText(""), /0 bytes/);
  });
});

it("only this machine's own addresses need no secret", () => {
  for (const host of ["127.0.0.1", "127.3.2.1", "::1", "localhost"]) assert.ok(isLoopback(host));
  for (const host of ["10.0.0.1", "0.0.0.0", "::", "127.example", "node1"]) {
    assert.ok(!isLoopback(host), host);
  }
});
