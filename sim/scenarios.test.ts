/** The named scenarios: the core passes each under all of its seeds, and each finds the broken cores that it is for. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MUTANTS, type Mutant } from "../src/replica/mutants.ts";
import { run } from "./run.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import type { Scenario } from "./scenarios/scenario.ts";

/** The first seed under which the scenario finds something wrong, and what. */
function firstFailure(
  scenario: Scenario,
  seeds: number,
  mutant?: Mutant,
): { readonly seed: number; readonly faults: readonly string[] } | undefined {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const { faults, isUndecided } = run({ seed, plan: scenario.plan, mutant });
    // What the checker could not decide is no pass of the core, and no proof that a mutant is broken.
    const isProof = mutant === undefined || !isUndecided;
    if (faults.length > 0 && isProof) return { seed, faults };
  }
  return undefined;
}

it("every mutant is found by a scenario", () => {
  const found = new Set(SCENARIOS.flatMap(({ mutants }) => mutants.map(({ mutant }) => mutant)));
  assert.deepEqual(
    Object.keys(MUTANTS).filter((mutant) => !found.has(mutant as Mutant)),
    [],
  );
});

for (const scenario of SCENARIOS) {
  const { name, seeds } = scenario;
  describe(name, () => {
    it(`${name}: the core passes seeds 1 to ${seeds}`, () => {
      const failure = firstFailure(scenario, seeds);
      if (failure === undefined) return;
      const again = `npm run sim -- --scenario ${name} --seed ${failure.seed}`;
      assert.fail(`seed ${failure.seed}: ${failure.faults.join("\n")}\nto see it: ${again}`);
    });
    for (const { mutant, seeds: allowed } of scenario.mutants) {
      it(`${name}: finds ${mutant} within ${allowed} seeds`, () => {
        const again = `npm run sim -- --scenario ${name} --mutant ${mutant} --seeds ${allowed}`;
        const failure = firstFailure(scenario, allowed, mutant);
        assert.ok(failure !== undefined, `seeds 1 to ${allowed} all pass; to see it: ${again}`);
      });
    }
  });
}
