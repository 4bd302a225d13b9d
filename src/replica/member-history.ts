/**
 * What a node remembers of the other members of its shards beyond one epoch: since when each is suspected or in sync, and how
 * often it was removed. It decides nothing but how long one that comes and goes has to stay away (R9).
 */

import type { NodeId, ShardId, ShardRecord } from "./configuration.ts";
import type { Host } from "./host.ts";

/** The longest time for which one that was removed has to stay away, ms. */
const ABSENCE_MS_MAX = 30_000;

/** When a member was first found removable, own time, and how long it had been silent then, ms. */
export interface Suspected {
  readonly atMs: number;
  readonly silentMs: number;
}

interface Removal {
  /** Removals in a row, each soon after the promotion. */
  readonly count: number;
  readonly atMs: number;
}

export class MemberHistory {
  readonly #host: Pick<Host, "now" | "settings">;
  readonly #suspected = new Map<string, Suspected>();
  readonly #removals = new Map<string, Removal>();
  readonly #inSyncSinceMs = new Map<string, number>();

  constructor(host: Pick<Host, "now" | "settings">) {
    this.#host = host;
  }

  /** Undefined while the member is not suspected. */
  suspected(shard: ShardId, node: NodeId): Suspected | undefined {
    return this.#suspected.get(keyOf(shard, node));
  }

  /** The member is suspected from now on. @param silentMs for how long it has not been heard. */
  suspect(shard: ShardId, node: NodeId, silentMs: number): void {
    this.#suspected.set(keyOf(shard, node), { atMs: this.#host.now.monoMs, silentMs });
  }

  /** The member is not suspected any more, if it was. */
  acquit(shard: ShardId, node: NodeId): void {
    if (this.#suspected.size > 0) this.#suspected.delete(keyOf(shard, node));
  }

  /** Own time; without end in the past for a member that was in sync when this node started. */
  inSyncSinceMs(shard: ShardId, node: NodeId): number {
    return this.#inSyncSinceMs.get(keyOf(shard, node)) ?? Number.NEGATIVE_INFINITY;
  }

  /** Whether one that was removed, if it was, has stayed away long enough to be promoted again. */
  mayReturn(shard: ShardId, node: NodeId): boolean {
    const removal = this.#removals.get(keyOf(shard, node));
    if (removal === undefined) return true;
    const { now, settings } = this.#host;
    const waitMs = Math.min(ABSENCE_MS_MAX, settings.leaseMs * 2 ** removal.count);
    return now.monoMs - removal.atMs >= waitMs;
  }

  /** A shard gets its next epoch. @param removed the members of the old one that are not in sync in the new one. */
  epochInstalled(before: ShardRecord, after: ShardRecord, removed: readonly NodeId[]): void {
    const { id } = after;
    for (const node of removed) this.#noteRemoval(id, node);
    for (const { node } of after.inSync) {
      if (!before.inSync.some((member) => member.node === node)) {
        this.#inSyncSinceMs.set(keyOf(id, node), this.#host.now.monoMs);
      }
    }
    for (const { node } of before.inSync) this.acquit(id, node);
  }

  /** A member that is removed again and again has to wait longer each time. */
  #noteRemoval(shard: ShardId, node: NodeId): void {
    const { now, settings } = this.#host;
    const key = keyOf(shard, node);
    const stayedMs = now.monoMs - this.inSyncSinceMs(shard, node);
    const isSteady = stayedMs > 10 * settings.leaseMs;
    const count = isSteady ? 0 : (this.#removals.get(key)?.count ?? 0) + 1;
    this.#removals.set(key, { count, atMs: now.monoMs });
  }
}

function keyOf(shard: ShardId, node: NodeId): string {
  return `${shard}:${node}`;
}
