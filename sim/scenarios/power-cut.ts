import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "power-cut",
  story: "The power goes everywhere at once, and what was acknowledged was on no disk yet.",
  plan: {
    ...QUIET_PLAN,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, durability: "fsync" },
    faults: ["power-cut", "crash", "power-off", "isolate", "pause-long"],
    faultEveryMs: 300,
    faultsForMs: 1_500,
    syncMsMax: 30,
    network: { ...QUIET_NETWORK, delayMaxMs: 5 },
    workload: { ...QUIET_PLAN.workload, clients: 3, readShare: 0.3 },
  },
  seeds: 60,
  mutants: [{ mutant: "acks-before-disk", seeds: 15 }],
};
