import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "bounded-queue",
  story: "A backup hangs and its primary's uncommitted entries grow without end.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faults: ["pause-long", "slow-node"],
    faultEveryMs: 300,
    faultsForMs: 1_000,
    limits: { uncommittedBytesMax: 300, lagMsMax: 3_000 },
    workload: {
      ...QUIET_PLAN.workload,
      clients: 4,
      keys: 2,
      thinkMs: 10,
      pipelineMax: 12,
      readShare: 0.1,
    },
  },
  seeds: 6,
  mutants: [{ mutant: "no-backpressure", seeds: 6 }],
};
