import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, expectWithin, nodeOf, servesAt } from "./script.ts";

const FLUSH_MS = 100;

export const scenario: Scenario = {
  name: "first-disk-wins",
  story:
    "All nodes lose power under asynchronous durability, and the one that comes back first has the oldest disk: it goes on alone, and what the others have on theirs is thrown away.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: {
      shardCount: 1,
      replication: "sync",
      minInSync: 1,
      durability: "async",
      flushMs: FLUSH_MS,
    },
    faultsForMs: 2_500,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    script: (world) => {
      const { queue } = world;
      const set = (value: string): void =>
        command(world, nodeOf(world, "n1"), ["SET", "mark", value]);
      queue.after(300, () => set("old"));
      // n3 dies long before the others, so its disk lacks what they have had the time to write.
      queue.after(300 + 3 * FLUSH_MS, () => world.crash("n3"));
      queue.after(1_100, () => set("new"));
      queue.after(1_100 + 3 * FLUSH_MS, () => {
        world.powerOff();
        world.restart("n3");
        queue.after(400, () => {
          if (servesAt(world, "n3")) world.blame("n3 goes on with its old disk");
          world.restart("n1");
          world.restart("n2");
          expectWithin(
            world,
            2_000,
            "the cluster goes on",
            () => servesAt(world, "n3"),
            () => {
              command(world, nodeOf(world, "n3"), ["GET", "mark"], (reply) => {
                if (reply !== "new") world.blame(`n3 answers ${String(reply)}`);
              });
            },
          );
        });
      });
    },
  },
  seeds: 9,
  mutants: [{ mutant: "first-disk-wins", seeds: 9 }],
};
