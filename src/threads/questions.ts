/** What the main thread and the others ask each other, and what a thread starts with. All of it is cloned on its way. */

import type { Refusal } from "../data/reply.ts";
import type { CommandCounts } from "../node/metrics.ts";
import type { Configuration } from "../replica/configuration.ts";
import type { ClientLine, NodeReport, ServerReport, SettingPairs } from "../server/node-wide.ts";
import type { InitialSettings } from "../server/settings.ts";
import type { LaneMemory } from "./lane.ts";

type Nothing = undefined;

/** A refusal without its class, which a clone loses. */
export type RefusalFields = Pick<Refusal, "code" | "message">;

/** What the main thread asks each of the others. */
export type ThreadQuestions = {
  /** Which settings hold and where to listen: then it takes connections. */
  readonly listen: {
    readonly ask: { readonly host: string; readonly port: number; readonly descriptor?: number };
    readonly answer:
      | { readonly kind: "listening"; readonly port: number; readonly descriptor: number }
      | { readonly kind: "failed"; readonly code: string | undefined; readonly message: string };
  };
  /** From now on operations are routed by this one. */
  readonly configuration: { readonly ask: Configuration; readonly answer: Nothing };
  readonly report: { readonly ask: Nothing; readonly answer: ServerReport };
  readonly clients: { readonly ask: Nothing; readonly answer: readonly ClientLine[] };
  readonly configure: {
    readonly ask: SettingPairs;
    readonly answer: RefusalFields | undefined;
  };
  readonly resetCounters: { readonly ask: Nothing; readonly answer: Nothing };
  /** What was counted since this was asked last. */
  readonly tallies: { readonly ask: Nothing; readonly answer: CommandCounts };
  /** Gives the thread no turn for so long, ms. */
  readonly stall: { readonly ask: number; readonly answer: Nothing };
  /** Takes no more connections, and waits so long, ms, until those that there are have their answers and are closed. */
  readonly close: { readonly ask: number; readonly answer: Nothing };
};

/** What a thread asks the main thread, about all of the node. */
export type NodeQuestions = Pick<
  ThreadQuestions,
  "clients" | "configure" | "resetCounters" | "stall"
> & {
  readonly report: { readonly ask: Nothing; readonly answer: NodeReport };
};

/** What a thread starts with. */
export interface ThreadStart {
  readonly sending: LaneMemory;
  readonly receiving: LaneMemory;
  /** Of `SharedCounts`. */
  readonly counts: SharedArrayBuffer;
  /** Threads of the node, the main one included. */
  readonly threads: number;
  /** Number of this one, from 1. */
  readonly thread: number;
  readonly settings: InitialSettings;
  readonly enableDebug: boolean;
  /** Of HotHot, for INFO. */
  readonly version: string;
  /** Upper bounds of the latencies' buckets, ms. */
  readonly latencyBoundsMs: readonly number[];
}
