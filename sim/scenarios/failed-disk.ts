import { DISKS_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import {
  expectWithin,
  failDisk,
  membersOf,
  readAndWrite,
  recordOf,
  replaceDisk,
} from "./script.ts";

const UNTIL_MS = 2_000;

export const scenario: Scenario = {
  name: "failed-disk",
  story:
    "The primary's disk takes no more, so nothing that it orders is ever on it: it waits for its own disk before it hands over, and the shard waits with it. Or it comes back with a disk that lacks what it acknowledges.",
  plan: {
    ...DISKS_PLAN,
    faultsForMs: 3_500,
    script: (world, workload) => {
      const { queue } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1", "n2"], untilMs: UNTIL_MS });
      queue.after(500, () => {
        failDisk(world, workload, "n1");
        expectWithin(
          world,
          600,
          "another node takes over from the one whose disk failed",
          () => recordOf(world).primary !== "n1",
        );
        queue.after(1_000, () => {
          replaceDisk(world, "n1");
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
