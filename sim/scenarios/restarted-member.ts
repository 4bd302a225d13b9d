import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf, recordOf } from "./script.ts";

export const scenario: Scenario = {
  name: "restarted-member",
  story:
    "The heartbeats of a restarted member, or an echo of its predecessor's clock, keep its dead membership alive: nothing commits, and it never comes back.",
  plan: {
    ...QUIET_PLAN,
    faultsForMs: 1_500,
    script: (world) => {
      const { queue, prng } = world;
      const draw = prng.fork();
      const victim = draw.pick(["n1", "n2"]);
      queue.after(300, () => {
        const dead = nodeOf(world, victim).incarnation;
        world.crash(victim, draw.chance(0.5));
        queue.after(draw.between(1, 60), () => world.restart(victim));
        const isDeadListed = (): boolean =>
          recordOf(world).inSync.some(({ incarnation }) => incarnation === dead);
        expectWithin(
          world,
          800,
          "the dead membership is removed although its node runs again",
          () => !isDeadListed(),
          () => {
            expectWithin(world, 1_500, "the restarted node is in sync again", () =>
              recordOf(world).inSync.some(({ node }) => node === victim),
            );
          },
        );
      });
    },
  },
  seeds: 30,
  mutants: [{ mutant: "counts-predecessors", seeds: 3 }],
};
