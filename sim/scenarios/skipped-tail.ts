import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf, recordOf, servesAt, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "skipped-tail",
  story:
    "A new primary lacks entries that another member has, and orders others in their place: that member's clients are told of writes that are lost.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_000,
    workload: { ...QUIET_PLAN.workload, clients: 2 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      const draw = prng.fork();
      queue.after(350, () => {
        network.hold("n1", "n2");
        const count = 1 + draw.below(4);
        for (let index = 0; index < count; index += 1) {
          const id = draw.pick(["n1", "n3"]);
          workload.ask(nodeOf(world, id), [{ kind: "append", key: "key1", value: `${index}.` }]);
        }
        queue.after(draw.between(10, 40), () => world.crash("n1"));
      });
      when(
        world,
        () => shardAt(world, "n2")?.isStarted === true && recordOf(world).primary === "n2",
        () => {
          workload.ask(nodeOf(world, "n2"), [{ kind: "append", key: "key1", value: "next." }]);
          expectWithin(world, 400, "both survivors serve", () =>
            ["n2", "n3"].every((id) => servesAt(world, id)),
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "skips-tail", seeds: 9 }],
};
