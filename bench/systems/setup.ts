/** A set-up: servers that run together and serve one data set. Several systems may be measured on one, asking for different promises. */

import type { Endpoint, Protocol } from "../load/job.ts";
import type { ServerProcess } from "./server-process.ts";

/** To which nodes clients connect. */
export type ClientKind =
  /** Connections spread over all nodes that take writes, each for all keys. */
  | "spread"
  /** All connections to one node. */
  | "one"
  /** A client that knows which node leads which slot and sends each request there. */
  | "routed";

/** Servers that run. */
export interface Setup {
  readonly protocol: Protocol;
  /** All processes that serve, the nodes first. */
  readonly processes: readonly ServerProcess[];
  /** Nodes among the processes; the others (witness, supervisor, sentinels) hold no keys. */
  readonly nodes: number;
  /** Endpoints are sentinels, which tell where the primary of this name is. */
  readonly sentinelOf?: string;
  /** Name of the process that the others follow, where there is one. */
  leader?(): Promise<string>;
  /** Where HotHot's nodes tell their metrics. */
  readonly httpPorts?: readonly number[];
  endpoints(clients: ClientKind): Promise<readonly Endpoint[]>;
  /** Stops all of them and removes their data. */
  stop(): Promise<void>;
}

/** A way to start a set-up. */
export interface SetupKind {
  readonly name: string;
  /** Programs that it needs, and the Debian packages that have them. */
  readonly needs: readonly { readonly program: string; readonly debian: string }[];
  /** How it is set up, for the reader of the results. */
  readonly description: string;
  start(options: SetupOptions): Promise<Setup>;
}

export interface SetupOptions {
  /** A directory of its own, for data and logs. */
  readonly dir: string;
  /** The built `hothot.js`. */
  readonly hothot: string;
  /** Keeps HotHot's nodes from raising their priority above that of their peers. */
  readonly isPlain: boolean;
  /** Variables of the environment of HotHot's processes beside the usual ones. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Waits until a condition holds; what it throws counts as not yet. @throws Error if it does not in time. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await pause(50);
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}${last === undefined ? "" : ` (${last})`}`);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
