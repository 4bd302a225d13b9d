/**
 * Whom a member of a shard may propose to remove (R5): who is silent, and, once its echo has been kept back for long enough,
 * who speaks and holds the shard up. It must never name a member whose lease could still hold.
 */

import type { Member, NodeId } from "./configuration.ts";
import type { Host } from "./host.ts";
import { LagMarks } from "./lag-marks.ts";
import type { Position } from "./messages.ts";
import type { PeerView } from "./peer-view.ts";
import type { Shard } from "./shard.ts";

/** Heartbeats within which a member must have been heard for its deafness to be more than silence. */
const HEARD_BEATS = 2.5;

export class Suspicion {
  readonly #host: Host;
  readonly #shard: Shard;
  #lag = new LagMarks();
  #isLagging = false;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  epochInstalled(): void {
    this.#lag = new LagMarks();
    this.#isLagging = false;
  }

  /** This node, the primary, holds the shard up itself: its disk has not taken an entry for too long (R15). */
  get isLagging(): boolean {
    return this.#isLagging;
  }

  /** Moves the deadlines by a stall of this node's own loop (R5). */
  moveDeadlines(byMs: number): void {
    const nowMs = this.#host.now.monoMs;
    const restarts = this.#host.mutant === "stall-restarts";
    for (const view of this.#shard.views.all) {
      view.heardMs = restarts ? nowMs : Math.min(nowMs, view.heardMs + byMs);
      view.hearsAtMs = restarts ? nowMs : Math.min(nowMs, view.hearsAtMs + byMs);
    }
  }

  /** Begins to remove those who hold the shard up, and lets off those who do not any more. */
  tick(): void {
    const shard = this.#shard;
    if (!shard.isStarted) return;
    this.#watchHearing();
    if (!shard.isPrimary) return;
    this.#watchLag();
    this.#watchExcess();
  }

  /**
   * Members whose heartbeats come and whose words do not, when the epoch cannot start for them.
   * @param sinceMs own time at which the epoch was installed.
   */
  watchStart(positions: ReadonlyMap<NodeId, Position>, sinceMs: number): void {
    const { now, limits } = this.#host;
    if (now.monoMs - sinceMs <= limits.lagMsMax) return;
    const { lastSeq } = this.#shard.log;
    const isSilent = ({ node }: Member): boolean => positions.get(node) === undefined;
    const hasMore = ({ node }: Member): boolean => (positions.get(node)?.lastSeq ?? 0) > lastSeq;
    for (const hinders of [isSilent, hasMore]) {
      const hindering = this.#shard.otherMembers.filter(hinders);
      for (const { node } of hindering) {
        this.#evict(node, "the epoch cannot start without what it has to tell");
      }
      if (hindering.length > 0) return;
    }
  }

  #evict(node: NodeId, why: string): void {
    const view = this.#shard.views.of(node);
    if (view.evictingSinceMs !== undefined) return;
    view.evictingSinceMs = this.#host.now.monoMs;
    this.#host.emit({ kind: "evicting", shard: this.#shard.id, node, why });
  }

  /** Members that have lacked an entry for too long (R15). */
  #watchLag(): void {
    const shard = this.#shard;
    const { now, limits } = this.#host;
    this.#lag.note(now.monoMs, { commitSeq: shard.commitSeq, lastSeq: shard.log.lastSeq });
    this.#watchOwnLag();
    for (const { node } of shard.otherMembers) {
      const view = shard.views.of(node);
      const ageMs = this.#lag.ageMs(now.monoMs, view.ackSeq);
      if (ageMs !== undefined && ageMs > limits.lagMsMax) {
        const lacking = `entry ${view.ackSeq + 1} for ${Math.round(ageMs)} ms`;
        this.#evict(node, `it has not acknowledged ${lacking}`);
      } else if (ageMs === undefined && !shard.takeover.isUnfit(node) && this.#isReplica(node)) {
        view.evictingSinceMs = undefined;
      }
    }
  }

  /** The primary leaves for its own lag as a member is removed for one. */
  #watchOwnLag(): void {
    const shard = this.#shard;
    const { now, limits, mutant } = this.#host;
    const ageMs = this.#lag.ageMs(now.monoMs, shard.ownSeq);
    const isLagging = ageMs !== undefined && (this.#isLagging || ageMs > limits.lagMsMax);
    if (isLagging === this.#isLagging || mutant === "slow-primary-stays") return;
    this.#isLagging = isLagging;
    this.#host.touch(shard.id);
    if (ageMs === undefined) return;
    const why = `its disk has not taken entry ${shard.ownSeq + 1} for ${Math.round(ageMs)} ms`;
    this.#host.emit({ kind: "evicting", shard: shard.id, node: this.#host.nodeId, why });
  }

  #isReplica(node: NodeId): boolean {
    return this.#shard.record.replicas.includes(node);
  }

  /**
   * Members that speak and do not hear: without their echo nobody serves, and they are never silent. Any proven member
   * watches, for the primary may be one of them.
   */
  #watchHearing(): void {
    const shard = this.#shard;
    const { now, settings, isDraining } = this.#host;
    if (!shard.isProven || isDraining) return;
    for (const { node } of shard.otherMembers) {
      const view = shard.views.of(node);
      const sinceMs = Math.max(view.hearsAtMs, shard.takeover.provenSinceMs);
      const isHeard = now.monoMs - view.heardMs < HEARD_BEATS * settings.heartbeatMs;
      const isDeaf = view.counted && isHeard && now.monoMs - sinceMs >= settings.leaseMs;
      if (!isDeaf || view.deafSinceMs !== undefined) continue;
      view.deafSinceMs = now.monoMs;
      const why = "it does not hear this node, which cannot serve without its echo";
      this.#host.emit({ kind: "evicting", shard: shard.id, node, why });
    }
  }

  /** Members that are no replicas any more, once all that are have the shard. */
  #watchExcess(): void {
    const shard = this.#shard;
    const excess = shard.otherMembers.filter(({ node }) => !this.#isReplica(node));
    if (excess.length === 0) return;
    const proven = new Set([this.#host.nodeId, ...shard.views.provenOthers]);
    if (!shard.record.replicas.every((node) => proven.has(node))) return;
    for (const { node } of excess) this.#evict(node, "it is no replica any more");
  }

  /** Members that this node may propose to remove now: silent, live but not echoed for long enough, or unfit. */
  removable(): ReadonlySet<NodeId> {
    const shard = this.#shard;
    const { now, mutant } = this.#host;
    const removed = new Set<NodeId>();
    if (!shard.isMember || (!shard.isProven && mutant !== "unproven-acts")) return removed;
    for (const member of shard.otherMembers) {
      const view = shard.views.of(member.node);
      const isUnfit = shard.takeover.isUnfit(member.node);
      // An unproven member serves nothing before this primary sends it the epoch start, which it never will.
      const isHarmless = isUnfit && !shard.isStarted && view.startedEpoch < member.since;
      if (isHarmless || this.#hasNoLease(view)) removed.add(member.node);
      else if (isUnfit) view.evictingSinceMs ??= now.monoMs;
    }
    return removed;
  }

  /** By what this node has heard and echoed, the member's lease has run out by its own clock too. */
  #hasNoLease(view: PeerView): boolean {
    const { now, settings, mutant } = this.#host;
    const waitMs =
      mutant === "suspects-early"
        ? settings.leaseMs / 3
        : settings.leaseMs * (1 + settings.driftBound) + settings.heartbeatMs;
    const silentMs = now.monoMs - Math.max(view.heardMs, this.#shard.takeover.provenSinceMs);
    const { evictingSinceMs = now.monoMs, deafSinceMs = now.monoMs } = view;
    const unechoedMs = now.monoMs - Math.min(evictingSinceMs, deafSinceMs);
    const isHasty = mutant === "removes-live-at-once" && view.evictingSinceMs !== undefined;
    return silentMs >= waitMs || unechoedMs >= waitMs || isHasty;
  }
}
