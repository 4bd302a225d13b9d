/** A scenario: one way in which a design like this once went wrong, with the faults that bring it about. */

import type { Mutant } from "../../src/replica/mutants.ts";
import type { Plan } from "../run.ts";

export interface Scenario {
  readonly name: string;
  /** What goes wrong without the rule. */
  readonly story: string;
  readonly plan: Plan;
  /** The seeds from 1 to this one must pass. */
  readonly seeds: number;
  /**
   * Breaks of the same rule, and within how many seeds from 1 they must be found: at least three times as many as it
   * takes to find one, on average.
   */
  readonly mutants: readonly { readonly mutant: Mutant; readonly seeds: number }[];
}
