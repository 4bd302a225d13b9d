/** The results of a run, as they are written to disk. */

import type { Measurement } from "./runner.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import type { StudyResult } from "./studies/study.ts";

/** Where and of what the figures are. */
export interface Origin {
  readonly startedAt: string;
  readonly commit: string;
  /** Files that differ from the commit. */
  readonly isModified: boolean;
  readonly machine: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

/** All rounds of one cell of one system. */
export interface CellResult {
  readonly cell: string;
  readonly system: string;
  readonly rounds: Measurement[];
}

export interface SectionResult {
  readonly name: string;
  readonly title: string;
  readonly systems: readonly { readonly name: string; readonly title: string }[];
  readonly cells: readonly { readonly name: string; readonly title: string }[];
  /** How each set-up was made, by its name. */
  readonly setups: Readonly<Record<string, string>>;
  readonly results: CellResult[];
  /** What could not be measured, and why. */
  readonly failures: string[];
}

/** What became of a target. */
export interface TargetResult {
  readonly text: string;
  readonly target: string;
  /** Undefined if it was not measured in this run. */
  readonly measured: string | undefined;
  readonly isMet: boolean | undefined;
}

export interface Results {
  readonly format: 1;
  readonly origin: Origin;
  readonly sections: readonly SectionResult[];
  readonly studies: readonly StudyResult[];
  readonly targets: readonly TargetResult[];
}

/** The rounds of a cell; undefined if it was not measured. */
export function roundsOf(
  section: SectionResult | undefined,
  system: string,
  cell: string,
): readonly Measurement[] | undefined {
  const found = section?.results.find((each) => each.system === system && each.cell === cell);
  return found === undefined || found.rounds.length === 0 ? undefined : found.rounds;
}

/** Operations a second of some rounds. */
export function throughputOf(rounds: readonly Measurement[]): Spread {
  return spreadOf(rounds.map((each) => each.operationsPerSecond));
}
