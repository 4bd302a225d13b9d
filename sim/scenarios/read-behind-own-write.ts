import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "read-behind-own-write",
  story:
    "One session's reads and writes, sent without waiting, change their order when an epoch ends or the node is removed: a read misses its own write, or sees one that was sent after it.",
  plan: {
    ...QUIET_PLAN,
    faults: ["transfer", "pause-long", "isolate", "slow-node", "one-way", "reset-link"],
    faultEveryMs: 150,
    faultsForMs: 1_200,
    network: { ...QUIET_NETWORK, delayMaxMs: 10 },
    workload: { ...QUIET_PLAN.workload, clients: 4, pipelineMax: 6, readShare: 0.5, thinkMs: 30 },
  },
  seeds: 60,
  mutants: [
    { mutant: "reads-overtake", seeds: 3 },
    { mutant: "blind-resend", seeds: 15 },
  ],
};
