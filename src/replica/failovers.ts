/** The failovers that a node has seen: how long each took from the failure until the shard served here again. */

import type { NodeId, ShardId, ShardRecord } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { MemberHistory, Suspected } from "./member-history.ts";
import type { Shard } from "./shard.ts";
import type { Failover } from "./surface.ts";

/** Failovers that `status` tells of. */
const FAILOVERS_KEPT = 64;

/** A failover whose shard does not serve again yet. */
type Failing = Omit<Failover, "gapMs" | "atWallMs"> & {
  /** Own time at which its gap began. */
  readonly fromMs: number;
};

export class Failovers {
  readonly #host: Host;
  readonly #history: Pick<MemberHistory, "suspected">;
  readonly #failing = new Map<ShardId, Failing>();
  readonly #kept: Failover[] = [];

  constructor(host: Host, history: Pick<MemberHistory, "suspected">) {
    this.#host = host;
    this.#history = history;
  }

  /** The last ones, oldest first. */
  get kept(): readonly Failover[] {
    return this.#kept;
  }

  /** The shard is about to get its next epoch, without some members; a failover, unless this node was none itself. */
  noteRemovals(shard: Shard, record: ShardRecord, removed: readonly NodeId[]): void {
    const { now, nodeId, settings } = this.#host;
    // A failover leaves somebody in sync. Who was not may have missed epochs, and a restart of all among them (R12).
    if (removed.length === 0 || removed.includes(nodeId) || !shard.isMember) return;
    let heardMs = Number.NEGATIVE_INFINITY;
    let suspected: Suspected | undefined;
    for (const node of removed) {
      heardMs = Math.max(heardMs, shard.views.of(node).heardMs);
      suspected = this.#history.suspected(shard.id, node) ?? suspected;
    }
    // A live member that is removed for its lag was not detected by its silence.
    const wasSilent = suspected !== undefined && suspected.silentMs >= settings.leaseMs;
    const earlier = this.#failing.get(shard.id);
    this.#failing.set(shard.id, {
      shard: shard.id,
      epoch: record.epoch,
      removed,
      oldPrimary: shard.record.primary,
      newPrimary: record.primary,
      detectionMs: wasSilent ? suspected?.silentMs : undefined,
      reconfigurationMs: suspected === undefined ? 0 : now.monoMs - suspected.atMs,
      fromMs: earlier?.fromMs ?? Math.max(heardMs, shard.lastCommitMs),
    });
  }

  /** Something has happened by which the shard may serve again: then its failover, if one was under way, is over. */
  noteRecovery(shard: Shard): void {
    const failing = this.#failing.get(shard.id);
    if (failing === undefined || !shard.serves) return;
    this.#failing.delete(shard.id);
    const { fromMs, ...rest } = failing;
    const { now, counters } = this.#host;
    const failover: Failover = { ...rest, gapMs: now.monoMs - fromMs, atWallMs: now.wallMs };
    counters.failovers += 1;
    this.#kept.push(failover);
    if (this.#kept.length > FAILOVERS_KEPT) this.#kept.shift();
    this.#host.emit({ kind: "failover", failover });
  }
}
