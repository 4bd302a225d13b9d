import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf } from "./script.ts";

export const scenario: Scenario = {
  name: "stall-restart",
  story:
    "Suspicion timers that every stall of the own loop restarts never fire at a node that stalls often.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 2,
    faultsForMs: 2_400,
    // Not by what it lacks but by its silence.
    limits: { lagMsMax: 60_000 },
    script: (world) => {
      const { queue, prng } = world;
      const draw = prng.fork();
      queue.after(300, () => {
        world.crash("n2", true);
        expectWithin(
          world,
          2_400,
          "a node that stalls often removes a dead one",
          () => membersOf(world).length === 1,
        );
      });
      const stall = (): void => {
        world.pause("n1", draw.between(60, 100));
        if (queue.nowMs < 2_700) queue.after(draw.between(160, 240), stall);
      };
      queue.after(250, stall);
    },
  },
  seeds: 15,
  mutants: [{ mutant: "stall-restarts", seeds: 3 }],
};
