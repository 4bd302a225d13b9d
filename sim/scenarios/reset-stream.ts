import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, nodeOf, recordOf } from "./script.ts";

export const scenario: Scenario = {
  name: "reset-stream",
  story:
    "A link breaks with entries on their way, and the stream goes on behind them: the backup has a gap.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 400,
    network: { ...QUIET_NETWORK, delayMaxMs: 15 },
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 50 },
    script: (world) => {
      const { queue, network, prng } = world;
      const draw = prng.fork();
      let written = 0;
      const write = (): void => {
        written += 1;
        const node = nodeOf(world, recordOf(world).primary);
        command(world, node, ["APPEND", `stream${written % 5}`, `${written}.`]);
        if (queue.nowMs < 1_400) queue.after(draw.between(1, 5), write);
      };
      queue.after(200, write);
      const reset = (): void => {
        network.reset("n1", draw.pick(["n2", "n3"]));
        if (queue.nowMs < 1_300) queue.after(draw.between(50, 150), reset);
      };
      queue.after(300, reset);
    },
  },
  seeds: 15,
  mutants: [{ mutant: "accepts-gaps", seeds: 9 }],
};
