/** Options that several commands share, and how their values are read. */

import { availableParallelism, platform } from "node:os";
import { InvalidArgumentError, Option } from "commander";

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

/** More would wait for the one with the core. */
const THREADS_MAX = 64;

/**
 * `--threads`, of a node or of all nodes of a machine. Its default is the caller's.
 * @param usually that default in words.
 */
export function threadsOption(usually: string): Option {
  return new Option(
    "--threads <count>",
    `threads of a node, at most ${THREADS_MAX}: one for the data and its replicas, the others for clients' connections; 1 does all in one (default: ${usually})`,
  ).argParser(parseCount(1, THREADS_MAX));
}

/** @returns how many threads each of so many nodes of this machine has if nobody says: a core stays free for the rest. */
export function threadsOf(nodes: number): number {
  // There a thread cannot listen on what another has opened.
  if (platform() === "win32") return 1;
  const threads = Math.floor((availableParallelism() - 1) / nodes);
  return Math.min(THREADS_MAX, Math.max(1, threads));
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
