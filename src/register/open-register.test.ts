import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EtcdRegister } from "./etcd.ts";
import { openRegister, parseEtcdUrl, RegisterAddressError } from "./open-register.ts";
import { WitnessRegister } from "./witness-client.ts";

function open(url: string, environment: Record<string, string> = {}) {
  return openRegister(url, { timeoutMs: 100, environment });
}

describe("addresses of registers", () => {
  it("name a witness or etcd", async () => {
    const opened = ["http://127.0.0.1:17000", "etcd://a,b:1/x", "etcds://a"].map((url) =>
      open(url),
    );
    assert.ok(opened[0] instanceof WitnessRegister);
    assert.ok(opened[1] instanceof EtcdRegister);
    assert.ok(opened[2] instanceof EtcdRegister);
    for (const register of opened) await register.close();
  });

  const good: readonly [url: string, endpoints: readonly string[], key: string][] = [
    ["etcd://a", ["http://a:2379"], "/hothot/configuration"],
    ["etcd://a/", ["http://a:2379"], "/hothot/configuration"],
    ["etcd://a:1,b.c:2/x", ["http://a:1", "http://b.c:2"], "/x/configuration"],
    ["etcds://[::1]:3/x/y-1/", ["https://[::1]:3"], "/x/y-1/configuration"],
  ];
  for (const [url, endpoints, key] of good) {
    it(`are understood: ${url}`, () => assert.deepEqual(parseEtcdUrl(url), { endpoints, key }));
  }

  const bad: readonly [url: string, why: RegExp][] = [
    ["", /no address of a register/],
    ["127.0.0.1:17000", /no address of a register/],
    ["redis://a", /no address of a register/],
    ["https://a", /no address of a register/],
    ["http://", /no address of a witness/],
    ["etcd://", /"" in .* not the host:port/],
    ["etcd://a,", /"" in .* not the host:port/],
    ["etcd://a:0", /"a:0" in/],
    ["etcd://a:65536", /"a:65536" in/],
    ["etcd://a b", /"a b" in/],
    ["etcd://user:secret@a", /HOTHOT_ETCD_USER/],
    ["etcd://a/x//y", /"x\/\/y" in .* no prefix/],
    ["etcd://a/ü", /no prefix/],
    [`etcd://${Array(17).fill("a").join(",")}`, /more than 16/],
  ];
  for (const [url, why] of bad) {
    it(`are refused: ${url.slice(0, 40)}`, () => {
      assert.throws(() => open(url), { name: "RegisterAddressError", message: why });
    });
  }

  it("never show a password that stands in them", () => {
    try {
      open("etcd://user:secret@a");
      assert.fail("it was taken");
    } catch (error) {
      assert.ok(error instanceof RegisterAddressError && !error.message.includes("secret"));
    }
  });

  it("come with certificates and a login that are whole", () => {
    const dir = mkdtempSync(join(tmpdir(), "hothot-pem-"));
    const junk = join(dir, "junk.pem");
    writeFileSync(junk, "junk");
    const cases: readonly [environment: Record<string, string>, why: RegExp][] = [
      [{ HOTHOT_ETCD_USER: "u" }, /set together/],
      [{ HOTHOT_ETCD_PASSWORD: "p" }, /set together/],
      [{ HOTHOT_ETCD_CERT: junk }, /set together/],
      [{ HOTHOT_ETCD_KEY: junk }, /set together/],
      [{ HOTHOT_ETCD_CA: join(dir, "missing") }, /HOTHOT_ETCD_CA cannot be read/],
      [{ HOTHOT_ETCD_CERT: junk, HOTHOT_ETCD_KEY: junk }, /do not go together/],
    ];
    for (const [environment, why] of cases) {
      assert.throws(() => open("etcds://a", environment), {
        name: "RegisterAddressError",
        message: why,
      });
    }
    rmSync(dir, { recursive: true });
  });
});
