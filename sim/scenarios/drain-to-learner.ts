import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, expectWithin, membersOf, nodeOf, servesAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "drain-to-learner",
  story:
    "The only in-sync node is told to drain while the other one is a learner: it stops, or leaves the shard to a node without the data, and writes are lost or nobody serves.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 2,
    faultsForMs: 1_800,
    script: (world, workload) => {
      const { queue, network, prng } = world;
      const draw = prng.fork();
      queue.after(300, () => crashUntilRemoved(world, "n2", 20));
      when(
        world,
        () => nodeOf(world, "n2").isUp && membersOf(world).length === 1,
        () => {
          network.hold("n2", "n1");
          nodeOf(world, "n1").input((core, time) => core.drainShards(time));
          const seenMs = queue.nowMs;
          const write = (): void => {
            if (!servesAt(world, "n1")) world.blame("the last in-sync node has stopped serving");
            const action = { kind: "append", key: "key1", value: "+" } as const;
            workload.ask(nodeOf(world, "n1"), [action], ({ outcome }) => {
              if (outcome !== "ok") world.blame(`a write at the last in-sync node is ${outcome}`);
            });
            if (queue.nowMs < seenMs + 300) queue.after(draw.between(10, 40), write);
            else {
              network.release("n2", "n1");
              expectWithin(
                world,
                1_500,
                "the drained node leaves once there is a successor",
                () => membersOf(world).join() === "n2" && servesAt(world, "n2"),
                () => {
                  expectWithin(
                    world,
                    200,
                    "it says that it is drained",
                    () => {
                      const { core, time } = nodeOf(world, "n1");
                      return core?.status(time).isDrained === true;
                    },
                    () => {
                      world.crash("n1");
                      queue.after(50, () => world.restart("n1"));
                    },
                  );
                },
              );
            }
          };
          write();
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "leaves-to-nobody", seeds: 3 }],
};
