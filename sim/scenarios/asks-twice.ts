import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { membersOf, nodeOf, shardAt, when } from "./script.ts";

/** Longer than a learner waits for an answer before it asks again. */
const ASKS_AGAIN_MS = 130;

export const scenario: Scenario = {
  name: "asks-twice",
  story:
    "A learner asks again before it hears that it is fed, and the primary hears in one go that question, that the learner has all, and that all is committed: it feeds it anew from what it has just cut.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    limits: { retainedBytesMax: 0 },
    workload: { ...QUIET_PLAN.workload, clients: 0 },
    script: (world, workload) => {
      const { queue, network } = world;
      queue.after(200, () => {
        workload.ask(nodeOf(world, "n1"), [{ kind: "append", key: "key1", value: "one." }]);
      });
      queue.after(300, () => world.isolate(new Set(["n3"])));
      when(
        world,
        () => membersOf(world).length === 2,
        () => {
          network.unblockAll();
          network.hold("n1", "n3");
          when(
            world,
            () => shardAt(world, "n1")?.donor.status().length === 1,
            () => {
              network.hold("n3", "n1");
              queue.after(ASKS_AGAIN_MS, () => {
                network.hold("n2", "n1");
                workload.ask(nodeOf(world, "n1"), [{ kind: "append", key: "key1", value: "two." }]);
                network.release("n1", "n3");
              });
              when(
                world,
                () => {
                  const entries = shardAt(world, "n1")?.log.lastSeq ?? 0;
                  return entries > 1 && shardAt(world, "n3")?.log.lastSeq === entries;
                },
                () =>
                  queue.after(10, () => {
                    nodeOf(world, "n1").pause(15);
                    network.release("n3", "n1");
                    network.release("n2", "n1");
                  }),
              );
            },
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "cuts-unsent", seeds: 12 }],
};
