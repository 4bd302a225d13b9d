/** Measurements that are no throughput of cells: each gives a table, and figures that targets look at. */

import type { Generators } from "../generator-process.ts";
import type { Runner } from "../runner.ts";

/** What a study found. */
export interface StudyResult {
  readonly name: string;
  readonly title: string;
  /** How it was measured. */
  readonly note: string;
  readonly head: readonly string[];
  readonly rows: string[][];
  /** By names that the study's own file explains. */
  readonly figures: Record<string, number>;
  /** What could not be measured, and why. */
  readonly failures: string[];
}

export interface StudyOptions {
  readonly rounds: number;
  readonly measureMs: number;
  /** Keys of the studies about many keys. */
  readonly manyKeys: number;
  readonly generators: Generators;
  /** Makes a runner whose key space has so many keys; the study stops it. */
  readonly makeRunner: (keys: number) => Runner;
  readonly report: (line: string) => void;
}

export interface Study {
  readonly name: string;
  readonly title: string;
  /** Names of the systems that it needs. */
  readonly systems: readonly string[];
  run(options: StudyOptions): Promise<StudyResult>;
}
