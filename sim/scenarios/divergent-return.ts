import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, nodeOf, recordOf, servesAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "divergent-return",
  story:
    "A primary orders what nobody else gets, is removed, and comes back with its log: it goes on from there, and holds what never was.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 3_000,
    limits: { operationMsMax: 1_000 },
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
    script: (world, workload) => {
      const { queue, network } = world;
      const append = (id: string, value: string): void => {
        workload.ask(nodeOf(world, id), [{ kind: "append", key: "key1", value }]);
      };
      queue.after(500, () => {
        network.hold("n1", "n2");
        network.hold("n1", "n3");
        for (let round = 0; round < 3; round += 1) append("n1", `lost ${round}.`);
        world.isolate(new Set(["n1"]));
        world.register.blind.add("n1");
      });
      when(
        world,
        () => !membersOf(world).includes("n1") && servesAt(world, recordOf(world).primary),
        () => {
          for (let round = 0; round < 9; round += 1) {
            append(recordOf(world).primary, `kept ${round}.`);
          }
          queue.after(100, () => {
            network.unblockAll();
            for (const to of ["n2", "n3"]) {
              network.reset("n1", to);
              network.release("n1", to);
            }
            world.register.blind.delete("n1");
            expectWithin(world, 3_000, "who was removed is in sync again", () =>
              membersOf(world).includes("n1"),
            );
          });
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "trusts-old-logs", seeds: 3 }],
};
