/** All commands on data, and how to find one. */

import type { Command } from "../data/command.ts";
import { assert } from "../kit/assert.ts";
import { expiryCommands } from "./expiry.ts";
import { keyCommands } from "./keys.ts";
import { NameTable } from "./name-table.ts";
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

const codes = new Map(dataCommands.map(({ name }, code) => [name, code]));
const codesByBytes = new NameTable(codes);

/** @param name in any case. */
export function findCommand(name: string): DataCommand | undefined {
  const code = codes.get(name.toLowerCase());
  return code === undefined ? undefined : dataCommands[code];
}

/** The command of the table that the first argument names, in any case; it is looked up once for each request. */
export function commandOf(command: Command): DataCommand | undefined {
  if (command.code < 0) command.code = codesByBytes.find(command) ?? -1;
  return dataCommands[command.code];
}

/** The place of a command in the table, which `Command.code` holds. */
export function codeOf({ name }: DataCommand): number {
  const code = codes.get(name);
  assert(code !== undefined, "it is a command of the table");
  return code;
}

/** @param count of the arguments, the name included. */
export function arityMatches(spec: CommandSpec, count: number): boolean {
  return spec.arity < 0 ? count >= -spec.arity : count === spec.arity;
}

/**
 * @param count of the arguments, the name included; it fits the arity.
 * @returns where the keys are among the arguments, in their order.
 */
export function keyPlaces(spec: CommandSpec, count: number): number[] {
  if (spec.firstKey === 0) return [];
  const last = spec.lastKey < 0 ? count + spec.lastKey : spec.lastKey;
  const places: number[] = [];
  for (let i = spec.firstKey; i <= last && i < count; i += spec.keyStep) places.push(i);
  return places;
}
