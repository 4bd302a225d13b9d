import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import {
  crashUntilRemoved,
  expectWithin,
  membersOf,
  nodeOf,
  servesAt,
  shardAt,
  when,
} from "./script.ts";

export const scenario: Scenario = {
  name: "dirty-snapshot",
  story:
    "A promoted learner serves what its copy held uncommitted, although another member has not got it, and the write is then lost; or that other one can get it from nobody.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_400,
    limits: { lagMsMax: 5_000 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      const isBoth = prng.chance(0.5);
      queue.after(300, () => crashUntilRemoved(world, "n3", 700));
      when(
        world,
        () => !membersOf(world).includes("n3"),
        () =>
          queue.after(650, () => {
            // What the primary orders from now on does not reach the other member, so none of it is committed.
            network.hold("n1", "n2");
            const value = "uncommitted.";
            workload.ask(nodeOf(world, "n1"), [{ kind: "set", key: "key1", value }]);
          }),
      );
      const readAtLearner = (): void => {
        if (nodeOf(world, "n3").isUp && queue.nowMs < 2_500) {
          workload.ask(nodeOf(world, "n3"), [{ kind: "get", key: "key1" }]);
          queue.after(10, readAtLearner);
        }
      };
      when(
        world,
        () => nodeOf(world, "n3").isUp && shardAt(world, "n3")?.learner.isReady === true,
        () => {
          readAtLearner();
          queue.after(500, () => {
            // Either only the member that never got it is left, or also the one that has it as state and not as an entry.
            world.crash("n1");
            if (isBoth && membersOf(world).includes("n3")) world.crash("n3");
            expectWithin(world, 1_200, "who is left serves", () => servesAt(world, "n2"));
          });
        },
      );
    },
  },
  seeds: 15,
  mutants: [
    { mutant: "dirty-snapshot", seeds: 6 },
    { mutant: "dirty-reads", seeds: 9 },
  ],
};
