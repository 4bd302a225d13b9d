import { ONE_SHARD, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { membersOf, nodeOf } from "./script.ts";

export const scenario: Scenario = {
  name: "below-min-answers-ok",
  story:
    "A write that waits for a member that has died is answered OK when it commits in the next epoch, which has fewer copies than the minimum.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { ...ONE_SHARD, minInSync: 3 },
    faultsForMs: 200,
    script: (world, workload) => {
      const { queue, network, prng } = world;
      const draw = prng.fork();
      queue.after(350, () => {
        network.hold("n1", "n3");
        queue.after(draw.between(5, 60), () => world.crash("n3", true));
      });
      const write = (): void => {
        const id = draw.pick(["n1", "n2"]);
        const action = { kind: "append", key: "key1", value: "+" } as const;
        workload.ask(nodeOf(world, id), [action], ({ outcome }) => {
          if (outcome === "ok" && membersOf(world).length < 3) {
            world.blame(`${id} answers OK below the minimum of copies`);
          }
        });
        if (queue.nowMs < 1_200) queue.after(draw.between(5, 40), write);
      };
      queue.after(300, write);
    },
  },
  seeds: 20,
  mutants: [{ mutant: "below-min-answers-ok", seeds: 3 }],
};
