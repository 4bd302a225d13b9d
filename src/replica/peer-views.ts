/**
 * The other replicas of a shard as this node knows them by their heartbeats, and what it tells them with its own: echoes, on
 * which leases hang (R5), how far each is, and whether it is ready. It must never count what was said in another epoch, nor
 * by another process than the member's.
 */

import type { Incarnation, NodeId } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { ShardBeat } from "./messages.ts";
import { PeerView } from "./peer-view.ts";
import type { Shard } from "./shard.ts";

/** What is said of a heartbeat as a whole, for each shard in it. */
export interface BeatArrival {
  /** The sender's. */
  readonly incarnation: Incarnation;
  /** No heartbeat with a later send time has come from the peer. */
  readonly isNewest: boolean;
  /** Own send time that the heartbeat echoes, already known not to be in the future; -1 if none. */
  readonly echoMs: number;
  /** The sender's wall clock. */
  readonly wallMs: number;
}

export class PeerViews {
  readonly #host: Host;
  readonly #shard: Shard;
  #byNode = new Map<NodeId, PeerView>();
  #members: readonly PeerView[] = [];
  /** This node's lease in the shard holds before this own time. */
  leaseUntilMs = Number.NEGATIVE_INFINITY;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  /** Of the shard's in-sync members other than this node. */
  get members(): readonly PeerView[] {
    return this.#members;
  }

  /** Of all that are known. */
  get all(): Iterable<PeerView> {
    return this.#byNode.values();
  }

  /** Of this node, whatever it has to do with the shard. */
  of(node: NodeId): PeerView {
    let view = this.#byNode.get(node);
    if (view === undefined) {
      view = new PeerView(node, this.#host.now.monoMs);
      this.#byNode.set(node, view);
    }
    return view;
  }

  /** Everything begins anew, but for what does not depend on the epoch. The shard has its new holders and members already. */
  epochInstalled(): void {
    const { nodeId, mutant } = this.#host;
    const { holders, otherMembers } = this.#shard;
    const before = this.#byNode;
    this.#byNode = new Map();
    for (const node of holders) {
      if (node === nodeId) continue;
      const view = this.of(node);
      const earlier = before.get(node);
      view.startedEpoch = earlier?.startedEpoch ?? 0;
      view.lacksDisk = earlier?.lacksDisk ?? false;
      if (mutant === "acks-of-any-epoch") view.ackSeq = earlier?.ackSeq ?? 0;
      if (mutant === "echo-of-any-epoch") {
        view.echoMs = earlier?.echoMs ?? Number.NEGATIVE_INFINITY;
        view.echoes = true;
      }
    }
    // Members are holders, and no holder is forgotten before the next epoch: these stay the views of the members.
    this.#members = otherMembers.map(({ node }) => this.of(node));
    this.#updateLease();
  }

  /** Takes over who is proven, from the views at the shard that this one comes out of (R16). */
  inherit(views: PeerViews): void {
    for (const { node, startedEpoch } of views.all) this.of(node).startedEpoch = startedEpoch;
  }

  /** The node holds nothing of the shard any more, and shall not. */
  forget(node: NodeId): void {
    this.#byNode.delete(node);
  }

  // ---------------------------------------------------------------- what the members are fit for

  /** In-sync members that are known to be proven, this node aside, in the order of the shard's replicas. */
  get provenOthers(): readonly NodeId[] {
    const { holders, otherMembers } = this.#shard;
    return holders.filter((node) => {
      const member = otherMembers.find((candidate) => candidate.node === node);
      return member !== undefined && this.of(node).startedEpoch >= member.since;
    });
  }

  /** Those of the proven members whose disks have not failed: the shard can be left to them. */
  get heirs(): readonly NodeId[] {
    const { mutant } = this.#host;
    return this.provenOthers.filter(
      (node) => !this.of(node).lacksDisk || mutant === "leaves-to-the-diskless",
    );
  }

  /** Everything up to it is at every in-sync member: committed, but for what this node's own disk may lack. */
  get sharedSeq(): number {
    const { commitSeq, log } = this.#shard;
    if (this.#host.mutant === "waits-for-its-disk") return commitSeq;
    const acknowledged = this.#members.map(({ ackSeq }) => ackSeq);
    return Math.max(commitSeq, Math.min(log.lastSeq, ...acknowledged));
  }

  /** Every other in-sync member has acknowledged, in this epoch, all that the log holds. */
  get othersHaveAll(): boolean {
    const { commitSeq, log } = this.#shard;
    const { lastSeq } = log;
    if (this.#host.mutant === "leaves-when-saved") return commitSeq === lastSeq;
    return this.#members.every(({ ackSeq }) => ackSeq >= lastSeq);
  }

  // ---------------------------------------------------------------- heartbeats and the lease (R5)

  /** What the next heartbeat to the peer says of the shard. */
  beatFor(peer: NodeId): ShardBeat {
    const shard = this.#shard;
    const view = this.of(peer);
    return {
      shard: shard.id,
      epoch: shard.epoch,
      echoes:
        view.echoes &&
        view.evictingSinceMs === undefined &&
        view.deafSinceMs === undefined &&
        !this.#host.isFenced(shard.id, peer),
      ackSeq: shard.isStarted || shard.learner.isWhole ? Math.max(0, shard.ownSeq) : 0,
      commitSeq: shard.commitSeq,
      startedEpoch: shard.startedEpoch,
      ready: shard.learner.isReady,
      lacksDisk: this.#host.lacksDisk,
    };
  }

  /** Takes in what a heartbeat says of the shard. */
  onBeat(from: NodeId, beat: ShardBeat, at: BeatArrival): void {
    const shard = this.#shard;
    const { mutant, now } = this.#host;
    if (beat.epoch > shard.epoch) this.#host.askConfiguration(from);
    const memberIncarnation = shard.incarnationOf(from);
    const counts =
      (beat.epoch === shard.epoch ||
        (mutant === "echo-of-any-epoch" && beat.epoch > 0 && shard.epoch > 0)) &&
      (memberIncarnation === undefined ||
        memberIncarnation === at.incarnation ||
        mutant === "counts-predecessors");
    const view = this.of(from);
    if (at.isNewest) view.echoes = counts;
    if (!counts) return;
    view.heardMs = now.monoMs;
    if (!view.counted) {
      view.counted = true;
      // The peer's lease in the new epoch waits for an echo of this very heartbeat.
      this.#host.beatSoon(from);
    }
    if (at.echoMs > view.hearsMs) {
      view.hearsMs = at.echoMs;
      view.hearsAtMs = now.monoMs;
      view.deafSinceMs = undefined;
    }
    if (beat.echoes && at.echoMs > view.echoMs) {
      view.echoMs = at.echoMs;
      this.#updateLease();
    }
    view.startedEpoch = Math.max(view.startedEpoch, beat.startedEpoch);
    view.ready = beat.ready;
    if (at.isNewest && view.lacksDisk !== beat.lacksDisk) {
      view.lacksDisk = beat.lacksDisk;
      this.#host.touch(shard.id);
    }
    if (beat.epoch === shard.epoch) view.acknowledged(beat.ackSeq, now.monoMs);
    if (memberIncarnation === undefined) return;
    if (from === shard.record.primary) shard.clock.see(at.wallMs);
    if (beat.epoch === shard.epoch) shard.heardCommitted(beat.commitSeq);
    this.#maybeRestream(view, beat);
    this.#host.touch(shard.id);
  }

  /** From now on it ends a lease after the oldest of the newest own send times that each other member has echoed. */
  #updateLease(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { echoMs } of this.#members) oldest = Math.min(oldest, echoMs);
    this.leaseUntilMs = oldest + this.#host.settings.leaseMs;
  }

  /** Ends the lease at once: the clock cannot be trusted for the time before now. */
  endLease(): void {
    for (const view of this.#byNode.values()) view.echoMs = Number.NEGATIVE_INFINITY;
    this.#updateLease();
  }

  /** A member whose acknowledgements stand still behind what was sent gets the stream again from there (R7). */
  #maybeRestream(view: PeerView, beat: ShardBeat): void {
    const shard = this.#shard;
    const { now, settings } = this.#host;
    if (!shard.isPrimary || !shard.isStarted || view.sentSeq === undefined) return;
    if (beat.startedEpoch !== shard.epoch || view.ackSeq >= view.sentSeq) return;
    if (now.monoMs - view.ackMovedMs < 4 * settings.heartbeatMs) return;
    if (view.ackSeq + 1 < shard.log.firstSeq) return;
    view.beginStream(Math.max(view.ackSeq, shard.startSeq), shard.log.lastSeq, now.monoMs);
    this.#host.counters.resent += 1;
  }
}
