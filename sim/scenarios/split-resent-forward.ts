import { slotOf } from "../../src/kit/crc16.ts";
import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf, splitAt } from "./script.ts";

export const scenario: Scenario = {
  name: "split-resent-forward",
  story:
    "A command is ordered and its answer does not get through; then its shard is divided, and it is sent again to the new one, which runs it a second time.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 4,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, replicas: 2 },
    limits: { operationMsMax: 20_000 },
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    script: (world, workload) => {
      const { queue, network } = world;
      queue.after(400, () => {
        // No replica of the shard, so it is answered by message, and that message is held up.
        network.hold("n1", "n4");
        let isAnswered = false;
        workload.ask(nodeOf(world, "n4"), [{ kind: "incr", key: "key0", by: 1 }], () => {
          isAnswered = true;
        });
        queue.after(50, () => splitAt(world, slotOf("key0")));
        queue.after(250, () => {
          network.release("n1", "n4");
          expectWithin(world, 500, "the new shard answers", () => isAnswered);
        });
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "split-forgets-stamps", seeds: 6 }],
};
