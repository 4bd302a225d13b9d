import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "reads-elsewhere",
  story:
    "Nodes that are no replicas have their reads answered by whichever replica has least to do: pipelined reads overtake each other, a write's own session does not see it, or a replica that may not serve answers.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 5,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, replicas: 3 },
    faults: ["reset-link", "transfer", "pause-short", "one-way", "crash"],
    faultEveryMs: 150,
    faultsForMs: 1_500,
    network: { ...QUIET_NETWORK, delayMaxMs: 10 },
    workload: {
      ...QUIET_PLAN.workload,
      clients: 4,
      pipelineMax: 6,
      readShare: 0.7,
      thinkMs: 30,
      isSticky: false,
      hasExpiry: true,
    },
  },
  seeds: 60,
  mutants: [{ mutant: "scatters-reads", seeds: 6 }],
};
