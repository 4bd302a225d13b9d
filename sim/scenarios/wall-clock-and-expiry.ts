import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "wall-clock-and-expiry",
  story:
    "Wall clocks differ by minutes, and each node judges by its own whether a key has ended: one says so, the other still shows it, and after a takeover it ends again or lives on.",
  plan: {
    ...QUIET_PLAN,
    drift: 0.045,
    wallSkewMs: 300_000,
    faults: ["transfer", "crash", "pause-short", "clock-jump"],
    faultEveryMs: 400,
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, hasExpiry: true, readShare: 0.6, keys: 4 },
  },
  seeds: 50,
  mutants: [{ mutant: "backup-expires", seeds: 9 }],
};
