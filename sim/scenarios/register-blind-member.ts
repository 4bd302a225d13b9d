import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf, recordOf, servesAt, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "register-blind-member",
  story:
    "A member that cannot reach the register stays in the old epoch, nobody may remove it, for it is alive, and nothing commits any more.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 2_000,
    script: (world, workload) => {
      const { register, queue, network, prng } = world;
      const draw = prng.fork();
      const epochBefore = recordOf(world).epoch;
      const variant = draw.pick(["transfer", "crash, and it hears nothing"]);
      queue.after(300, () => {
        register.blind.add("n3");
        if (variant === "transfer") {
          nodeOf(world, "n1").input((core, time) => {
            const refusal = core.transfer(0, "n2", time);
            if (refusal !== undefined) world.blame(`the transfer is refused: ${refusal}`);
          });
        } else {
          world.crash("n1");
          network.hold("n2", "n3");
        }
      });
      when(
        world,
        () => recordOf(world).epoch > epochBefore,
        () => {
          if (variant === "transfer") {
            expectWithin(
              world,
              300,
              "a member that cannot reach the register serves in the new epoch",
              () => shardAt(world, "n3")?.epoch === recordOf(world).epoch && servesAt(world, "n3"),
            );
          }
          let isDone = false;
          const action = { kind: "set", key: "key1", value: "after." } as const;
          workload.ask(nodeOf(world, "n2"), [action], ({ outcome }) => {
            isDone = outcome === "ok";
          });
          expectWithin(world, 1_200, "a write commits in the new epoch", () => isDone);
        },
      );
    },
  },
  seeds: 20,
  mutants: [{ mutant: "keeps-configuration", seeds: 12 }],
};
