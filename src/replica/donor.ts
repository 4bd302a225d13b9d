/**
 * A shard's primary as the source of its learners: from the log where what a learner holds is a prefix (R8), else with a
 * copy, slot by slot within the stream (R9). It must never call a learner fed that lacks anything committed.
 */

import { type NodeId, SLOT_COUNT } from "./configuration.ts";
import { Feed } from "./feed.ts";
import type { Host } from "./host.ts";
import type { Position } from "./messages.ts";
import type { Shard } from "./shard.ts";
import type { FeedStatus } from "./surface.ts";

/** Heartbeats within which a learner has to follow what is ordered, to be promoted: it tells how far it is with each. */
const CLOSE_BEHIND_BEATS = 4;

export class Donor {
  readonly #host: Host;
  readonly #shard: Shard;
  readonly #feeds = new Map<NodeId, Feed>();
  #nextCopyId = 1;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  /** How far each learner is. */
  status(): readonly FeedStatus[] {
    const { record, machine } = this.#shard;
    const slots = record.lastSlot - record.firstSlot + 1;
    return [...this.#feeds].map(([learner, feed]) => ({
      learner,
      kind: feed.isCopy ? "copy" : "log",
      slotsSent: feed.isSent ? slots : feed.slot - record.firstSlot,
      slots,
      bytesSent: feed.bytesSent,
      keysSent: feed.keysSent,
      keys: machine.size,
      sinceMs: this.#host.now.monoMs - feed.startedMs,
      isFed: this.isFed(learner),
    }));
  }

  epochInstalled(): void {
    for (const node of [...this.#feeds.keys()]) this.drop(node);
  }

  /** The learner is gone, or is to begin anew. */
  drop(node: NodeId): void {
    if (this.#feeds.delete(node)) this.#host.copyEnded(this.#shard.id, node);
  }

  /** Feeds a learner that tells where it stands; a copy may have to wait for its turn. */
  offer(node: NodeId, position: Position): void {
    const shard = this.#shard;
    if (!shard.record.replicas.includes(node)) return;
    if (shard.takeover.canFeed(position)) {
      this.drop(node);
      const { now } = this.#host;
      const feed = this.#begin(
        node,
        new Feed(this.#nextCopyId, position.lastSeq, undefined, now.monoMs),
      );
      this.#host.send(node, {
        kind: "feed-start",
        shard: shard.id,
        epoch: shard.epoch,
        copyId: feed.copyId,
        fromSeq: position.lastSeq,
        wallMs: shard.clock.wallMs,
      });
    } else if (this.#host.mayCopy(shard.id, node)) this.copyTo(node);
  }

  /** Begins a copy, whose turn it is. */
  copyTo(node: NodeId): void {
    const shard = this.#shard;
    const { log } = shard;
    const { firstSlot } = shard.record;
    const { monoMs } = this.#host.now;
    const feed = this.#begin(node, new Feed(this.#nextCopyId, log.lastSeq, firstSlot, monoMs));
    this.#host.emit({ kind: "copy", shard: shard.id, learner: node, step: "begun" });
    this.#host.send(node, {
      kind: "copy-start",
      shard: shard.id,
      epoch: shard.epoch,
      copyId: feed.copyId,
      seq: log.lastSeq,
      epochs: [...log.epochs],
      commitSeq: shard.commitSeq,
      stamps: this.#host.mutant === "copy-without-stamps" ? [] : shard.stamps.records(),
      wallMs: shard.clock.wallMs,
    });
  }

  #begin(node: NodeId, feed: Feed): Feed {
    this.#nextCopyId += 1;
    this.#feeds.set(node, feed);
    this.#host.touch(this.#shard.id);
    return feed;
  }

  acknowledged(node: NodeId, copyId: number, index: number): void {
    const feed = this.#feeds.get(node);
    if (feed === undefined || feed.copyId !== copyId) return;
    if (feed.acknowledge(index)) {
      this.#host.emit({ kind: "copy", shard: this.#shard.id, learner: node, step: "done" });
      this.#host.copyEnded(this.#shard.id, node);
    }
    this.#host.touch(this.#shard.id);
  }

  /**
   * Whether the learner has all slots, follows the stream closely, and what it holds as state only, without entries to
   * send on, is at every member.
   */
  isFed(node: NodeId): boolean {
    const feed = this.#feeds.get(node);
    if (feed === undefined) return false;
    const { mutant } = this.#host;
    if (mutant === "promotes-uncopied") return true;
    if (mutant === "dirty-snapshot") return feed.isWhole;
    return feed.isCloseBehind && this.#shard.views.sharedSeq >= feed.baseSeq;
  }

  /** The last seq that no learner can ask for any more or has yet to be sent, at most `seq`. */
  keptAfter(seq: number, isTooMuch: boolean): number {
    let cut = seq;
    for (const [node, feed] of this.#feeds) {
      // One that is too slow is judged anew when it asks. One that asked again may have acknowledged, of the feed before,
      // more than it has been sent of this one.
      const kept = isTooMuch
        ? feed.sentSeq
        : Math.max(feed.baseSeq, this.#shard.views.of(node).ackSeq);
      cut = Math.min(cut, kept, this.#host.mutant === "cuts-unsent" ? kept : feed.sentSeq);
    }
    return cut;
  }

  tick(): void {
    const { now, settings } = this.#host;
    const withinMs = CLOSE_BEHIND_BEATS * settings.heartbeatMs;
    const { lastSeq } = this.#shard.log;
    for (const [node, feed] of this.#feeds) {
      feed.note(now.monoMs, withinMs, { ackSeq: this.#shard.views.of(node).ackSeq, lastSeq });
    }
    // A feed that had no turn for its next chunk goes on.
    if (this.#feeds.size > 0) this.#host.touch(this.#shard.id);
  }

  flush(): void {
    for (const [node, feed] of this.#feeds) this.#send(node, feed);
  }

  /** Chunks of slots, between them the stream's entries with their effects on the slots that have been sent. */
  #send(node: NodeId, feed: Feed): void {
    const shard = this.#shard;
    for (;;) {
      while (feed.sentSeq < shard.log.lastSeq) {
        const entries = shard.nextEntries(feed.sentSeq);
        const isWhole = feed.isSent || this.#host.mutant === "unfiltered-copy";
        shard.sendEntries(node, entries, isWhole ? SLOT_COUNT : feed.slot);
        feed.sentSeq += entries.length;
      }
      if (feed.isSent || feed.pendingBytes >= this.#host.limits.copyWindowBytes) return;
      if (!this.#host.takeCopyTurn()) return;
      const { records, nextSlot } = shard.machine.copyOut(
        feed.slot,
        this.#host.limits.copyChunkBytes,
      );
      const isLast = nextSlot > shard.record.lastSlot;
      const sentBytes = feed.bytesSent;
      const index = feed.sent(records, nextSlot, isLast);
      this.#host.copied(feed.bytesSent - sentBytes);
      this.#host.send(node, {
        kind: "copy-chunk",
        shard: shard.id,
        epoch: shard.epoch,
        copyId: feed.copyId,
        index,
        records,
        isLast,
      });
    }
  }
}
