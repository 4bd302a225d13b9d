import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { SharedCounts } from "./shared-counts.ts";

test("connections have numbers of their own, and no more are admitted than there may be", () => {
  const one = new SharedCounts();
  const other = new SharedCounts(one.memory);
  assert.deepEqual([one.admit(3), other.admit(3), one.admit(3)], [1, 2, 3]);
  assert.equal(other.admit(3), undefined);
  assert.equal(other.connections, 3);
  one.left();
  assert.equal(other.connections, 2);
  assert.equal(other.admit(3), 4, "no number is given twice, and who is refused takes none");
  assert.equal(one.admit(2), undefined);
  assert.equal(one.connections, 3);
});

test("threads that admit at the same time give no number twice, and leave no count behind", async (t) => {
  const counts = new SharedCounts();
  const script = `
    import { parentPort, workerData } from "node:worker_threads";
    import { SharedCounts } from ${JSON.stringify(new URL("./shared-counts.js", import.meta.url).href)};
    const counts = new SharedCounts(workerData);
    const ids = [];
    for (let n = 0; n < 50_000; n += 1) {
      const id = counts.admit(10);
      ids.push(id);
      counts.left();
    }
    parentPort.postMessage(ids);
  `;
  const lists = await Promise.all(
    [1, 2].map(
      () =>
        new Promise<number[]>((resolve, reject) => {
          const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
            workerData: counts.memory,
          });
          t.after(() => worker.terminate());
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    ),
  );
  const ids = lists.flat();
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(counts.admit(1), ids.length + 1);
  counts.left();
  assert.equal(counts.connections, 0);
});
