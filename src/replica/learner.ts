/**
 * A shard at a node that is not in sync: asks to be fed, and takes a copy or goes on from what it holds (R8, R9). It must
 * never be taken for a prefix of the shard's history while its copy is not whole.
 */

import { unreachable } from "../kit/assert.ts";
import type { NodeId } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { CopyChunk, CopyStart, FeedStart } from "./messages.ts";
import type { Shard } from "./shard.ts";

export class Learner {
  readonly #host: Host;
  readonly #shard: Shard;
  /** The state is what the log says up to its last seq, and nothing else; false from a copy's first word to its last. */
  isIntact = true;
  /** What the primary of `epoch` feeds it with. */
  #feed: { readonly id: number; readonly epoch: number; isWhole: boolean } | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  /** The stream of the present epoch comes here. */
  get isFeeding(): boolean {
    return !this.#shard.isMember && this.#feed?.epoch === this.#shard.epoch;
  }

  /** It holds all slots, and the stream of the present epoch goes on from there. */
  get isWhole(): boolean {
    if (!this.isFeeding) return false;
    return this.#feed?.isWhole === true || this.#host.mutant === "promotes-uncopied";
  }

  /** It holds all there is, on its disk too if need be, and has a fresh echo of every member. */
  get isReady(): boolean {
    const { ownSeq, views } = this.#shard;
    return this.isWhole && ownSeq >= 0 && this.#host.now.monoMs < views.leaseUntilMs;
  }

  /** It will get nothing more from whoever fed it, and asks again soon. */
  reset(): void {
    this.#feed = undefined;
    this.#askedMs = Number.NEGATIVE_INFINITY;
  }

  /** Tells all replicas where this one stands, while nobody feeds it: the primary will, and without one see R12. */
  tick(): void {
    const { now, settings } = this.#host;
    if (this.#feed !== undefined || now.monoMs - this.#askedMs < 2 * settings.heartbeatMs) return;
    this.#askedMs = now.monoMs;
    for (const node of this.#shard.holders) this.#shard.takeover.sendPosition(node);
  }

  receive(from: NodeId, message: FeedStart | CopyStart | CopyChunk): void {
    switch (message.kind) {
      case "feed-start":
        this.#onFeedStart(from, message);
        break;
      case "copy-start":
        this.#onCopyStart(from, message);
        break;
      case "copy-chunk":
        this.#onCopyChunk(from, message);
        break;
      default:
        unreachable(message);
    }
  }

  #onFeedStart(from: NodeId, start: FeedStart): void {
    const shard = this.#shard;
    if (!this.#isFromPrimary(from, start.epoch)) return;
    if (!this.isIntact || start.fromSeq !== shard.log.lastSeq) return;
    this.#feed = { id: start.copyId, epoch: start.epoch, isWhole: true };
    shard.clock.see(start.wallMs);
    shard.ownCopy.expectSaved();
    this.#host.beatSoon();
  }

  #onCopyStart(from: NodeId, start: CopyStart): void {
    if (!this.#isFromPrimary(from, start.epoch)) return;
    this.isIntact = this.#host.mutant === "promotes-uncopied";
    this.#feed = { id: start.copyId, epoch: start.epoch, isWhole: false };
    this.#shard.ownCopy.beginCopy(start);
  }

  #onCopyChunk(from: NodeId, chunk: CopyChunk): void {
    const feed = this.#feed;
    const shard = this.#shard;
    if (feed === undefined || feed.id !== chunk.copyId) return;
    if (feed.isWhole || !this.#isFromPrimary(from, chunk.epoch)) return;
    shard.machine.copyIn(chunk.records);
    if (chunk.isLast) {
      feed.isWhole = true;
      this.isIntact = true;
      shard.ownCopy.store();
      this.#host.beatSoon();
    }
    const { copyId, index, epoch } = chunk;
    this.#host.send(from, { kind: "copy-ack", shard: shard.id, epoch, copyId, index });
  }

  #isFromPrimary(from: NodeId, epoch: number): boolean {
    const shard = this.#shard;
    return epoch === shard.epoch && from === shard.record.primary && !shard.isMember;
  }
}
