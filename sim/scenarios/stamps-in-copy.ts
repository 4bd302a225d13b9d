import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, expectWithin, nodeOf, servesAt, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "stamps-in-copy",
  story:
    "A command is ordered and its answer does not get through; a replica that was copied after that becomes the primary, is asked again, and runs it twice.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 4,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, replicas: 2 },
    limits: { operationMsMax: 20_000 },
    faultsForMs: 3_000,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    script: (world, workload) => {
      const { queue, network } = world;
      queue.after(400, () => {
        // No replica of the shard, so it is answered by message, and that message is held up.
        network.hold("n1", "n4");
        workload.ask(nodeOf(world, "n4"), [{ kind: "incr", key: "key0", by: 1 }]);
        queue.after(100, () => crashUntilRemoved(world, "n2", 50));
        when(
          world,
          () =>
            (shardAt(world, "n2")?.epoch ?? 0) > 2 &&
            shardAt(world, "n2")?.isProven === true &&
            servesAt(world, "n2"),
          () => {
            world.crash("n1");
            expectWithin(world, 1_500, "the copied replica takes over", () =>
              servesAt(world, "n2"),
            );
          },
        );
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "copy-without-stamps", seeds: 6 }],
};
