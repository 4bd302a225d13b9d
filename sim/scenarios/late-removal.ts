import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { membersOf, nodeOf, readAndWrite, when } from "./script.ts";

export const scenario: Scenario = {
  name: "late-removal",
  story:
    "A member was silent long enough to be removed; the swap takes its time, the member is heard again and gets fresh echoes meanwhile, and serves on after its removal.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_800,
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      world.register.latencyMs = 80;
      queue.after(500, () => {
        for (const peer of ["n1", "n2"]) network.mute("n3", peer);
        when(
          world,
          () => nodeOf(world, "n1").core?.isSwapping === true,
          () => {
            for (const peer of ["n1", "n2"]) network.unmute("n3", peer);
            when(
              world,
              () => !membersOf(world).includes("n3"),
              () => {
                // What the others write now must not be missing from what the removed one reads.
                for (const peer of ["n1", "n2"]) {
                  network.block(peer, "n3");
                  queue.after(prng.between(250, 300), () => network.unblock(peer, "n3"));
                }
              },
            );
          },
        );
      });
      readAndWrite(world, workload, { readers: ["n3"], writers: ["n1"], untilMs: 1_800 });
    },
  },
  seeds: 20,
  mutants: [{ mutant: "echoes-after-proposal", seeds: 30 }],
};
