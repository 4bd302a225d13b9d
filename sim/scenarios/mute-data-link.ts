import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, servesAt } from "./script.ts";

export const scenario: Scenario = {
  name: "mute-data-link",
  story:
    "A member's heartbeats arrive and nothing else does, just when an epoch has to start: nobody suspects it, and the shard waits for its position without end.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 2_500,
    limits: { lagMsMax: 400 },
    script: (world) => {
      const { queue, network } = world;
      queue.after(500, () => {
        network.hold("n3", "n2");
        network.hold("n2", "n3");
        world.crash("n1");
        expectWithin(
          world,
          2_500,
          "one of the two goes on alone",
          () => membersOf(world).length === 1 && (servesAt(world, "n2") || servesAt(world, "n3")),
        );
      });
    },
  },
  seeds: 15,
  mutants: [],
};
