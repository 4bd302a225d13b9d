import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  name: "mixed-faults",
  story: "Whatever goes wrong in any order: the mix that the long runs of seeds are made of.",
  plan: {},
  seeds: 60,
  mutants: [
    { mutant: "two-primaries", seeds: 30 },
    { mutant: "commits-alone", seeds: 30 },
    { mutant: "arrival-is-ack", seeds: 30 },
    { mutant: "blind-resend", seeds: 60 },
  ],
};
