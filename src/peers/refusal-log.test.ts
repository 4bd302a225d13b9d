import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PeerProtocolError } from "./errors.ts";
import { RefusalLog } from "./refusal-log.ts";

const refusal = (message: string): PeerProtocolError => new PeerProtocolError("secret", message);

describe("refusals in the log", () => {
  it("of a peer are told once each, until it has been linked", () => {
    const log = new RefusalLog();
    assert.ok(log.isNews("n1", refusal("a"), 0));
    assert.ok(!log.isNews("n1", refusal("a"), 1e9));
    assert.ok(log.isNews("n1", refusal("b"), 1));
    assert.ok(log.isNews("n2", refusal("a"), 2));
    log.forget("n1");
    assert.ok(log.isNews("n1", refusal("a"), 3));
  });

  it("of strangers are told once a kind and minute, whatever they say", () => {
    const log = new RefusalLog();
    const told = Array.from({ length: 1000 }, (_, i) =>
      log.isNews(undefined, refusal(`text ${i}`), i * 1000),
    );
    assert.equal(told.filter(Boolean).length, Math.ceil(1000 / 60));
  });

  it("that differ each time, as of a peer that makes them up, are bounded", () => {
    const log = new RefusalLog();
    const told = Array.from({ length: 5000 }, (_, i) =>
      log.isNews("n1", refusal(`text ${i}`), i * 10),
    );
    assert.equal(told.filter(Boolean).length, 16);
    assert.ok(log.isNews("n1", refusal("another, much later"), 1e6));
  });
});
