import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { LocalDoor } from "../../test/support/local-door.ts";
import { Refusal } from "../data/reply.ts";
import { Router } from "../router/router.ts";
import { createApp } from "./app.ts";
import { serveHttp } from "./serve.ts";

function setUp() {
  const door = new LocalDoor(4, "later");
  const state = {
    ready: true,
    errors: [] as unknown[],
    seen: [] as string[],
    areMetricsBroken: false,
  };
  const app = createApp({
    router: new Router(door),
    door,
    ready: () => (state.ready ? { ready: true } : { ready: false, reason: "no lease" }),
    metrics: () =>
      state.areMetricsBroken
        ? Promise.reject(new Error("broken"))
        : Promise.resolve({ contentType: "text/plain; version=0.0.4", body: "up 1\n" }),
    onError: (error) => state.errors.push(error),
    observer: {
      tallyOf: (name) => ({
        answered: (isRefusal, ms) => {
          assert.ok(ms >= 0);
          state.seen.push(`${name} ${isRefusal ? "error" : "ok"}`);
        },
      }),
    },
    bodyBytesMax: 1000,
  });
  const post = (type: string, body: string | Buffer) =>
    app.request("/set", { method: "POST", headers: { "content-type": type }, body });
  const json = (document: unknown) => post("application/json", JSON.stringify(document));
  return { door, app, state, post, json };
}

const FORM = "application/x-www-form-urlencoded";

async function bodyOf(response: Response): Promise<unknown> {
  assert.equal(response.headers.get("content-type"), "application/json");
  return response.json();
}

describe("createApp", () => {
  it("sets and gets by form and by JSON", async () => {
    const { app, post, json } = setUp();
    const set = await post(FORM, "key=a&value=1");
    assert.equal(set.status, 200);
    assert.deepEqual(await bodyOf(set), { status: "success" });
    assert.deepEqual(await bodyOf(await app.request("/get?key=a")), {
      status: "success",
      value: "1",
    });
    assert.equal((await json({ key: "b", value: "" })).status, 200);
    assert.deepEqual(await bodyOf(await app.request("/get?key=b")), {
      status: "success",
      value: "",
    });
    assert.equal(
      (await post("application/json; charset=utf-8", '{"key":"c","value":"3"}')).status,
      200,
    );
  });

  it("keeps text and bytes as they are", async () => {
    const { app, post, json } = setUp();
    await json({ key: "käse 🧀", value: "naïve\u0000\ufeff" });
    const text = await app.request(`/get?key=${encodeURIComponent("käse 🧀")}`);
    assert.deepEqual(await bodyOf(text), { status: "success", value: "naïve\u0000\ufeff" });
    await post(FORM, "key=a+b%2B&value=%C3%A9%3D%26+%zz");
    assert.deepEqual(await bodyOf(await app.request("/get?key=a%20b%2b")), {
      status: "success",
      value: "é=& %zz",
    });
  });

  it("answers a value that is no UTF-8 in base64, and any value if asked to", async () => {
    const { app, post } = setUp();
    await post(FORM, "key=%FF&value=%FF%00");
    const expected = { status: "success", value: "/wA=", encoding: "base64" };
    assert.deepEqual(await bodyOf(await app.request("/get?key=%ff")), expected);
    await post(FORM, "key=t&value=hi");
    assert.deepEqual(await bodyOf(await app.request("/get?key=t&encoding=base64")), {
      status: "success",
      value: "aGk=",
      encoding: "base64",
    });
    assert.equal((await app.request("/get?key=t&encoding=hex")).status, 400);
  });

  it("answers 404 for a missing key and for an unknown resource", async () => {
    const { app } = setUp();
    const missing = await app.request("/get?key=a");
    assert.equal(missing.status, 404);
    assert.deepEqual(await bodyOf(missing), { status: "not_found" });
    const unknown = await app.request("/nothing");
    assert.equal(unknown.status, 404);
    assert.deepEqual(await bodyOf(unknown), {
      status: "not_found",
      reason: "there is no such resource",
    });
  });

  const bad: readonly [name: string, type: string, body: string, status: number, reason: RegExp][] =
    [
      ["no key in a form", FORM, "value=1", 400, /^key is missing/],
      ["an empty key", FORM, "key=&value=1", 400, /^key must not be empty/],
      ["no value in a form", FORM, "key=a", 400, /^value is missing/],
      ["an empty form", FORM, "", 400, /^key is missing/],
      ["no key in JSON", "application/json", '{"value":"1"}', 400, /^key is missing/],
      ["no value in JSON", "application/json", '{"key":"1"}', 400, /^value is missing/],
      ["a number", "application/json", '{"key":"a","value":1}', 400, /^value must be a string/],
      ["null", "application/json", "null", 400, /must be a JSON object/],
      ["an array", "application/json", "[]", 400, /must be a JSON object/],
      ["no JSON", "application/json", "{", 400, /^the body is not JSON/],
      [
        "half a character",
        "application/json",
        '{"key":"\\ud800","value":""}',
        400,
        /not valid Unicode/,
      ],
      ["another type", "text/plain", "key=a&value=1", 415, /content type/],
      ["a large body", FORM, `key=a&value=${"x".repeat(1000)}`, 413, /larger than 1000 bytes/],
    ];
  for (const [name, type, body, status, reason] of bad) {
    it(`refuses ${name} with ${status} and the reason`, async () => {
      const { post, door } = setUp();
      const response = await post(type, body);
      assert.equal(response.status, status);
      const answer = (await bodyOf(response)) as { status: string; reason: string };
      assert.equal(answer.status, "error");
      assert.match(answer.reason, reason);
      assert.equal(door.submitted.length, 0);
    });
  }

  it("refuses JSON that is no UTF-8", async () => {
    const { post } = setUp();
    const body = Buffer.from('{"key":"\xff","value":"1"}', "latin1");
    assert.equal((await post("application/json", body)).status, 400);
  });

  it("counts a body whose length was not announced", async () => {
    const { app } = setUp();
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(Buffer.alloc(400, "x")),
    });
    const response = await app.request(
      new Request("http://localhost/set", {
        method: "POST",
        headers: { "content-type": FORM },
        body,
        duplex: "half",
      }),
    );
    assert.equal(response.status, 413);
  });

  it("refuses a get without a key", async () => {
    const { app } = setUp();
    assert.equal((await app.request("/get")).status, 400);
    assert.equal((await app.request("/get?key=")).status, 400);
  });

  for (const code of ["TRYAGAIN", "UNCERTAIN", "NOREPLICAS", "MISCONF"]) {
    it(`answers ${code} with 503, the reason and when to come back`, async () => {
      const { app, door, json } = setUp();
      door.intercept = () => new Refusal(code, "why");
      for (const response of [
        await json({ key: "a", value: "1" }),
        await app.request("/get?key=a"),
      ]) {
        assert.equal(response.status, 503);
        assert.equal(response.headers.get("retry-after"), "1");
        assert.deepEqual(await bodyOf(response), { status: "error", code, reason: "why" });
      }
    });
  }

  it("answers 503 before the first configuration", async () => {
    const { app, door } = setUp();
    door.isConfigured = false;
    const response = await app.request("/get?key=a");
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "1");
  });

  it("tells the observer of each command", async () => {
    const { app, door, json, state } = setUp();
    await json({ key: "a", value: "1" });
    door.intercept = () => new Refusal("TRYAGAIN", "why");
    await app.request("/get?key=a");
    assert.deepEqual(state.seen, ["set ok", "get error"]);
  });

  it("answers a key of another type with 409", async () => {
    const { app, door } = setUp();
    door.intercept = () => new Refusal("WRONGTYPE", "no string");
    assert.equal((await app.request("/get?key=a")).status, 409);
  });

  it("tells whether it lives, is ready, and what it measures", async () => {
    const { app, state } = setUp();
    assert.equal((await app.request("/healthz")).status, 200);
    assert.equal((await app.request("/readyz")).status, 200);
    state.ready = false;
    const unready = await app.request("/readyz");
    assert.equal(unready.status, 503);
    assert.deepEqual(await bodyOf(unready), { status: "error", reason: "no lease" });
    assert.equal((await app.request("/healthz")).status, 200);
    const metrics = await app.request("/metrics");
    assert.equal(metrics.headers.get("content-type"), "text/plain; version=0.0.4");
    assert.equal(await metrics.text(), "up 1\n");
  });

  it("tells the node's status and configuration", async () => {
    const { app, door } = setUp();
    const document = await bodyOf(await app.request("/status"));
    const expected: unknown = JSON.parse(
      JSON.stringify({ status: door.status(), configuration: door.configuration() }),
    );
    assert.deepEqual(document, expected);
  });

  it("reports its own failure without telling the client how", async () => {
    const { app, state } = setUp();
    state.areMetricsBroken = true;
    const response = await app.request("/metrics");
    assert.equal(response.status, 500);
    assert.deepEqual(await bodyOf(response), { status: "error", reason: "the server failed" });
    assert.equal(state.errors.length, 1);
  });
});

describe("serveHttp", () => {
  it("serves on a port until it is closed, and says when it is busy", async () => {
    const { app } = setUp();
    const server = await serveHttp(app, { host: "127.0.0.1", port: 0 });
    const url = `http://127.0.0.1:${server.port}`;
    try {
      const body = new URLSearchParams({ key: "a", value: "1" });
      assert.equal((await fetch(`${url}/set`, { method: "POST", body })).status, 200);
      assert.deepEqual(await (await fetch(`${url}/get?key=a`)).json(), {
        status: "success",
        value: "1",
      });
      const large = await fetch(`${url}/set`, {
        method: "POST",
        headers: { "content-type": FORM },
        body: "x".repeat(100_000),
      });
      assert.equal(large.status, 413);
      await assert.rejects(serveHttp(app, { host: "127.0.0.1", port: server.port }), {
        code: "EADDRINUSE",
      });
    } finally {
      await server.close(1000);
    }
    await assert.rejects(fetch(`${url}/healthz`));
  });
});
