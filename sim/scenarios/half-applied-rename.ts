import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import {
  command,
  crashUntilRemoved,
  membersOf,
  nodeOf,
  recordOf,
  servesAt,
  when,
} from "./script.ts";

const KEYS = Array.from({ length: 30 }, (_, index) => `renamed${index}`);

export const scenario: Scenario = {
  name: "half-applied-rename",
  story:
    "A learner gets an effect on two slots of which it has only one, and ends with another state than the rest; or it is promoted without whole entries in its log, and cannot tell them when it is the one that has them.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_600,
    limits: { copyChunkBytes: 60, copyWindowBytes: 60 },
    workload: { ...QUIET_PLAN.workload, keys: 6, readShare: 0.2 },
    script: (world) => {
      const { queue, prng } = world;
      const draw = prng.fork();
      const tell = (...words: string[]): void =>
        command(world, nodeOf(world, recordOf(world).primary), words);
      queue.after(100, () => {
        for (const key of KEYS) tell("SET", key, `${key}'s own`);
      });
      const rename = (): void => {
        const from = draw.pick(KEYS);
        const draws = draw.float();
        if (draws < 0.6) tell("RENAME", from, draw.pick(KEYS));
        else if (draws < 0.8) tell("COPY", from, draw.pick(KEYS), "REPLACE");
        else tell("SET", from, `at ${Math.round(queue.nowMs)}`);
        if (queue.nowMs < 3_000) queue.after(draw.between(0.5, 6), rename);
      };
      queue.after(150, rename);
      queue.after(250, () => crashUntilRemoved(world, "n3", 30));
      // Once the learner is promoted it is soon the only one that is left of those that fed it.
      when(
        world,
        () => membersOf(world).length < 3,
        () =>
          when(
            world,
            () => membersOf(world).length === 3,
            () =>
              queue.after(draw.between(0, 40), () => {
                if (!servesAt(world, "n3")) return;
                world.crash("n1", draw.chance(0.5));
              }),
          ),
      );
    },
  },
  seeds: 25,
  mutants: [
    { mutant: "unfiltered-copy", seeds: 9 },
    { mutant: "promotes-uncopied", seeds: 9 },
  ],
};
