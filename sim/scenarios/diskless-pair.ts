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
const UNTIL_MS = 5_000;
/** Longer than a lease, and shorter than a suspicion takes. */
const LEASE_OVER_MS = 305;

export const scenario: Scenario = {
  name: "diskless-pair",
  story:
    "One node dies, and the disks of the other two fail. One of these leaves the shard to the other, which is no better off, and what was two copies is one.",
  plan: {
    ...DISKS_PLAN,
    faultsForMs: 9_000,
    script: (world, workload) => {
      const { queue } = world;
      readAndWrite(world, workload, { readers: ["n2"], writers: ["n1", "n2"], untilMs: UNTIL_MS });
      const draw = world.prng.fork();
      const lost = draw.pick(ALL);
      const left = ALL.filter((id) => id !== lost);
      const first = draw.pick(left);
      queue.after(500, () => {
        world.crash(lost);
        // Not before their leases have run out: they would leave to the dead one, as yet unknown to be dead.
        queue.after(LEASE_OVER_MS, () => {
          for (const id of left) failDisk(world, workload, id);
        });
        expectWithin(
          world,
          1_000,
          "the dead one is removed",
          () => !membersOf(world).includes(lost),
          () =>
            queue.after(500, () => {
              if (membersOf(world).length !== 2) world.blame("one has left, for no better disk");
              expectWriteRefusal(world, () => {
                replaceDisk(world, first);
                expectWithin(
                  world,
                  2_000,
                  "who has a disk again serves, and the other is not waited for",
                  () => membersOf(world).join() === first && servesAt(world, first),
                  () => {
                    for (const id of left) if (id !== first) replaceDisk(world, id);
                    world.restart(lost);
                    expectWithin(world, 3_000, "all return", () => membersOf(world).length === 3);
                  },
                );
              });
            }),
        );
      });
    },
  },
  seeds: 15,
  mutants: [{ mutant: "leaves-to-the-diskless", seeds: 3 }],
};
