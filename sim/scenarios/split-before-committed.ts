import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { betweenKeys, expectWithin, nodeOf, ON_BOTH_SIDES, splitAt } from "./script.ts";

export const scenario: Scenario = {
  name: "split-before-committed",
  story:
    "A transaction is ordered, and before the member that asked for it has it, the shard is divided between its keys: the member says that it was not executed, and it was.",
  plan: {
    ...QUIET_PLAN,
    faultsForMs: 1_000,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    nodeCount: 3,
    script: (world, workload) => {
      const { queue, network, register } = world;
      queue.after(400, () => {
        network.hold("n1", "n2");
        workload.ask(nodeOf(world, "n2"), [ON_BOTH_SIDES]);
        queue.after(10, () => splitAt(world, betweenKeys("key0", "key1")));
        queue.after(60, () => {
          network.release("n1", "n2");
          const isDivided = (): boolean => register.current.shards.length === 2;
          expectWithin(world, 300, "the shard is divided", isDivided);
        });
      });
    },
  },
  seeds: 20,
  mutants: [{ mutant: "split-before-committed", seeds: 12 }],
};
