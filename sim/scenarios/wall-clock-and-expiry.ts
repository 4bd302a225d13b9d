import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, nodeOf, recordOf } from "./script.ts";

export const scenario: Scenario = {
  name: "wall-clock-and-expiry",
  story:
    "Wall clocks differ by minutes, and each node judges by its own whether a key has ended: one says so, the other still shows it, and after a takeover it ends again or lives on.",
  plan: {
    ...QUIET_PLAN,
    drift: 0.045,
    wallSkewMs: 300_000,
    faults: ["transfer", "crash", "pause-short"],
    faultEveryMs: 400,
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, hasExpiry: true, readShare: 0.6, keys: 4 },
    script: (world) => {
      const { queue, prng } = world;
      const draw = prng.fork();
      // Longer keys of the script's own, that nothing else touches: their time is up before the last look at them.
      const keys = Array.from({ length: 12 }, (_, index) => `timed${index}`);
      for (const key of keys) {
        queue.after(draw.between(450, 1_600), () => {
          const node = nodeOf(world, recordOf(world).primary);
          const lifeMs = String(100 + draw.below(500));
          command(world, node, ["SET", key, "for a while", "PX", lifeMs]);
        });
      }
      queue.after(3_450, () => {
        for (const node of world.nodes.values()) {
          for (const key of keys) {
            command(world, node, ["GET", key], (reply) => {
              if (reply === "for a while") world.blame(`${node.id} still has ${key}`);
            });
          }
        }
      });
    },
  },
  seeds: 50,
  mutants: [
    { mutant: "backup-expires", seeds: 9 },
    { mutant: "sets-back-the-clock", seeds: 30 },
  ],
};
