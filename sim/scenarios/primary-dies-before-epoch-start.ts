import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, recordOf, servesAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "primary-dies-before-epoch-start",
  story:
    "The new primary dies before it has sent its epoch start; the member that waits for it counts as unproven and may not remove it.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    script: (world) => {
      const { queue } = world;
      queue.after(350, () => world.crash("n1"));
      when(
        world,
        () => recordOf(world).primary === "n2",
        () => {
          world.crash("n2", true);
          expectWithin(
            world,
            700,
            "the last member removes the second primary and serves",
            () => recordOf(world).primary === "n3" && servesAt(world, "n3"),
          );
        },
      );
    },
  },
  seeds: 20,
  mutants: [{ mutant: "proven-anew", seeds: 3 }],
};
