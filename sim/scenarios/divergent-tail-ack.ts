import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, nodeOf, servesAt, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "divergent-tail-ack",
  story:
    "A member acknowledged entries that no epoch kept, was removed, and came back; what it acknowledged then is counted for other entries of the same numbers.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 3_500,
    limits: { operationMsMax: 1_000 },
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
    script: (world, workload) => {
      const { queue, network } = world;
      const append = (id: string, value: string): void => {
        if (nodeOf(world, id).isUp) {
          workload.ask(nodeOf(world, id), [{ kind: "append", key: "key1", value }]);
        }
      };
      queue.after(500, () => {
        workload.stop();
        // n3 gets and acknowledges, to n2 too, what n2 never gets.
        network.hold("n1", "n2");
        for (let round = 0; round < 12; round += 1) append("n1", `lost ${round}.`);
      });
      queue.after(540, () => {
        world.pause("n1", 4_000);
        world.pause("n3", 1_100);
        queue.after(100, () => world.crash("n1"));
      });
      when(
        world,
        () =>
          membersOf(world).length === 1 && membersOf(world)[0] === "n2" && servesAt(world, "n2"),
        () => {
          append("n2", "kept.");
          when(
            world,
            () => membersOf(world).includes("n3") && shardAt(world, "n3")?.isProven === true,
            () =>
              queue.after(20, () => {
                network.hold("n2", "n3");
                append("n2", "acknowledged?");
                queue.after(100, () => {
                  world.crash("n2");
                  expectWithin(world, 2_500, "who came back serves", () => servesAt(world, "n3"));
                });
              }),
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "acks-of-any-epoch", seeds: 15 }],
};
