import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, readAndWrite } from "./script.ts";

const UNTIL_MS = 2_000;

export const scenario: Scenario = {
  name: "recovers-beside-the-living",
  story:
    "A member restarts at once with all on its disk, and goes on alone without having heard the others, whose leases still hold: they serve what is old.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, durability: "fsync" },
    faultsForMs: UNTIL_MS,
    syncMsMax: 1,
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 200 },
    script: (world, workload) => {
      const { queue, network, register } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1"], untilMs: UNTIL_MS });
      queue.after(600, () => {
        world.crash("n1");
        world.isolate(new Set(["n1"]));
        register.blind.add("n2");
        register.blind.add("n3");
        world.restart("n1");
        readAndWrite(world, workload, { readers: [], writers: ["n1"], untilMs: UNTIL_MS });
        queue.after(400, () => {
          network.unblockAll();
          register.blind.clear();
          expectWithin(world, 3_000, "all are in sync again", () => membersOf(world).length === 3);
        });
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "recovers-beside-the-living", seeds: 6 }],
};
