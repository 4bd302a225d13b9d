/** Whose turn it is to be copied whole: one full copy at a time leaves a node, so that its clients keep their latency (R9). */

import type { NodeId, ShardId } from "./configuration.ts";

/** Of the first copies of a process: what copies is slow until the engine has compiled it, and clients wait meanwhile. */
const WARM_UP_BYTES = 1 << 20;
const WARM_UP_SLOWER = 16;
/** Piece by piece then: some in a row, each as slow as that, would make clients wait for all of them. */
const WARM_UP_BURST_BYTES = 1;

export interface CopyTurn {
  readonly shard: ShardId;
  readonly learner: NodeId;
}

export class CopyTurns {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  /** Bytes that may be sent at `#atMs`; below 0 after a piece that was larger. */
  #allowance: number;
  #atMs = Number.NEGATIVE_INFINITY;
  #sentBytes = 0;
  #current: CopyTurn | undefined;
  /** In the order of asking. */
  readonly #waiting = new Map<string, CopyTurn>();
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  /**
   * @param bytesPerSecond the rate of all full copies together.
   * @param burstBytes what may be sent at once after a pause.
   */
  constructor(bytesPerSecond: number, burstBytes: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burstBytes = burstBytes;
    this.#allowance = WARM_UP_BURST_BYTES;
  }

  /** Whether another piece of a copy may be sent now. */
  maySend(nowMs: number): boolean {
    const sinceMs = nowMs - this.#atMs;
    this.#atMs = nowMs;
    const isWarmingUp = this.#sentBytes < WARM_UP_BYTES;
    const more = (sinceMs * this.#bytesPerMs) / (isWarmingUp ? WARM_UP_SLOWER : 1);
    const most = isWarmingUp ? WARM_UP_BURST_BYTES : this.#burstBytes;
    this.#allowance = Math.min(most, this.#allowance + more);
    return this.#allowance > 0;
  }

  /** A piece was sent. */
  sent(bytes: number): void {
    this.#allowance -= bytes;
    this.#sentBytes += bytes;
  }

  /** The copy under way; undefined if none is. */
  get current(): CopyTurn | undefined {
    return this.#current;
  }

  /** Copies that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether a copy to the learner is under way, or next as soon as another one ends. */
  isFilling(learner: NodeId, nowMs: number): boolean {
    if (this.#current?.learner === learner) return true;
    if (nowMs < this.#notBeforeMs) return false;
    for (const turn of this.#waiting.values()) if (turn.learner === learner) return true;
    return false;
  }

  /** No copy begins before this own time; one that is under way goes on. */
  hold(untilMs: number): void {
    this.#notBeforeMs = untilMs;
  }

  /** Whether the copy may begin now; if not, it stands in the queue. */
  take(turn: CopyTurn, nowMs: number): boolean {
    if (
      nowMs >= this.#notBeforeMs &&
      (this.#current === undefined || isSame(this.#current, turn))
    ) {
      this.#current = turn;
      this.#waiting.delete(keyOf(turn));
      return true;
    }
    this.#waiting.set(keyOf(turn), turn);
    return false;
  }

  /** The copy is over, or will not be made. */
  end(turn: CopyTurn): void {
    this.#waiting.delete(keyOf(turn));
    if (this.#current !== undefined && isSame(this.#current, turn)) this.#current = undefined;
  }

  /** Gives the turn to the next in the queue, if it is free; undefined if it is not, or nobody waits. */
  next(nowMs: number): CopyTurn | undefined {
    if (this.#current !== undefined || nowMs < this.#notBeforeMs) return undefined;
    for (const [key, turn] of this.#waiting) {
      this.#waiting.delete(key);
      this.#current = turn;
      return turn;
    }
    return undefined;
  }
}

function keyOf({ shard, learner }: CopyTurn): string {
  return `${shard}:${learner}`;
}

function isSame(left: CopyTurn, right: CopyTurn): boolean {
  return left.shard === right.shard && left.learner === right.learner;
}
