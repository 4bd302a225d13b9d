import { DISKS_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import {
  expectWithin,
  expectWriteRefusal,
  failDisk,
  membersOf,
  readAndWrite,
  replaceDisk,
  servesAt,
} from "./script.ts";

const ALL = ["n1", "n2", "n3"] as const;
const UNTIL_MS = 5_500;

export const scenario: Scenario = {
  name: "failed-disks",
  story:
    "All disks fail at about the same time. Each node leaves the shard to another whose disk has failed, too; the last has nobody left, and waits for its own disk while others have theirs back.",
  plan: {
    ...DISKS_PLAN,
    faultsForMs: 9_000,
    script: (world, workload) => {
      const { queue } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1", "n2"], untilMs: UNTIL_MS });
      const draw = world.prng.fork();
      const first = draw.pick(ALL);
      const others = ALL.filter((id) => id !== first);
      queue.after(500, () => {
        let lastMs = 0;
        for (const id of ALL) {
          const atMs = draw.between(0, 200);
          lastMs = Math.max(lastMs, atMs);
          queue.after(atMs, () => failDisk(world, workload, id));
        }
        queue.after(lastMs + 500, () => {
          expectWriteRefusal(world, () => {
            replaceDisk(world, first);
            expectWithin(
              world,
              2_000,
              "who has a disk again serves, and nobody else is waited for",
              () => membersOf(world).join() === first && servesAt(world, first),
              () => {
                for (const id of others) replaceDisk(world, id);
                expectWithin(world, 3_000, "all return", () => membersOf(world).length === 3);
              },
            );
          });
        });
      });
    },
  },
  seeds: 30,
  mutants: [{ mutant: "waits-for-its-disk", seeds: 9 }],
};
