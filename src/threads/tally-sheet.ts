/** Counts the answers to clients' commands in one thread, until the main thread fetches the counts for the node's metrics. */

import type { CommandCounts } from "../node/metrics.ts";
import type { CommandObserver, CommandTally } from "../server/known-commands.ts";

export class TallySheet implements CommandObserver {
  readonly #boundsMs: readonly number[];
  readonly #tallies = new Map<string, Tally>();
  #latencies: number[];
  #sumMs = 0;

  /** @param boundsMs upper bounds of the latencies' buckets, ascending, ms. */
  constructor(boundsMs: readonly number[]) {
    this.#boundsMs = boundsMs;
    this.#latencies = this.#noLatencies();
  }

  tallyOf(command: string): CommandTally {
    let tally = this.#tallies.get(command);
    if (tally === undefined) {
      tally = new Tally(this);
      this.#tallies.set(command, tally);
    }
    return tally;
  }

  /** Counts one latency, ms. */
  observe(ms: number): void {
    const bounds = this.#boundsMs;
    const last = bounds.length;
    let at = 0;
    while (at < last && ms > (bounds[at] as number)) at += 1;
    (this.#latencies[at] as number) += 1;
    this.#sumMs += ms;
  }

  /** Gives the counts away, and begins anew. */
  take(): CommandCounts {
    const commands = [...this.#tallies]
      .filter(([, { ok, errors }]) => ok > 0 || errors > 0)
      .map(([command, tally]) => ({ command, ...tally.take() }));
    const report = { commands, latencies: this.#latencies, latencySumMs: this.#sumMs };
    this.#latencies = this.#noLatencies();
    this.#sumMs = 0;
    return report;
  }

  #noLatencies(): number[] {
    return new Array<number>(this.#boundsMs.length + 1).fill(0);
  }
}

class Tally implements CommandTally {
  ok = 0;
  errors = 0;
  readonly #sheet: TallySheet;

  constructor(sheet: TallySheet) {
    this.#sheet = sheet;
  }

  answered(isRefusal: boolean, ms: number): void {
    if (isRefusal) this.errors += 1;
    else this.ok += 1;
    this.#sheet.observe(ms);
  }

  take(): { readonly ok: number; readonly errors: number } {
    const { ok, errors } = this;
    this.ok = 0;
    this.errors = 0;
    return { ok, errors };
  }
}
