import type { Action } from "../../src/history/history.ts";
import { QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, nodeOf } from "./script.ts";

export const scenario: Scenario = {
  name: "read-then-effect-stamps",
  story:
    "A command that had run as a read and is sent again is refused for ever, because a later stamp was ordered meanwhile: its client waits without end.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    workload: { ...QUIET_PLAN.workload, clients: 2, keys: 2, pipelineMax: 4, readShare: 0.5 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      // A learner forwards its reads too; it stays one for a while, for it cannot tell that it has the copy.
      queue.after(200, () => {
        network.hold("n3", "n1");
        crashUntilRemoved(world, "n3", 20);
        queue.after(1_400, () => network.release("n3", "n1"));
      });
      const draw = prng.fork();
      const reset = (): void => {
        network.reset("n1", draw.pick(["n2", "n3"]));
        if (queue.nowMs < 1_900) queue.after(draw.between(10, 80), reset);
      };
      queue.after(200, reset);
      // Commands that may write and mostly change nothing, one behind the other.
      const ask = (): void => {
        const node = nodeOf(world, draw.pick(["n2", "n3"]));
        const actions: readonly Action[] = [
          { kind: "setnx", key: "key1", value: "taken." },
          { kind: "get", key: "key1" },
          { kind: "append", key: "key1", value: "+" },
        ];
        workload.ask(node, actions, ({ outcome }) => {
          if (outcome !== "ok") world.blame(`${node.id} has lost an answer: ${outcome}`);
        });
        if (queue.nowMs < 1_900) queue.after(draw.between(10, 60), ask);
      };
      queue.after(250, ask);
    },
  },
  seeds: 15,
  mutants: [
    { mutant: "never-resends", seeds: 3 },
    { mutant: "no-stamp-check", seeds: 9 },
    { mutant: "blind-resend", seeds: 9 },
  ],
};
