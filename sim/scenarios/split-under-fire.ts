import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "split-under-fire",
  story:
    "Shards are divided while clients work, nodes die, swaps get lost and shards move: a command runs twice or in neither part, a transaction in one of them only, or a part has nobody who orders.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 4,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, replicas: 3 },
    faults: ["split", "split", "split", "crash", "transfer", "move", "lost-answers", "pause-short"],
    faultEveryMs: 120,
    faultsForMs: 2_500,
    network: { ...QUIET_NETWORK, delayMaxMs: 8 },
    workload: { ...QUIET_PLAN.workload, keys: 6, pipelineMax: 3, isSticky: false, thinkMs: 60 },
  },
  seeds: 60,
  mutants: [],
};
