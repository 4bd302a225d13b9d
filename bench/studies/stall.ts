/**
 * The longest stall of a node's event loop, as HotHot's own metric tells it, with many keys: while they are written for the
 * first time, and under full load on them.
 *
 * Figures: `ms filling`, `ms load`, the worst of the three nodes.
 */

import { callHttp } from "../../src/cli/http-client.ts";
import { findCell, findSystem } from "../plan.ts";
import type { Runner } from "../runner.ts";
import type { Study, StudyResult } from "./study.ts";

const SYSTEM = "hothot3";
const CELLS = ["set16", "mixed16", "set"] as const;
const LOAD_MS = 5_000;
const WARM_MS = 500;
const METRIC = "nodejs_eventloop_lag_max_seconds";
const REQUEST_MS_MAX = 10_000;

export const stallStudy: Study = {
  name: "stall",
  title: "Longest stall of the event loop",
  systems: [SYSTEM],
  async run(options) {
    const result: StudyResult = {
      name: stallStudy.name,
      title: stallStudy.title,
      note: `Three nodes, ${options.manyKeys} keys with values of 64 bytes. ${METRIC} of the nodes' own metrics, the worst node.`,
      head: ["", "ms"],
      rows: [],
      figures: {},
      failures: [],
    };
    const runner = options.makeRunner(options.manyKeys);
    try {
      const system = findSystem(SYSTEM);
      await runner.start(system);
      await worstStallMs(runner);
      await runner.fill(system, 64);
      const filling = await worstStallMs(runner);
      result.figures["ms filling"] = filling;
      result.rows.push(["while filling", filling.toFixed(0)]);
      let worst = 0;
      for (const name of CELLS) {
        const cell = findCell(name);
        const pace = { kind: "closed", warmMs: WARM_MS, measureMs: LOAD_MS } as const;
        await runner.measure(system, cell, pace);
        const stall = await worstStallMs(runner);
        result.rows.push([cell.title, stall.toFixed(0)]);
        options.report(`stall ${name}: ${stall.toFixed(0)} ms`);
        worst = Math.max(worst, stall);
      }
      result.figures["ms load"] = worst;
    } finally {
      await runner.stop();
    }
    return result;
  },
};

/** Since the last time it was asked, for the metric begins anew with each answer. */
async function worstStallMs(runner: Runner): Promise<number> {
  const { httpPorts = [] } = runner.setupOf(findSystem(SYSTEM));
  const stalls = await Promise.all(
    httpPorts.map(async (port) => {
      const { body } = await callHttp({
        host: "127.0.0.1",
        port,
        path: "/metrics",
        timeoutMs: REQUEST_MS_MAX,
      });
      const value = new RegExp(`^${METRIC} (\\S+)`, "m").exec(body)?.[1];
      if (value === undefined) throw new Error(`there is no metric ${METRIC}`);
      return Number(value) * 1_000;
    }),
  );
  return Math.max(...stalls);
}
