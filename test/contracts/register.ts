/** What every implementation of the register has to do. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DEFAULT_SETTINGS, initialConfiguration } from "../../src/register/placement.ts";
import type { Register } from "../../src/register/register.ts";
import type { Configuration } from "../../src/replica/configuration.ts";

/** A valid document of any version; `mark` makes documents of one version different. */
export function documentOf(version: number, mark = 1, clusterId = "contract"): Configuration {
  const first = initialConfiguration({
    clusterId,
    nodes: ["n1", "n2", "n3"].map((id, index) => ({
      id,
      host: "127.0.0.1",
      zone: "",
      peerPort: 7101 + index,
      respPort: 7001 + index,
      httpPort: 8001 + index,
    })),
    settings: { ...DEFAULT_SETTINGS, shardCount: 4 },
  });
  const nodes = first.nodes.map((node) => ({ ...node, incarnation: mark }));
  return { ...first, version, nodes };
}

/** A fresh, empty register, and further views of the same one as other nodes have. */
export interface RegisterFixture {
  open(): Promise<Register>;
  close(): Promise<void>;
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < end, `waited in vain: ${what}`);
    await sleep(2);
  }
}

export function registerContract(name: string, create: () => Promise<RegisterFixture>): void {
  const using =
    (body: (fixture: RegisterFixture) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const fixture = await create();
      try {
        await body(fixture);
      } finally {
        await fixture.close();
      }
    };

  describe(`register contract: ${name}`, () => {
    it(
      "begins empty and takes only version 1 then",
      using(async (fixture) => {
        const register = await fixture.open();
        assert.equal(await register.read(), undefined);
        assert.deepEqual(await register.swap(documentOf(2)), {
          outcome: "conflict",
          current: undefined,
        });
        assert.deepEqual(await register.swap(documentOf(1)), { outcome: "done" });
        assert.deepEqual(await register.read(), documentOf(1));
      }),
    );

    it(
      "takes the next version only, and tells the loser what it holds",
      using(async (fixture) => {
        const register = await fixture.open();
        const other = await fixture.open();
        await register.swap(documentOf(1));
        for (const version of [1, 3]) {
          assert.deepEqual(await other.swap(documentOf(version, 9)), {
            outcome: "conflict",
            current: documentOf(1),
          });
        }
        assert.deepEqual(await other.swap(documentOf(2)), { outcome: "done" });
        assert.deepEqual(await register.read(), documentOf(2));
      }),
    );

    it(
      "brings a document again only when it is another one by now",
      using(async (fixture) => {
        const register = await fixture.open();
        const other = await fixture.open();
        await register.swap(documentOf(1));
        const first = await other.read();
        assert.deepEqual(first, documentOf(1));
        assert.equal(await other.read(), first);
        await register.swap(documentOf(2));
        assert.deepEqual(await other.read(), documentOf(2));
      }),
    );

    it(
      "lets exactly one of many racers win each version",
      using(async (fixture) => {
        const racers = await Promise.all(Array.from({ length: 4 }, () => fixture.open()));
        for (let version = 1; version <= 5; version++) {
          const results = await Promise.all(
            racers.map((racer, index) => racer.swap(documentOf(version, index + 1))),
          );
          const winners = results.flatMap((result, index) =>
            result.outcome === "done" ? [index + 1] : [],
          );
          assert.equal(winners.length, 1, JSON.stringify(results));
          assert.deepEqual(await racers[0]?.read(), documentOf(version, winners[0]));
        }
      }),
    );

    it(
      "refuses another cluster's document",
      using(async (fixture) => {
        const register = await fixture.open();
        await register.swap(documentOf(1));
        await assert.rejects(register.swap(documentOf(2, 1, "other")), {
          name: "RegisterError",
          code: "refused",
        });
        assert.deepEqual(await register.read(), documentOf(1));
      }),
    );

    it(
      "refuses what is no document, and a newer format",
      using(async (fixture) => {
        const register = await fixture.open();
        const bad = [
          { ...documentOf(1), format: 2 },
          { ...documentOf(1), shards: [] },
          { ...documentOf(1), version: 1.5 },
          { ...documentOf(1), nodes: [] },
        ];
        for (const document of bad) {
          await assert.rejects(register.swap(document as unknown as Configuration), {
            code: "refused",
          });
        }
        assert.equal(await register.read(), undefined);
      }),
    );

    it(
      "shows watchers what is there and what comes, in ascending order",
      using(async (fixture) => {
        const writer = await fixture.open();
        const reader = await fixture.open();
        const seen: number[] = [];
        await writer.swap(documentOf(1));
        reader.watch(0, (document) => seen.push(document.version));
        await until("the first is seen", () => seen.includes(1));
        for (let version = 2; version <= 10; version++) await writer.swap(documentOf(version));
        await until("the last is seen", () => seen.includes(10));
        assert.deepEqual(
          seen,
          [...new Set(seen)].sort((a, b) => a - b),
        );
      }),
    );

    it(
      "shows a watcher nothing that it has seen, nothing after its end, and one writes on",
      using(async (fixture) => {
        const register = await fixture.open();
        await register.swap(documentOf(1));
        const late: number[] = [];
        const ended: number[] = [];
        register.watch(1, (document) => late.push(document.version));
        const end = register.watch(1, (document) => ended.push(document.version));
        end();
        await register.swap(documentOf(2));
        await until("the second is seen", () => late.length > 0);
        assert.deepEqual(late, [2]);
        assert.deepEqual(ended, []);
      }),
    );

    it(
      "keeps no reference to what it was given",
      using(async (fixture) => {
        const register = await fixture.open();
        const document = documentOf(1);
        await register.swap(document);
        (document.nodes as unknown[]).length = 0;
        assert.deepEqual(await register.read(), documentOf(1));
      }),
    );
  });
}
