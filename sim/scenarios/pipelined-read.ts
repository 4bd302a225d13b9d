import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "pipelined-read",
  story:
    "A GET behind a forwarded SET on one connection is read locally and sees the value before it.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faults: ["reset-link", "transfer"],
    faultEveryMs: 100,
    faultsForMs: 600,
    workload: { ...QUIET_PLAN.workload, clients: 4, pipelineMax: 6, readShare: 0.5 },
  },
  seeds: 30,
  mutants: [
    { mutant: "reads-overtake", seeds: 3 },
    { mutant: "two-primaries", seeds: 6 },
  ],
};
