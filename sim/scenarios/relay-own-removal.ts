import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, nodeOf, servesAt } from "./script.ts";

export const scenario: Scenario = {
  name: "relay-own-removal",
  story:
    "A paused node wakes up and brings to the register what a peer had asked of it: a swap that removes the node itself. The peer is dead by then, and nobody is left.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 2,
    faultsForMs: 2_000,
    script: (world) => {
      const { register, queue, network } = world;
      queue.after(300, () => {
        // The primary finds the paused node silent, and only that node could reach the register for it.
        register.blind.add("n1");
        world.pause("n2", 1_000);
      });
      queue.after(900, () => {
        // What a primary that does not know better would ask for.
        const { current } = register;
        const shards = current.shards.map((record) => ({
          ...record,
          epoch: record.epoch + 1,
          primary: "n1",
          inSync: record.inSync.filter(({ node }) => node !== "n2"),
        }));
        const configuration = { ...current, version: current.version + 1, shards };
        network.send("n1", "n2", { kind: "swap-request", id: 1_000, configuration });
      });
      queue.after(1_000, () => world.crash("n1", true));
      queue.after(1_310, () => {
        if (!membersOf(world).includes("n2"))
          world.blame("a node has removed itself for a dead one");
        if (!nodeOf(world, "n2").isRunning) world.blame("the paused node should run again");
        expectWithin(
          world,
          900,
          "the survivor takes over",
          () => membersOf(world).length === 1 && servesAt(world, "n2"),
        );
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "relays-own-removal", seeds: 3 }],
};
