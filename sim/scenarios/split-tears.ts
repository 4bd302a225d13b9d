import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { betweenKeys, expectWithin, nodeOf, ON_BOTH_SIDES, splitAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "split-tears",
  story:
    "A shard is divided, and its primary does not hear of it and orders on: a transaction on both sides, which those who have heard of it refuse.",
  plan: {
    ...QUIET_PLAN,
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    nodeCount: 3,
    script: (world, workload) => {
      const { queue, network, register } = world;
      const isDivided = (): boolean => register.current.shards.length === 2;
      queue.after(400, () => {
        register.lostAnswers = 1;
        register.missedEvents = 1;
        splitAt(world, betweenKeys("key0", "key1"));
        when(world, isDivided, () => {
          for (const id of world.nodes.keys()) register.blind.add(id);
          let isDone = false;
          queue.after(250, () => {
            const single = { kind: "set", key: "key1", value: "on one side." } as const;
            workload.ask(nodeOf(world, "n1"), [single], ({ outcome }) => {
              isDone = outcome === "ok";
            });
            expectWithin(world, 100, "what is on one side goes on", () => isDone, across);
          });
        });
      });
      const across = (): void => {
        network.hold("n1", "n2");
        workload.ask(nodeOf(world, "n2"), [ON_BOTH_SIDES]);
        queue.after(20, () => {
          nodeOf(world, "n2").input((core, time) => core.install(register.current, time));
        });
        queue.after(60, () => {
          network.release("n1", "n2");
          register.blind.clear();
          register.lostAnswers = 0;
          register.missedEvents = 0;
        });
      };
    },
  },
  seeds: 20,
  mutants: [{ mutant: "split-tears", seeds: 12 }],
};
