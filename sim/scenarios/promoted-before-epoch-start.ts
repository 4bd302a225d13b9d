import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, membersOf, when } from "./script.ts";

export const scenario: Scenario = {
  name: "promoted-before-epoch-start",
  story:
    "A learner that was promoted by a lone primary, whose swap's answer is late, removes that primary and takes over without its last acknowledged writes.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 2,
    faultsForMs: 1_200,
    script: (world) => {
      const { register, queue, network } = world;
      queue.after(300, () => crashUntilRemoved(world, "n2", 350));
      when(
        world,
        () => membersOf(world).length === 1,
        () => {
          // The swap is made, and nobody tells the primary: it goes on alone in its epoch.
          register.lostAnswers = 1;
          when(
            world,
            () => membersOf(world).length === 2,
            () => {
              register.lostAnswers = 0;
              register.blind.add("n1");
              network.mute("n2", "n1");
              network.hold("n2", "n1");
            },
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [
    { mutant: "unproven-acts", seeds: 3 },
    { mutant: "skips-epoch-start", seeds: 3 },
  ],
};
