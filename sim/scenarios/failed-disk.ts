import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, nodeOf, readAndWrite, recordOf } from "./script.ts";

const UNTIL_MS = 2_000;

export const scenario: Scenario = {
  name: "failed-disk",
  story:
    "The primary's disk takes no more, so nothing that it orders is ever on it: it waits for its own disk before it hands over, and the shard waits with it. Or it comes back with a disk that lacks what it acknowledges.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { shardCount: 1, replication: "sync", minInSync: 1, durability: "fsync" },
    faultsForMs: 3_500,
    syncMsMax: 1,
    workload: { ...QUIET_PLAN.workload, clients: 1, thinkMs: 100 },
    script: (world, workload) => {
      const { queue } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1", "n2"], untilMs: UNTIL_MS });
      queue.after(500, () => {
        const node = nodeOf(world, "n1");
        const { disk } = node;
        if (disk === undefined) throw new Error("nodes have disks under fsync");
        disk.fail();
        workload.ask(node, [{ kind: "set", key: "key1", value: "never on that disk." }]);
        node.input((core, time) => core.diskFailed(time));
        expectWithin(
          world,
          600,
          "another node takes over from the one whose disk failed",
          () => recordOf(world).primary !== "n1",
        );
        queue.after(1_000, () => {
          node.input((core, time) => {
            disk.replace();
            core.resumeShards(time);
          });
          expectWithin(
            world,
            2_000,
            "it is in sync again",
            () => membersOf(world).length === 3,
            // What it has acknowledged since is on the new disk, so it may go on alone.
            () => {
              world.powerOff();
              world.restart("n1");
              queue.after(300, () => {
                world.restart("n2");
                world.restart("n3");
              });
            },
          );
        });
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "leaves-when-saved", seeds: 3 }],
};
