import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "mixed-faults",
  story: "Whatever goes wrong in any order: the mix that the long runs of seeds are made of.",
  plan: {},
  seeds: 60,
  mutants: [
    { mutant: "two-primaries", seeds: 30 },
    { mutant: "commits-alone", seeds: 30 },
    { mutant: "commits-by-majority", seeds: 60 },
    { mutant: "arrival-is-ack", seeds: 30 },
    { mutant: "dirty-reads", seeds: 90 },
    { mutant: "skips-epoch-start", seeds: 150 },
    { mutant: "skips-tail", seeds: 90 },
    { mutant: "start-is-committed", seeds: 250 },
    { mutant: "accepts-gaps", seeds: 450 },
    { mutant: "blind-resend", seeds: 60 },
  ],
};
