import { QUIET_NETWORK, QUIET_PLAN } from "./quiet.ts";
import type { Scenario } from "./scenario.ts";
import { crashUntilRemoved, nodeOf } from "./script.ts";

/** No fault of this scenario holds anything up for so long. */
const GIVEN_UP_MS = 2_000;

export const scenario: Scenario = {
  name: "read-then-effect-stamps",
  story:
    "A command that had run as a read and is sent again is refused for ever, because a later stamp was ordered meanwhile: its client waits without end.",
  plan: {
    ...QUIET_PLAN,
    nodeCount: 3,
    faultsForMs: 1_500,
    network: { ...QUIET_NETWORK, delayMaxMs: 15 },
    workload: { ...QUIET_PLAN.workload, clients: 1, keys: 2, pipelineMax: 4, readShare: 0.5 },
    script: (world, workload) => {
      const { queue, network, prng } = world;
      // A learner forwards its reads too; it stays one for a while, for one member cannot hear it.
      queue.after(200, () => {
        network.mute("n3", "n2");
        crashUntilRemoved(world, "n3", 20);
        queue.after(1_400, () => network.unmute("n3", "n2"));
      });
      const draw = prng.fork();
      const reset = (): void => {
        network.reset("n1", draw.pick(["n2", "n3", "n3"]));
        if (queue.nowMs < 1_900) queue.after(draw.between(10, 80), reset);
      };
      queue.after(200, reset);
      // Reads, and behind them writes of other clients, some of which change nothing.
      const ask = (): void => {
        const node = nodeOf(world, draw.pick(["n2", "n3", "n3"]));
        const askedMs = queue.nowMs;
        const hear = ({ outcome }: { readonly outcome: string }): void => {
          const tookMs = queue.nowMs - askedMs;
          // A node that has just started refuses at once.
          if (outcome !== "ok" && tookMs > GIVEN_UP_MS) {
            world.blame(`${node.id} gives up what it was asked: ${outcome}`);
          }
        };
        workload.ask(node, [{ kind: "get", key: "key1" }], hear);
        workload.ask(node, [{ kind: "setnx", key: "key1", value: "taken." }], hear);
        if (draw.chance(0.3)) workload.ask(node, [{ kind: "del", key: "key1" }], hear);
        if (queue.nowMs < 1_900) queue.after(draw.between(10, 40), ask);
      };
      queue.after(250, ask);
    },
  },
  seeds: 30,
  mutants: [
    { mutant: "never-resends", seeds: 12 },
    { mutant: "no-stamp-check", seeds: 6 },
  ],
};
