import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "moves",
  story:
    "Shards move from node to node while clients work and nodes die: two nodes own one, a copy is thrown away before the next is whole, or the move never ends.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 5,
    settings: { shardCount: 2, replication: "sync", minInSync: 1, replicas: 2 },
    faults: ["move", "move", "crash", "transfer", "register-down", "reset-link"],
    faultEveryMs: 120,
    faultsForMs: 2_500,
    network: { ...QUIET_NETWORK, delayMaxMs: 5 },
    workload: { ...QUIET_PLAN.workload, keys: 4, isSticky: false },
  },
  seeds: 60,
  mutants: [],
};
