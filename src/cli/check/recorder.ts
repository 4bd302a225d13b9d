/** The history of a run while it is made, with what is counted on the way. */

import type { Action, OperationRecord } from "../../history/history.ts";
import type { Attempt } from "./connection.ts";

export class Recorder {
  readonly history: OperationRecord[] = [];
  readonly #startedAt = performance.now();
  #sessions = 0;
  #operations = 0;

  /** @returns milliseconds since the run began, with fractions. */
  now(): number {
    return performance.now() - this.#startedAt;
  }

  /** @returns the number of a new connection. */
  newSession(): number {
    return ++this.#sessions;
  }

  /** Notes one operation. */
  record(
    asked: {
      readonly session: number;
      readonly node: string;
      readonly invokedAt: number;
      readonly action: Action;
    },
    attempt: Attempt,
  ): void {
    const base = { id: ++this.#operations, ...asked };
    if (attempt.outcome === "ok") {
      const answeredAt = this.now();
      this.history.push({ ...base, outcome: "ok", answeredAt, result: attempt.result });
    } else if (attempt.outcome === "failed") {
      const answeredAt = this.now();
      this.history.push({ ...base, outcome: "failed", answeredAt, why: attempt.why });
    } else {
      this.history.push({ ...base, outcome: "unknown", why: attempt.why });
    }
  }
}
