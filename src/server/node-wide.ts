/**
 * What a server has to know or do that concerns all of a node, whose connections may be in several threads with a server each.
 * Answers may come before the call returns, as they do where there is only one server.
 */

import type { Refusal } from "../data/reply.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { NodeStatus } from "../replica/surface.ts";
import type { NodeDoor } from "../router/door.ts";
import type { Counters } from "./counters.ts";

/** Bytes, as `process.memoryUsage` counts them. */
export interface MemoryCounts {
  readonly heapUsed: number;
  readonly heapTotal: number;
  readonly external: number;
  readonly arrayBuffers: number;
}

/** What one server counts, and its thread takes. */
export interface ServerReport {
  readonly counters: Readonly<Counters>;
  readonly memory: MemoryCounts;
}

/** What INFO tells. */
export interface NodeReport extends ServerReport {
  readonly status: NodeStatus;
  readonly configuration: Configuration | undefined;
}

/** A connection as CLIENT LIST shows it. */
export interface ClientLine {
  readonly id: number;
  /** Without a line end. */
  readonly text: string;
}

/** Settings with their new values. */
export type SettingPairs = readonly (readonly [name: string, value: string])[];

export interface NodeWide {
  /** Threads of the node, the one with its core included. */
  readonly threads: number;
  /** The number of this server's thread: 0 for the one with the core. */
  readonly thread: number;
  /** Open connections of the node. */
  readonly connections: number;
  /**
   * Counts a new connection.
   * @param max connections that there may be.
   * @returns its number, which no other connection of this node has or had; undefined if there are `max` already.
   */
  admit(max: number): number | undefined;
  /** A connection that was admitted is closed. */
  left(): void;
  report(take: (report: NodeReport) => void): void;
  /** The open connections, by their numbers. */
  clients(take: (lines: readonly ClientLine[]) => void): void;
  /** Changes settings, all of them or none. @param take is told why not, undefined if it is done. */
  configure(pairs: SettingPairs, take: (refusal: Refusal | undefined) => void): void;
  resetCounters(done: () => void): void;
  /** Test only: gives no thread of the node a turn for so long, ms. */
  stall(ms: number, done: () => void): void;
}

/** Of a server, what its whole node is asked for. */
export interface ServerPart {
  report(): ServerReport;
  clients(): readonly ClientLine[];
  /** Changes settings, all of them or none. @returns why not, undefined if it is done. */
  configure(pairs: SettingPairs): Refusal | undefined;
  resetCounters(): void;
}

/** Of a node whose only server this is. */
class OnlyServer implements NodeWide {
  readonly threads = 1;
  readonly thread = 0;
  readonly #part: ServerPart;
  readonly #node: () => Pick<NodeReport, "status" | "configuration">;
  #nextId = 1;
  #connections = 0;

  constructor(part: ServerPart, node: () => Pick<NodeReport, "status" | "configuration">) {
    this.#part = part;
    this.#node = node;
  }

  get connections(): number {
    return this.#connections;
  }

  admit(max: number): number | undefined {
    if (this.#connections >= max) return undefined;
    this.#connections += 1;
    this.#nextId += 1;
    return this.#nextId - 1;
  }

  left(): void {
    this.#connections -= 1;
  }

  report(take: (report: NodeReport) => void): void {
    take({ ...this.#part.report(), ...this.#node() });
  }

  clients(take: (lines: readonly ClientLine[]) => void): void {
    take(this.#part.clients());
  }

  configure(pairs: SettingPairs, take: (refusal: Refusal | undefined) => void): void {
    take(this.#part.configure(pairs));
  }

  resetCounters(done: () => void): void {
    this.#part.resetCounters();
    done();
  }

  stall(ms: number, done: () => void): void {
    stallThread(ms);
    done();
  }
}

/** Of a server that is the only one of the node with this door. */
export function onlyServer(door: NodeDoor): (part: ServerPart) => NodeWide {
  return (part) =>
    new OnlyServer(part, () => ({ status: door.status(), configuration: door.configuration() }));
}

/** Gives no timer, socket or message of this thread a turn for so long, ms. */
export function stallThread(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What this thread's heap takes. */
export function memoryCounts(): MemoryCounts {
  const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
  return { heapUsed, heapTotal, external, arrayBuffers };
}

/** What several servers count and take together. @param reports at least one. */
export function sumReports([first, ...others]: readonly [
  ServerReport,
  ...ServerReport[],
]): ServerReport {
  const counters: Counters = { ...first.counters };
  const memory = { ...first.memory };
  for (const report of others) {
    addTo(counters, report.counters);
    addTo(memory, report.memory);
  }
  return { counters, memory };
}

function addTo<Counts extends { [Name in keyof Counts]: number }>(
  sum: { [Name in keyof Counts]: number },
  counts: Counts,
): void {
  for (const name of Object.keys(counts) as (keyof Counts)[]) sum[name] += counts[name];
}
