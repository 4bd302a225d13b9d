import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, expectWithin, membersOf, nodeOf, when } from "./script.ts";

export const scenario: Scenario = {
  name: "register-blind-primary",
  story: "A primary that cannot reach the register can never promote a learner again.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 3_500,
    script: (world) => {
      const { register, queue } = world;
      queue.after(300, () => {
        register.blind.add("n1");
        crashUntilRemoved(world, "n3", 200);
      });
      when(
        world,
        () => nodeOf(world, "n3").isUp && !membersOf(world).includes("n3"),
        () => {
          expectWithin(
            world,
            4_000,
            "the returned node is promoted",
            () => membersOf(world).length === 3,
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "no-relay", seeds: 3 }],
};
