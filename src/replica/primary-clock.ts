/**
 * The wall clock of a shard's primary, as far as this node can tell: by it keys come to their end (R11). It must never begin
 * earlier at a new primary than at the last one.
 */

import type { Host } from "./host.ts";
import type { Shard } from "./shard.ts";

export class PrimaryClock {
  readonly #host: Host;
  readonly #shard: Pick<Shard, "isPrimary">;
  /** As last seen, and at which own time; 0 before it was. */
  #seenMs = 0;
  #seenAtMs = 0;

  constructor(host: Host, shard: Pick<Shard, "isPrimary">) {
    this.#host = host;
    this.#shard = shard;
  }

  /** Now; a new primary's goes on from the last one's. */
  get wallMs(): number {
    const { now } = this.#host;
    const { mutant } = this.#host;
    if (this.#seenMs === 0 || mutant === "backup-expires") return now.wallMs;
    if (this.#shard.isPrimary && mutant === "sets-back-the-clock") return now.wallMs;
    const seenMs = this.#seenMs + (now.monoMs - this.#seenAtMs);
    return this.#shard.isPrimary ? Math.max(now.wallMs, seenMs) : seenMs;
  }

  /** Takes in what the primary has said; what is older than what it said before counts for nothing. */
  see(wallMs: number): void {
    if (wallMs < this.#seenMs) return;
    this.#seenMs = wallMs;
    this.#seenAtMs = this.#host.now.monoMs;
  }

  /** This node may cease to be the primary: whoever is next goes on from its clock. */
  epochEnds(): void {
    if (this.#shard.isPrimary) this.see(this.wallMs);
  }

  /** Goes on from the clock of the shard that this one comes out of (R16). */
  inherit(clock: PrimaryClock): void {
    this.#seenMs = clock.#seenMs;
    this.#seenAtMs = clock.#seenAtMs;
  }
}
