/** What the families of commands share in reading their arguments and in describing themselves. */

import { assert } from "../kit/assert.ts";

/** A command's arguments: binary strings, the name first. */
export type Args = readonly string[];

/** @returns the argument at `index`, which exists because the arity has been checked. */
export function arg(args: Args, index: number): string {
  const value = args[index];
  assert(value !== undefined, "the arity has been checked");
  return value;
}

/** Positions of keys: one, after the name. */
export const ONE_KEY = { firstKey: 1, lastKey: 1, keyStep: 1 } as const;
/** Positions of keys: two, after the name. */
export const TWO_KEYS = { firstKey: 1, lastKey: 2, keyStep: 1 } as const;
/** Positions of keys: all arguments. */
export const ALL_KEYS = { firstKey: 1, lastKey: -1, keyStep: 1 } as const;
/** Positions of keys: every other argument, with values between them. */
export const KEYS_AND_VALUES = { firstKey: 1, lastKey: -1, keyStep: 2 } as const;
/** Positions of keys: there are none. */
export const NO_KEYS = { firstKey: 0, lastKey: 0, keyStep: 0 } as const;
