import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { nodeOf, recordOf, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "uncommitted-start",
  story:
    "A new primary takes what it has at the start of its epoch for committed, shows it and answers for it, and dies before the other member has got it.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_000,
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 40 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      const draw = prng.fork();
      queue.after(350, () => {
        network.hold("n1", "n3");
        const count = 1 + draw.below(4);
        for (let index = 0; index < count; index += 1) {
          const id = draw.pick(["n1", "n2"]);
          workload.ask(nodeOf(world, id), [{ kind: "append", key: "key1", value: `${index}.` }]);
        }
        queue.after(draw.between(20, 40), () => world.crash("n1"));
      });
      when(
        world,
        () => recordOf(world).primary === "n2",
        () => network.hold("n2", "n3"),
      );
      when(
        world,
        () => shardAt(world, "n2")?.isStarted === true && recordOf(world).primary === "n2",
        () => {
          const startedMs = queue.nowMs;
          const read = (): void => {
            workload.ask(nodeOf(world, "n2"), [{ kind: "get", key: "key1" }]);
            if (queue.nowMs < startedMs + 150) queue.after(10, read);
            else world.crash("n2");
          };
          read();
        },
      );
    },
  },
  seeds: 15,
  mutants: [{ mutant: "start-is-committed", seeds: 9 }],
};
