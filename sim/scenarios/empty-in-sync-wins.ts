import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, expectWithin, membersOf, nodeOf, servesAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "empty-in-sync-wins",
  story:
    "Power goes when one node alone is in sync, and its disk does not come back: it goes on with nothing, and wipes the fuller copies of the others.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, durability: "fsync" },
    faultsForMs: 4_000,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    script: (world, workload) => {
      const { queue } = world;
      queue.after(300, () => {
        workload.stop();
        command(world, nodeOf(world, "n1"), ["SET", "mark", "kept"]);
      });
      queue.after(400, () => {
        world.crash("n2");
        world.crash("n3");
      });
      when(
        world,
        () => membersOf(world).join() === "n1",
        () => {
          world.powerOff();
          nodeOf(world, "n1").disk?.wipe();
          for (const id of world.nodes.keys()) world.restart(id);
          queue.after(800, () => {
            for (const id of world.nodes.keys()) {
              if (servesAt(world, id)) world.blame(`${id} serves, and nobody has decided it`);
            }
            for (const node of world.nodes.values()) {
              node.input((core, time) => {
                const refusal = core.recover(["n1"], time);
                if (node.id !== "n1" && refusal !== undefined) world.blame(refusal);
              });
            }
            expectWithin(
              world,
              1_500,
              "the cluster goes on with what is left",
              () => servesAt(world, "n2"),
              () => {
                command(world, nodeOf(world, "n2"), ["GET", "mark"], (reply) => {
                  if (reply !== "kept") world.blame(`n2 answers ${String(reply)}`);
                });
              },
            );
          });
        },
      );
    },
  },
  seeds: 9,
  mutants: [{ mutant: "empty-in-sync-wins", seeds: 3 }],
};
