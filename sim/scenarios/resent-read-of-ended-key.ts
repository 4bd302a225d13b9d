import type { KeyAction } from "../../src/history/history.ts";
import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { command, nodeOf } from "./script.ts";

/** How long the script's keys live. Nobody asks for one before, so no history shows that they were there. */
const LIFE_MS = 30;
const ROUNDS = 12;
const ROUND_MS = 200;

export const scenario: Scenario = {
  name: "resent-read-of-ended-key",
  story:
    "A forwarded read finds a key past its time, which deletes it, and its answer is lost. Asked again it gets the old answer, although an earlier read of its session, asked again with it, sees what was written since.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 2,
    // n2 is no replica, so it forwards its reads, and there is one node only to ask.
    settings: { shardCount: 1, replication: "sync", minInSync: 1, replicas: 1 },
    faultsForMs: ROUNDS * ROUND_MS,
    workload: { ...QUIET_PLAN.workload, clients: 1 },
    script: (world, workload) => {
      const { queue, network } = world;
      for (let round = 0; round < ROUNDS; round += 1) {
        const timed = `timed${round}`;
        const plain = `plain${round}`;
        const read = (key: string): KeyAction => ({ kind: "get", key });
        queue.after(300 + round * ROUND_MS, () => {
          const primary = nodeOf(world, "n1");
          command(world, primary, ["SET", timed, "for a while", "PX", String(LIFE_MS)]);
          queue.after(LIFE_MS, () => {
            network.hold("n1", "n2");
            workload.ask(nodeOf(world, "n2"), [
              read(plain),
              { kind: "multi", actions: [read(timed), read(plain)] },
            ]);
          });
          queue.after(LIFE_MS + 20, () => {
            workload.ask(primary, [{ kind: "set", key: plain, value: "later." }]);
          });
          queue.after(LIFE_MS + 40, () => {
            network.reset("n1", "n2");
            network.release("n1", "n2");
          });
        });
      }
    },
  },
  seeds: 9,
  mutants: [{ mutant: "remembers-reads", seeds: 3 }],
};
