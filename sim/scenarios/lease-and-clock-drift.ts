import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { readAndWrite } from "./script.ts";

export const scenario: Scenario = {
  name: "lease-and-clock-drift",
  story:
    "A node whose clock is slow believes in its lease when the others, whose clocks are fast, have removed it and go on: it serves what is stale.",
  plan: {
    ...QUIET_PLAN,
    // Two clocks differ by up to 4.9 %, just inside the bound.
    drift: 0.048,
    faultsForMs: 1_200,
    workload: { ...QUIET_PLAN.workload, clients: 0 },
    script: (world, workload) => {
      const { queue, network, prng, register } = world;
      const draw = prng.fork();
      const nodes = [...world.nodes.keys()];
      const victim = draw.pick(nodes);
      const writers = nodes.filter((node) => node !== victim);
      readAndWrite(world, workload, { readers: [victim], writers, untilMs: 1_600 });
      // Only what it sends is lost, or only what it receives, or both; of the next epoch it hears late.
      const loses = draw.pick(["sent", "received", "both"]);
      queue.after(draw.between(400, 500), () => {
        register.blind.add(victim);
        for (const other of nodes) {
          if (other === victim) continue;
          network.hold(other, victim);
          if (loses !== "received") network.mute(victim, other);
          if (loses !== "sent") network.mute(other, victim);
        }
      });
    },
  },
  seeds: 60,
  mutants: [
    { mutant: "no-lease", seeds: 9 },
    { mutant: "suspects-early", seeds: 12 },
  ],
};
