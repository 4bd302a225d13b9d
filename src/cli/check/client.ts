/** One client of `hothot check`: asks, waits for the answer, thinks for a moment, asks again; and moves on when its server dies. */

import type { Prng } from "../../kit/prng.ts";
import type { Address } from "../options.ts";
import { pause } from "../processes.ts";
import { errorKindOf } from "./allowances.ts";
import { Connection } from "./connection.ts";
import type { Recorder } from "./recorder.ts";
import type { Workload } from "./workload.ts";

/** A server that clients may use. */
export interface Target extends Address {
  /** Its name in the history. */
  readonly id: string;
}

export interface ClientOptions {
  readonly targets: readonly Target[];
  /** Index of the target to begin with. */
  readonly first: number;
  /** Longest time between an answer and the next question, ms; the mean is half of it. */
  readonly thinkMs: number;
  /** Longest time that an operation may take, ms. */
  readonly timeoutMs: number;
  readonly prng: Prng;
  readonly workload: Workload;
  readonly recorder: Recorder;
  readonly signal: AbortSignal;
  /** Told each error of an operation: the node, the moment from which on a fault may have caused it, what it said. */
  readonly onError: (node: string, from: number, why: string) => void;
}

/** Pause before another server is tried, ms. */
const RECONNECT_MS = 50;
/** A client moves to another server after about so many operations, so that a node that came back has clients again. */
const MOVE_EVERY = 400;

/** Runs one client until the signal; its operation under way is waited for. */
export async function runClient(options: ClientOptions): Promise<void> {
  const { targets, prng, workload, recorder, signal } = options;
  let next = options.first;
  while (!signal.aborted) {
    const target = targets[next % targets.length];
    if (target === undefined) return;
    let connection: Connection;
    // What the server said last says only that it lived since it was asked.
    let livedAt = recorder.now();
    try {
      connection = await Connection.open(target, prng.chance(0.5) ? 3 : 2);
    } catch {
      await pause(RECONNECT_MS);
      next++;
      continue;
    }
    const session = recorder.newSession();
    let left = targets.length > 1 ? 1 + prng.below(2 * MOVE_EVERY) : Number.POSITIVE_INFINITY;
    while (!signal.aborted && connection.isOpen && left-- > 0) {
      const action = workload.next();
      const invokedAt = recorder.now();
      const attempt = await connection.attempt(action, options.timeoutMs, prng.chance(0.5));
      recorder.record({ session, node: target.id, invokedAt, action }, attempt);
      if (attempt.outcome !== "ok") {
        // An answer of a server that is gone since may arrive only when the network works again, the farewell behind it.
        const isLost = errorKindOf(attempt.why) === "lost";
        options.onError(target.id, isLost ? livedAt : invokedAt, attempt.why);
      } else if (action.kind === "append" && typeof attempt.result === "number") {
        workload.sawLength(action.key, attempt.result);
      } else if (action.kind === "get" && typeof attempt.result === "string") {
        workload.sawLength(action.key, attempt.result.length);
      }
      livedAt = invokedAt;
      if (options.thinkMs > 0) await pause(prng.between(0, options.thinkMs));
    }
    const wasLost = !connection.isOpen;
    connection.close();
    if (wasLost) {
      await pause(RECONNECT_MS);
      next++;
    } else {
      next += 1 + prng.below(targets.length);
    }
  }
}
