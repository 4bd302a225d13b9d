/** The longest common subsequence of two strings, for LCS. */

import { assert } from "../kit/assert.ts";

/** A run of bytes that both strings have in common. Positions are inclusive, from 0. */
export interface CommonRun {
  readonly aFirst: number;
  readonly aLast: number;
  readonly bFirst: number;
  readonly bLast: number;
}

export interface LongestCommon {
  readonly text: string;
  /** Last run first, as they are found. */
  readonly runs: readonly CommonRun[];
}

/**
 * Largest table, in cells: 64 MB, and a tenth of a second. Redis allows eight times as much; but a node that computes for so
 * long is taken for dead by the others.
 */
export const LCS_CELLS_MAX = 2 ** 24;

/** @returns undefined if the table would need more than `LCS_CELLS_MAX` cells. */
export function longestCommon(a: string, b: string): LongestCommon | undefined {
  const width = b.length + 1;
  if ((a.length + 1) * width > LCS_CELLS_MAX) return undefined;
  const lengths = lengthTable(a, b);

  const pieces: string[] = [];
  const runs: CommonRun[] = [];
  let i = a.length;
  let j = b.length;
  while (i > 0 && j > 0) {
    let run = 0;
    while (run < i && run < j && a.charCodeAt(i - 1 - run) === b.charCodeAt(j - 1 - run)) run++;
    if (run > 0) {
      runs.push({ aFirst: i - run, aLast: i - 1, bFirst: j - run, bLast: j - 1 });
      pieces.push(a.slice(i - run, i));
      i -= run;
      j -= run;
    } else if (at(lengths, (i - 1) * width + j) > at(lengths, i * width + j - 1)) {
      i--;
    } else {
      j--;
    }
  }
  return { text: pieces.reverse().join(""), runs };
}

/** Row i, column j: the length for the first i bytes of `a` and the first j of `b`. */
function lengthTable(a: string, b: string): Uint32Array {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = 1; i <= a.length; i++) {
    const code = a.charCodeAt(i - 1);
    const row = i * width;
    const above = row - width;
    for (let j = 1; j <= b.length; j++) {
      lengths[row + j] =
        code === b.charCodeAt(j - 1)
          ? at(lengths, above + j - 1) + 1
          : Math.max(at(lengths, above + j), at(lengths, row + j - 1));
    }
  }
  return lengths;
}

function at(lengths: Uint32Array, index: number): number {
  const length = lengths[index];
  assert(length !== undefined, "the table covers both strings");
  return length;
}
