import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { membersOf, nodeOf, when } from "./script.ts";

export const scenario: Scenario = {
  name: "stale-append",
  story:
    "What a primary sent before it was removed arrives when its links heal, after the next primary has ordered something else in its place.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 200 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      queue.after(400, () => {
        // It hears the others and orders on, for as long as its lease holds; nobody hears it.
        for (const peer of ["n2", "n3"]) {
          network.hold("n1", peer);
          network.mute("n1", peer);
        }
        const node = nodeOf(world, "n1");
        for (let round = 0; round < 4; round += 1) {
          queue.after(round * 20, () => {
            workload.ask(node, [{ kind: "append", key: "key1", value: `late ${round}.` }]);
          });
        }
        when(
          world,
          () => !membersOf(world).includes("n1"),
          () => {
            // A few entries of the new epoch, fewer than there are of the old one.
            const survivor = nodeOf(world, "n2");
            workload.ask(survivor, [{ kind: "append", key: "key1", value: "new." }]);
            queue.after(prng.between(5, 40), () => {
              for (const peer of ["n2", "n3"]) {
                network.release("n1", peer);
                network.unmute("n1", peer);
              }
            });
          },
        );
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "accepts-any-epoch", seeds: 9 }],
};
