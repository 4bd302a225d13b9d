/** One other replica of a shard, as a node sees it. */

import type { NodeId } from "./configuration.ts";

/** What a node knows of another replica of the shard; begins anew with every epoch. */
export class PeerView {
  readonly node: NodeId;
  /** Newest own send time that the peer has echoed in this epoch. */
  echoMs = Number.NEGATIVE_INFINITY;
  /** Newest own send time that the peer has heard, whether it echoes for this shard or not: two that wait for each other's echo hear. */
  hearsMs = Number.NEGATIVE_INFINITY;
  /** Own time at which `hearsMs` last grew; of the epoch's installation before it did. */
  hearsAtMs: number;
  /** At a proven member: since when the peer is not echoed, for it does not hear this node and keeps it from serving. */
  deafSinceMs: number | undefined;
  /** Own time of the last heartbeat that counted; of the epoch's installation before one did. */
  heardMs: number;
  /** A heartbeat has counted in this epoch. */
  counted = false;
  /** The newest heartbeat from the peer named this epoch, so what it is sent echoes. */
  echoes = false;
  /** What the peer has acknowledged in this epoch. */
  ackSeq = 0;
  /** When `ackSeq` last grew or had nothing to grow to. */
  ackMovedMs: number;
  startedEpoch = 0;
  ready = false;
  /** Its disk has failed, by its last word. */
  lacksDisk = false;
  /** At the primary: last seq of the stream that was sent; the stream is broken while undefined. */
  sentSeq: number | undefined;
  /** At the primary: what follows this seq in the stream may come as stubs; what was ordered before the stream began comes whole. */
  stubsAfterSeq = Number.POSITIVE_INFINITY;
  /** At the primary: since when it has not echoed, to remove a live member. */
  evictingSinceMs: number | undefined;

  /** @param nowMs own time. */
  constructor(node: NodeId, nowMs: number) {
    this.node = node;
    this.heardMs = nowMs;
    this.hearsAtMs = nowMs;
    this.ackMovedMs = nowMs;
  }

  /** At the primary: the stream begins, or begins again, behind `seq`; what the log holds by now, up to `lastSeq`, comes whole. */
  beginStream(seq: number, lastSeq: number, nowMs: number): void {
    this.sentSeq = seq;
    this.stubsAfterSeq = lastSeq;
    this.ackMovedMs = nowMs;
  }

  /** Everything up to `seq` is there in this epoch, as this node hears at its own time `nowMs`. */
  acknowledged(seq: number, nowMs: number): void {
    if (seq <= this.ackSeq) return;
    this.ackSeq = seq;
    this.ackMovedMs = nowMs;
  }
}
