import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { recordOf } from "./script.ts";

/** Two for the first removal and a promotion in the last moment before a member suspects. */
const EPOCHS_MAX = 3;

export const scenario: Scenario = {
  name: "flapping-promotion",
  story:
    "A learner that one member cannot hear is promoted and removed again every 0.4 s, and each time nothing commits.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 2_000,
    script: (world) => {
      const { queue, network } = world;
      queue.after(300, () => {
        const { epoch } = recordOf(world);
        network.mute("n3", "n2");
        network.hold("n3", "n2");
        queue.after(3_500, () => {
          const epochs = recordOf(world).epoch - epoch;
          if (epochs > EPOCHS_MAX) world.blame(`${epochs} epochs for one member that is not heard`);
          if (epochs === 0) world.blame("a member that is not heard stays");
        });
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "flapping-promotion", seeds: 3 }],
};
