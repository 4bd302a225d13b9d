import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, recordOf, servesAt } from "./script.ts";

/** A lease until its echo is missed, as long again with the drift until it has run out everywhere, and the swap. */
const WITHIN_MS = 900;

export const scenario: Scenario = {
  name: "deaf-node",
  story:
    "A node speaks and hears nobody: it is never silent, so nobody removes it, and without its echo nobody serves.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 3_500,
    script: (world) => {
      const { queue, network, register, prng } = world;
      const draw = prng.fork();
      const deaf = draw.pick(["n1", "n2", "n3"]);
      const others = ["n1", "n2", "n3"].filter((node) => node !== deaf);
      // First for a moment, too short for anyone to be removed.
      queue.after(300, () => {
        for (const other of others) network.mute(other, deaf);
        queue.after(220, () => {
          for (const other of others) network.unmute(other, deaf);
        });
      });
      queue.after(1_300, () => {
        if (recordOf(world).epoch !== 1) world.blame("somebody was removed after a moment");
        for (const other of others) network.block(other, deaf);
        register.blind.add(deaf);
        expectWithin(
          world,
          WITHIN_MS,
          "the others go on without the deaf node",
          () => others.every((other) => servesAt(world, other)) && membersOf(world).length === 2,
        );
      });
      queue.after(2_800, () => {
        for (const other of others) network.unblock(other, deaf);
        register.blind.delete(deaf);
      });
    },
  },
  seeds: 30,
  mutants: [],
};
