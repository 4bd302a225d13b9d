import type { Action } from "../../src/history/history.ts";
import { ONE_SHARD, QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, membersOf, nodeOf, when } from "./script.ts";

const PIPELINE: readonly Action[] = Array.from({ length: 6 }, (_, index) =>
  index % 2 === 0 ? { kind: "incr", key: "key0", by: 1 } : { kind: "get", key: "key0" },
);

export const scenario: Scenario = {
  name: "read-behind-refused-write",
  story:
    "A read waits behind its session's forwarded write, which is refused; the next write of the session has been sent by then, and the read sees that one.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { ...ONE_SHARD, minInSync: 3 },
    faultsForMs: 600,
    network: { ...QUIET_NETWORK, delayMaxMs: 8 },
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
    script: (world, workload) => {
      const { queue } = world;
      queue.after(250, () => crashUntilRemoved(world, "n3", 650));
      when(
        world,
        () => membersOf(world).length < 3,
        () =>
          when(
            world,
            () => nodeOf(world, "n3").isUp && nodeOf(world, "n1").core?.isSwapping === true,
            () => {
              // The primary refuses writes until it hears that the learner is promoted.
              const endMs = queue.nowMs + 12;
              const ask = (): void => {
                workload.ask(nodeOf(world, "n2"), PIPELINE);
                if (queue.nowMs < endMs) queue.after(2, ask);
              };
              ask();
            },
          ),
      );
    },
  },
  seeds: 30,
  mutants: [],
};
