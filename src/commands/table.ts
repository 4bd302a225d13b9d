/** All commands on data, and how to find one. */

import { expiryCommands } from "./expiry.ts";
import { keyCommands } from "./keys.ts";
import { scanCommands } from "./scans.ts";
import type { CommandSpec, DataCommand } from "./spec.ts";
import { stringCommands } from "./strings.ts";

/** Every command that runs on a shard. Those that concern a connection or the server are the server's. */
export const dataCommands: readonly DataCommand[] = [
  ...stringCommands,
  ...keyCommands,
  ...expiryCommands,
  ...scanCommands,
];

/** By lower- and upper-case name, since clients send one or the other. */
const byName = new Map<string, DataCommand>();
for (const command of dataCommands) {
  byName.set(command.name, command);
  byName.set(command.name.toUpperCase(), command);
}

/** @param name in any case. */
export function findCommand(name: string): DataCommand | undefined {
  return byName.get(name) ?? byName.get(name.toLowerCase());
}

/** @param count of the arguments, the name included. */
export function arityMatches(spec: CommandSpec, count: number): boolean {
  return spec.arity < 0 ? count >= -spec.arity : count === spec.arity;
}

/**
 * @param args the name first; their number fits the arity.
 * @returns the keys that the command names, in their order.
 */
export function keysOf(spec: CommandSpec, args: readonly string[]): string[] {
  if (spec.firstKey === 0) return [];
  const last = spec.lastKey < 0 ? args.length + spec.lastKey : spec.lastKey;
  const keys: string[] = [];
  for (let i = spec.firstKey; i <= last; i += spec.keyStep) {
    const key = args[i];
    if (key !== undefined) keys.push(key);
  }
  return keys;
}
