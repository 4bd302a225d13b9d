/** A histogram of times for what happens at every command: it counts in an array, and makes the metric when it is asked for. */

import type { Histogram, Registry } from "prom-client";

export interface LatencyHistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds of the buckets in seconds, ascending. */
  readonly bounds: readonly number[];
  readonly registry: Registry;
}

/** A sample as the registry wants it. */
interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

export class LatencyHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly aggregator = "sum";
  readonly #bounds: readonly number[];
  readonly #boundsMs: readonly number[];
  /** One count for each bucket, and the last for what is beyond them all. */
  #counts: number[];
  #sumMs = 0;

  constructor({ name, help, bounds, registry }: LatencyHistogramOptions) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#boundsMs = bounds.map((seconds) => seconds * 1000);
    this.#counts = bounds.map(() => 0);
    this.#counts.push(0);
    // The registry asks for nothing but the fields above, `get` and `reset`; its own type names its own classes.
    registry.registerMetric(this as unknown as Histogram);
  }

  /** Counts one time, ms. */
  observe(ms: number): void {
    const bounds = this.#boundsMs;
    const last = bounds.length;
    let at = 0;
    while (at < last && ms > (bounds[at] as number)) at += 1;
    (this.#counts[at] as number) += 1;
    this.#sumMs += ms;
  }

  /**
   * Adds times that were counted elsewhere.
   * @param counts for each bound one of what is not above it, and one for the rest.
   */
  add(counts: readonly number[], sumMs: number): void {
    for (const [at, count] of counts.entries()) (this.#counts[at] as number) += count;
    this.#sumMs += sumMs;
  }

  /** What the registry asks for. */
  get(): Promise<{ readonly values: readonly Sample[] }> {
    const { name, help, type, aggregator } = this;
    const values: Sample[] = [];
    let count = 0;
    for (const [at, inBucket] of this.#counts.entries()) {
      count += inBucket;
      const le = this.#bounds[at] ?? "+Inf";
      values.push({ metricName: `${name}_bucket`, labels: { le }, value: count });
    }
    values.push({ metricName: `${name}_sum`, labels: {}, value: this.#sumMs / 1000 });
    values.push({ metricName: `${name}_count`, labels: {}, value: count });
    const metric = { name, help, type, aggregator, values };
    return Promise.resolve(metric);
  }

  reset(): void {
    this.#counts.fill(0);
    this.#sumMs = 0;
  }
}
