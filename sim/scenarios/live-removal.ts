import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { readAndWrite } from "./script.ts";

export const scenario: Scenario = {
  name: "live-removal",
  story:
    "A member that is alive and too slow is removed while its lease still holds, and serves stale reads.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    limits: { lagMsMax: 300 },
    workload: { ...QUIET_PLAN.workload, clients: 0 },
    script: (world, workload) => {
      const { register, queue, network } = world;
      readAndWrite(world, workload, { readers: ["n3"], writers: ["n1", "n2"], untilMs: 2_500 });
      // Its heartbeats go to and fro, but it hears of no write and of no new epoch.
      queue.after(400, () => {
        register.blind.add("n3");
        network.hold("n1", "n3");
        network.hold("n2", "n3");
      });
    },
  },
  seeds: 15,
  mutants: [
    { mutant: "removes-live-at-once", seeds: 3 },
    { mutant: "echo-of-any-epoch", seeds: 3 },
    { mutant: "commits-alone", seeds: 3 },
    { mutant: "commits-by-majority", seeds: 3 },
    { mutant: "arrival-is-ack", seeds: 3 },
  ],
};
