/** What the families of commands share in reading their arguments and in describing themselves. */

import type { Command } from "../data/command.ts";

/** A command's arguments, the name first. */
export type Args = Command;

/** @returns the argument at `index` as a binary string; it exists because the arity has been checked. */
export function arg(args: Args, index: number): string {
  return args.text(index);
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
