import { DISKS_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, membersOf, nodeOf, readAndWrite, recordOf } from "./script.ts";

const UNTIL_MS = 4_000;
const LAG_MS_MAX = 700;

export const scenario: Scenario = {
  name: "slow-disk",
  story:
    "The primary's disk takes nothing for a while and does not fail either. Nobody removes a primary that speaks, so all writes of the shard wait for as long as the disk likes.",
  plan: {
    ...DISKS_PLAN,
    limits: { lagMsMax: LAG_MS_MAX },
    faultsForMs: 6_000,
    script: (world, workload) => {
      const { queue } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1", "n2"], untilMs: UNTIL_MS });
      queue.after(500, () => {
        const { disk } = nodeOf(world, "n1");
        if (disk === undefined) throw new Error("nodes have disks under fsync");
        disk.hold();
        expectWithin(
          world,
          LAG_MS_MAX + 600,
          "another node takes over from the one whose disk is slow",
          () => recordOf(world).primary !== "n1" && !membersOf(world).includes("n1"),
          () => {
            disk.release();
            expectWithin(world, 3_000, "it is in sync again", () => membersOf(world).length === 3);
          },
        );
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "slow-primary-stays", seeds: 3 }],
};
