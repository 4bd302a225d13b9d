/**
 * How a shard goes on when every in-sync member has restarted (R12): the replicas tell what their disks gave back, and the
 * one that holds most becomes the only in-sync member. It must never be one that holds less than another that was heard.
 */

import type { Incarnation, Member, NodeId, ShardRecord } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { Position } from "./messages.ts";
import { recovered } from "./reconfigure.ts";
import type { Shard } from "./shard.ts";

/** Heartbeats for which a replica's word holds; it is said again every second one. */
const WORD_BEATS = 10;

interface Word {
  readonly incarnation: Incarnation;
  readonly position: Position;
  readonly atMs: number;
}

/** What a replica holds, compared first by epoch and then by seq. */
export interface Held {
  readonly epoch: number;
  readonly seq: number;
}

interface Offer extends Held {
  readonly node: NodeId;
}

/** @returns what a replica at this position holds; undefined while a copy is under way. */
export function heldAt(position: Position): Held | undefined {
  if (!position.isUsable) return undefined;
  return { epoch: Math.max(position.startedEpoch, position.lastEpoch), seq: position.lastSeq };
}

export class Recovery {
  readonly #host: Host;
  readonly #shard: Shard;
  /** What the replicas of this shard last said in this epoch. */
  readonly #words = new Map<NodeId, Word>();

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  epochInstalled(): void {
    this.#words.clear();
  }

  heard(from: NodeId, position: Position): void {
    const incarnation = this.#host.linkedIncarnation(from);
    if (incarnation === undefined) return;
    this.#words.set(from, { incarnation, position, atMs: this.#host.now.monoMs });
  }

  disconnected(peer: NodeId): void {
    this.#words.delete(peer);
  }

  /** Replicas that have to be heard, and are not: who waits can say for whom. Empty where some in-sync member lives. */
  missing(): readonly NodeId[] {
    const { record } = this.#shard;
    if (record.inSync.some((member) => this.#lives(member))) return [];
    // Their nodes are here, and what they held is not.
    if (this.#areAllGone()) return record.inSync.map(({ node }) => node);
    return this.#voters().filter((node) => node !== this.#host.nodeId && !this.#word(node));
  }

  /** The next epoch, if this node is the one to go on; undefined if it is not, or if that cannot be told yet. */
  proposal(): ShardRecord | undefined {
    const shard = this.#shard;
    const { record } = shard;
    const { nodeId, incarnation, lost } = this.#host;
    if (shard.epoch === 0 || shard.isMember || !shard.isHolder || lost.has(nodeId))
      return undefined;
    if (!record.inSync.every((member) => this.#isOver(member))) return undefined;
    if (this.#areAllGone()) return undefined;
    if (!this.#voters().every((node) => node === nodeId || this.#word(node) !== undefined)) {
      return undefined;
    }
    const offers = this.#voters().flatMap((node) => this.#offer(node) ?? []);
    let best: Offer | undefined;
    for (const offer of offers) if (best === undefined || isMore(offer, best)) best = offer;
    if (best?.node !== nodeId) return undefined;
    shard.ownCopy.discardUnlessIntact();
    return recovered(record, nodeId, incarnation);
  }

  /** No disk of an in-sync member is left: to go on with less is for an administrator to decide. */
  #areAllGone(): boolean {
    const { settings, lost, nodeId, isFresh, mutant } = this.#host;
    if (settings.durability === "none" || lost.size > 0 || mutant === "empty-in-sync-wins")
      return false;
    return this.#shard.record.inSync.every(({ node }) =>
      node === nodeId ? isFresh : this.#word(node)?.position.isFresh === true,
    );
  }

  /** An in-sync member whose process of that time has ended, or that lives and has never been proven. */
  #isOver(member: Member): boolean {
    const { nodeId, incarnation, lost } = this.#host;
    if (lost.has(member.node) && this.#host.linkedIncarnation(member.node) === undefined)
      return true;
    if (member.node === nodeId) return member.incarnation !== incarnation;
    const word = this.#word(member.node);
    if (word === undefined) return this.#host.mutant === "recovers-beside-the-living";
    if (word.incarnation !== member.incarnation) return true;
    return word.position.isListed && word.position.startedEpoch < member.since;
  }

  #lives(member: Member): boolean {
    const { nodeId, incarnation } = this.#host;
    if (member.node === nodeId) return member.incarnation === incarnation;
    return this.#host.linkedIncarnation(member.node) === member.incarnation;
  }

  /**
   * Whose word is needed. Under `fsync` every in-sync member has all that was acknowledged on its disk; otherwise, and
   * when some are lost for good, any replica may hold most.
   */
  #voters(): readonly NodeId[] {
    const { record } = this.#shard;
    const { settings, lost, nodeId, mutant } = this.#host;
    if (mutant === "first-disk-wins" || mutant === "recovers-beside-the-living") return [nodeId];
    const all = this.#shard.holders.filter((node) => !lost.has(node));
    if (settings.durability !== "fsync" || lost.size > 0) return all;
    return all.filter((node) => record.inSync.some((member) => member.node === node));
  }

  #word(node: NodeId): Word | undefined {
    const word = this.#words.get(node);
    if (word === undefined || this.#host.linkedIncarnation(node) !== word.incarnation)
      return undefined;
    const ageMs = this.#host.now.monoMs - word.atMs;
    return ageMs > WORD_BEATS * this.#host.settings.heartbeatMs ? undefined : word;
  }

  #offer(node: NodeId): Offer | undefined {
    const shard = this.#shard;
    const position =
      node === this.#host.nodeId ? shard.takeover.position() : this.#word(node)?.position;
    if (position === undefined || position.isListed) return undefined;
    const member = shard.record.inSync.find((candidate) => candidate.node === node);
    const { settings, lost, mutant } = this.#host;
    if (settings.durability === "fsync" && lost.size === 0) {
      // What an unproven member holds is no more than what its feeder had.
      if (member === undefined || position.startedEpoch < member.since) return undefined;
    }
    const isEmptied = position.isFresh && settings.durability !== "none" && lost.size === 0;
    if (isEmptied && mutant !== "empty-in-sync-wins") return undefined;
    const held = heldAt(position);
    if (held !== undefined) return { node, ...held };
    // With the others lost for good, an empty shard is better than none.
    return lost.size > 0 ? { node, epoch: -1, seq: -1 } : undefined;
  }
}

function isMore(offer: Offer, best: Offer): boolean {
  return offer.epoch !== best.epoch ? offer.epoch > best.epoch : offer.seq > best.seq;
}
