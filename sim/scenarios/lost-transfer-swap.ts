import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf } from "./script.ts";

export const scenario: Scenario = {
  name: "lost-transfer-swap",
  story: "A transfer whose swap gets no answer leaves the shard without anyone who orders.",
  plan: {
    ...QUIET_PLAN,
    faultsForMs: 800,
    script: (world, workload) => {
      const { register, queue, prng } = world;
      const isMade = prng.chance(0.5);
      queue.after(400, () => {
        if (isMade) {
          // The swap is made, and the primary does not hear of it.
          register.lostAnswers = 1;
          register.missedEvents = 1;
        } else for (const id of world.nodes.keys()) register.blind.add(id);
        nodeOf(world, "n1").input((core, time) => {
          const refusal = core.transfer(0, "n2", time);
          if (refusal !== undefined) world.blame(`the transfer is refused: ${refusal}`);
        });
        let isDone = false;
        const action = { kind: "set", key: "key1", value: "during the transfer." } as const;
        workload.ask(nodeOf(world, "n1"), [action], ({ outcome }) => {
          isDone = outcome === "ok";
        });
        expectWithin(
          world,
          700,
          "a write goes on after a transfer without an answer",
          () => isDone,
        );
      });
    },
  },
  seeds: 20,
  mutants: [{ mutant: "lost-transfer", seeds: 12 }],
};
