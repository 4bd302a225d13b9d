import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { membersOf } from "./script.ts";

export const scenario: Scenario = {
  name: "isolated-wins",
  story:
    "A network splits, both sides reach the register, and the smaller one wins: the larger one is put out of service.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 5,
    settings: { ...QUIET_PLAN.settings, replicas: 5 },
    faultsForMs: 600,
    workload: { ...QUIET_PLAN.workload, clients: 2, thinkMs: 40 },
    script: (world) => {
      const { queue, prng } = world;
      const draw = prng.fork();
      const nodes = [...world.nodes.keys()];
      const side = new Set([draw.pick(nodes)]);
      if (draw.chance(0.5)) side.add(draw.pick(nodes));
      queue.after(400, () => {
        for (const a of nodes) {
          for (const b of nodes) {
            if (side.has(a) === side.has(b)) continue;
            world.network.mute(a, b);
            world.network.hold(a, b);
          }
        }
      });
      queue.after(1_500, () => {
        const members = membersOf(world);
        const isOfLarger = members.every((node) => !side.has(node));
        if (!isOfLarger || members.length < nodes.length - side.size) {
          world.blame(`${[...side].join(" ")} are cut off, and in sync are ${members.join(" ")}`);
        }
      });
    },
  },
  seeds: 30,
  mutants: [{ mutant: "no-back-off", seeds: 20 }],
};
