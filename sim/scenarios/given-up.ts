import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, expectWithin, nodeOf, recordOf, shardAt } from "./script.ts";

/** Longer than an operation waits, shorter than a member may lag. */
const HELD_MS = 1_200;

export const scenario: Scenario = {
  name: "given-up",
  story:
    "A member forwards a write and gives up before the primary's stream comes, which refers to that very write instead of repeating it: the member does not know any more what it was.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 3_000,
    limits: { operationMsMax: 100, lagMsMax: 10_000 },
    workload: { ...QUIET_PLAN.workload, clients: 0 },
    script: (world) => {
      const { queue, network } = world;
      queue.after(300, () => {
        const { primary } = recordOf(world);
        const member = primary === "n2" ? "n3" : "n2";
        network.hold(primary, member);
        command(world, nodeOf(world, member), ["SET", "aside", "given up."]);
        queue.after(HELD_MS, () => {
          const entries = shardAt(world, primary)?.log.lastSeq ?? 0;
          if (entries === 0) world.blame("the primary has not ordered the write");
          network.release(primary, member);
          expectWithin(
            world,
            100,
            "the member gets the write whole",
            () => (shardAt(world, member)?.commitSeq ?? 0) >= entries,
          );
        });
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "stubs-all", seeds: 3 }],
};
