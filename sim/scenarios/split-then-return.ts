import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { betweenKeys, expectWithin, membersOf, splitAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "split-then-return",
  story:
    "A shard is divided while one of its members is away, and again later; the member returns with a disk from before, then the power goes everywhere. What the disk has of one part is taken for what the other part is.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    settings: { ...QUIET_PLAN.settings, durability: "fsync" },
    faultsForMs: 3_500,
    workload: { ...QUIET_PLAN.workload, keys: 6, thinkMs: 60, readShare: 0.4 },
    script: (world) => {
      const { queue, register } = world;
      const shards = (): number => register.current.shards.length;
      queue.after(400, () => {
        world.crash("n3", true);
        when(
          world,
          () => !membersOf(world).includes("n3"),
          () => splitAt(world, betweenKeys("key0", "key1")),
        );
        when(
          world,
          () => shards() === 2,
          () => queue.after(150, () => splitAt(world, betweenKeys("key2", "key3"))),
        );
        when(
          world,
          () => shards() === 3,
          () => {
            queue.after(100, () => world.restart("n3"));
            expectWithin(world, 3_000, "the member returns to all parts", () => world.isWhole, cut);
          },
        );
      });
      const cut = (): void => {
        world.powerOff();
        for (const id of world.nodes.keys()) {
          queue.after(world.prng.between(20, 400), () => world.restart(id));
        }
      };
    },
  },
  seeds: 30,
  mutants: [],
};
