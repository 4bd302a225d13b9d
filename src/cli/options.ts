/** Options that several commands share, and how their values are read. */

import { InvalidArgumentError } from "commander";

/** Where `hothot up` keeps what it has to remember, relative to the current directory. */
export const DEFAULT_DIR = ".hothot";

/** @returns a reader of a whole number from `min` to `max`. */
export function parseCount(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It has to be a whole number from ${min} to ${max}.`);
  };
}

/** Reads a TCP port. */
export function parsePort(text: string): number {
  return parseCount(1, 65_535)(text);
}

/** An address of a node as given on the command line. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `HOST:PORT`, an IPv6 host in brackets. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3];
  if (host === undefined || port === undefined) {
    throw new InvalidArgumentError("It has to be HOST:PORT, such as 127.0.0.1:8001.");
  }
  return { host, port: parsePort(port) };
}
