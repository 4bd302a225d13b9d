/** Counts of latencies in log-linear buckets: exact to 1 part in 128 from 0.1 µs to three minutes, without allocation. */

import type { LatencySummary } from "./job.ts";

const SUB_BITS = 7;
const SUB_BUCKETS = 1 << SUB_BITS;
/** Values are kept in tenths of a µs. */
const UNITS_PER_US = 10;
const UNITS_MAX = 0x7fff_ffff;
const BUCKETS = (32 - SUB_BITS) * SUB_BUCKETS;

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #maxUs = 0;

  /** @param us a latency, µs. */
  record(us: number): void {
    const units = Math.min(UNITS_MAX, Math.max(0, us * UNITS_PER_US)) | 0;
    const shift = Math.max(0, 31 - Math.clz32(units) - SUB_BITS);
    const bucket = shift * SUB_BUCKETS + (units >>> shift);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#count += 1;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxUs = 0;
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      p50: this.#quantile(0.5),
      p99: this.#quantile(0.99),
      p999: this.#quantile(0.999),
      max: this.#maxUs,
    };
  }

  /** The upper end of the bucket that holds the quantile, µs; 0 if nothing was recorded. */
  #quantile(share: number): number {
    const rank = Math.ceil(this.#count * share);
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS && rank > 0; bucket += 1) {
      seen += this.#counts[bucket] as number;
      if (seen >= rank) return Math.min(this.#maxUs, upperEnd(bucket) / UNITS_PER_US);
    }
    return 0;
  }
}

/** Buckets of the first two octaves are one unit wide; from there on each octave has 128. */
function upperEnd(bucket: number): number {
  if (bucket < 2 * SUB_BUCKETS) return bucket + 1;
  const shift = Math.floor(bucket / SUB_BUCKETS) - 1;
  return (bucket - shift * SUB_BUCKETS + 1) * 2 ** shift;
}
