import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { expectWithin, nodeOf, shardAt, when } from "./script.ts";

export const scenario: Scenario = {
  name: "late-seq-answer",
  story:
    "A member tells its last seq for a new epoch and then takes one more entry of the old one, which nobody else has.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 600,
    limits: { lagMsMax: 5_000 },
    script: (world, workload) => {
      const { queue, network } = world;
      queue.after(350, () => {
        // The old primary is no longer heard of, but its last entries are on their way to one member.
        network.mute("n1", "n2");
        network.mute("n1", "n3");
        network.hold("n1", "n2");
        network.hold("n1", "n3");
        for (const value of ["one.", "two."]) {
          workload.ask(nodeOf(world, "n1"), [{ kind: "append", key: "key1", value }]);
        }
      });
      when(
        world,
        () => (shardAt(world, "n3")?.epoch ?? 0) > 1,
        () => {
          // They arrive when it has told where it stands, and before it hears the new primary.
          network.hold("n2", "n3");
          network.release("n1", "n3");
          queue.after(30, () => network.release("n2", "n3"));
          expectWithin(
            world,
            1_000,
            "the member takes part in the new epoch",
            () => shardAt(world, "n3")?.isStarted === true,
          );
        },
      );
    },
  },
  seeds: 15,
  mutants: [
    { mutant: "late-answer", seeds: 9 },
    { mutant: "accepts-any-epoch", seeds: 9 },
  ],
};
