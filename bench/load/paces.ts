/** When batches are sent: each when the one before it was answered, at a rate, or key after key. */

import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { performance } from "node:perf_hooks";
import type { Prng } from "../../src/kit/prng.ts";
import type { Batch } from "./batch.ts";
import type { Connection } from "./connection.ts";
import type { Histogram } from "./histogram.ts";
import type { KeySequence } from "./keys.ts";

/** The batches of each connection, by its index. */
export type Batches = readonly (readonly Batch[])[];

/** What a pace counts; the generator clears it when the measured time begins. */
export interface Tally {
  /** Of batches. */
  readonly latency: Histogram;
  readonly lateness: Histogram;
  operations: number;
  writes: number;
}

/** Sends a batch on each connection and the next when it is answered, until `stop`. */
export class ClosedPace {
  readonly #batches: Batches;
  readonly #tally: Tally;
  /** Which batch comes next: drawn once, because drawing costs more than counting. */
  readonly #turns: Uint16Array;
  #turn = 0;
  #isStopped = false;

  constructor(batches: Batches, tally: Tally, prng: Prng) {
    this.#batches = batches;
    this.#tally = tally;
    const choices = batches[0]?.length ?? 1;
    this.#turns = Uint16Array.from({ length: 4_099 }, () => prng.below(choices));
  }

  start(connections: readonly Connection[]): void {
    for (const connection of connections) {
      connection.onReplies = (whose) => {
        if (whose.outstanding === 0) this.#finish(whose);
      };
      this.#send(connection, performance.now());
    }
  }

  /** Nothing more is sent; what is under way is still answered. */
  stop(): void {
    this.#isStopped = true;
  }

  #finish(connection: Connection): void {
    const nowMs = performance.now();
    const batch = connection.batch as Batch;
    if (batch.follow !== undefined) {
      connection.batch = batch.follow;
      connection.sendOnSameKey(batch.follow);
      return;
    }
    const tally = this.#tally;
    tally.latency.record((nowMs - connection.sentMs) * 1_000);
    tally.operations += batch.operations;
    tally.writes += batch.writes;
    if (!this.#isStopped) this.#send(connection, nowMs);
  }

  #send(connection: Connection, nowMs: number): void {
    const choices = this.#batches[connection.index] as readonly Batch[];
    this.#turn = this.#turn + 1 < this.#turns.length ? this.#turn + 1 : 0;
    const batch = choices[this.#turns[this.#turn] as number] as Batch;
    connection.batch = batch;
    connection.sentMs = nowMs;
    connection.send(batch);
  }
}

/** Operations that a connection may have under way at a rate; beyond it the server cannot hold the rate. */
const UNDER_WAY_MAX = 1 << 15;
/**
 * Sleep between two looks at the clock and for replies, ms. A batch goes out so much late at most, and a reply is seen so much
 * late; both count as latency, alike for all systems. Less would cost the servers more of the processors.
 */
const SLEEP_MS = 0.1;

/** Before all servers, HotHot's nodes included. */
const PROMPT_PRIORITY = -10;

/** What one connection has under way, oldest first: the moments at which it was due, and the replies that it still lacks. */
class UnderWay {
  readonly #dueMs = new Float64Array(UNDER_WAY_MAX);
  readonly #replies = new Uint16Array(UNDER_WAY_MAX);
  #head = 0;
  length = 0;

  push(dueMs: number, replies: number): void {
    const at = (this.#head + this.length) & (UNDER_WAY_MAX - 1);
    this.#dueMs[at] = dueMs;
    this.#replies[at] = replies;
    this.length += 1;
  }

  /** Takes a reply. @returns when the batch that it completes was due, -1 if it completes none. */
  take(): number {
    const head = this.#head;
    const replies = (this.#replies[head] as number) - 1;
    this.#replies[head] = replies;
    if (replies > 0) return -1;
    this.#head = (head + 1) & (UNDER_WAY_MAX - 1);
    this.length -= 1;
    return this.#dueMs[head] as number;
  }
}

/**
 * Sends batches at even intervals, each connection in turn, whatever becomes of those before. A latency counts from the
 * moment at which the batch was due, so that a server that stands still is charged for all who would have come meanwhile.
 */
export class OpenPace {
  readonly #batches: Batches;
  readonly #tally: Tally;
  readonly #prng: Prng;
  readonly #intervalMs: number;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));
  #isStopped = false;
  #dueMs = 0;
  #next = 0;

  /** @param batchesPerSecond of all connections together. */
  constructor(batches: Batches, tally: Tally, prng: Prng, batchesPerSecond: number) {
    this.#batches = batches;
    this.#tally = tally;
    this.#prng = prng;
    this.#intervalMs = 1_000 / batchesPerSecond;
  }

  /** @param onOverload told when a connection has too much under way. */
  start(connections: readonly Connection[], onOverload: (error: Error) => void): void {
    const underWay = connections.map(() => new UnderWay());
    for (const connection of connections) {
      const own = underWay[connection.index] as UnderWay;
      connection.onReplies = (_, replies) => this.#onReplies(own, replies);
    }
    becomePrompt();
    this.#dueMs = performance.now();
    const turn = (): void => {
      if (this.#isStopped) return;
      for (let nowMs = performance.now(); this.#dueMs <= nowMs; nowMs = performance.now()) {
        const own = underWay[this.#next] as UnderWay;
        if (own.length >= UNDER_WAY_MAX) {
          onOverload(new Error("the system cannot hold the rate"));
          return;
        }
        this.#send(connections[this.#next] as Connection, own, nowMs);
        this.#next = this.#next + 1 < connections.length ? this.#next + 1 : 0;
        this.#dueMs += this.#intervalMs;
      }
      // A timer of the event loop has a grain of 1 ms; this one of some µs.
      Atomics.wait(this.#sleeper, 0, 0, SLEEP_MS);
      setImmediate(turn);
    };
    turn();
  }

  /** Nothing more is sent; what is under way is still answered. */
  stop(): void {
    this.#isStopped = true;
    becomeUsual();
  }

  #send(connection: Connection, own: UnderWay, nowMs: number): void {
    this.#tally.lateness.record((nowMs - this.#dueMs) * 1_000);
    const choices = this.#batches[connection.index] as readonly Batch[];
    const batch = choices[this.#prng.below(choices.length)] as Batch;
    own.push(this.#dueMs, batch.replies);
    this.#tally.writes += batch.writes;
    connection.send(batch);
  }

  #onReplies(own: UnderWay, replies: number): void {
    const nowMs = performance.now();
    for (let reply = 0; reply < replies; reply += 1) {
      const dueMs = own.take();
      if (dueMs < 0) continue;
      this.#tally.latency.record((nowMs - dueMs) * 1_000);
      this.#tally.operations += 1;
    }
  }
}

/**
 * Lets this process be on time, as far as it may: a client that waits for a processor is no property of the servers. What it
 * could not have shows in `lateness`.
 */
function becomePrompt(): void {
  try {
    setPriority(PROMPT_PRIORITY);
    // Else the kernel wakes sleepers up to 50 µs late.
    writeFileSync("/proc/self/timerslack_ns", "1000");
  } catch {
    // Without the right, or on an older kernel.
  }
}

function becomeUsual(): void {
  try {
    setPriority(0);
  } catch {
    // It was never raised.
  }
}

/** Sends each key of the connections' sources once, then resolves. */
export function fill(
  batches: Batches,
  connections: readonly Connection[],
  sources: readonly KeySequence[],
  tally: Tally,
): Promise<void> {
  return new Promise((resolve) => {
    let live = connections.length;
    const next = (connection: Connection): void => {
      const source = sources[connection.index % sources.length] as KeySequence;
      const batch = batches[connection.index]?.[0] as Batch;
      if (source.isDone) {
        live -= 1;
        if (live === 0) resolve();
        return;
      }
      tally.operations += batch.operations;
      tally.writes += batch.writes;
      connection.send(batch);
    };
    for (const connection of connections) {
      connection.onReplies = (whose) => {
        if (whose.outstanding === 0) next(whose);
      };
    }
    for (const connection of connections) next(connection);
  });
}
