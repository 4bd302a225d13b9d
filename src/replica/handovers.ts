/**
 * Planned changes of the shards whose primary this node is: to another primary (R14), and into two shards (R16). For a while
 * the primary orders nothing, until all members have everything and the change can be proposed.
 */

import { type NodeId, SHARDS_MAX, type ShardId, type ShardRecord } from "./configuration.ts";
import type { Holdings } from "./holdings.ts";
import type { NodeHost } from "./host.ts";
import type { MemberHistory } from "./member-history.ts";
import { divided, withPrimary } from "./reconfigure.ts";
import type { Shard } from "./shard.ts";
import type { Swaps } from "./swaps.ts";

/** Heartbeats for which a primary orders nothing, so that a handover or a division can be made. */
const HANDOVER_BEATS = 2;
/** A division needs all of it committed, on slow disks too, and is asked for again if it fails. */
const SPLIT_BEATS = 4;

/** What a primary stops ordering for, to change its epoch on purpose. */
export type Aim =
  | { readonly kind: "transfer"; readonly successor: NodeId }
  /** R16; `at` is the first slot of the new shard. */
  | { readonly kind: "split"; readonly at: number };

/** One that is under way. */
export interface Handover {
  readonly aim: Aim;
  readonly startedMs: number;
  /** When the swap was asked for; undefined while the successor is not ready. */
  readonly proposedMs: number | undefined;
}

export class Handovers {
  readonly #host: NodeHost;
  readonly #shards: Holdings["byId"];
  readonly #history: Pick<MemberHistory, "inSyncSinceMs">;
  readonly #swaps: Pick<Swaps, "hurry">;

  /** @param shards of this node, by their ids. */
  constructor(
    host: NodeHost,
    shards: Holdings["byId"],
    history: Pick<MemberHistory, "inSyncSinceMs">,
    swaps: Pick<Swaps, "hurry">,
  ) {
    this.#host = host;
    this.#shards = shards;
    this.#history = history;
    this.#swaps = swaps;
  }

  /** Begins a transfer of the shard. @returns why not, or undefined. */
  transfer(id: ShardId, successor: NodeId): string | undefined {
    const record = this.#host.configuration?.shards[id];
    if (record === undefined) return `there is no shard ${id}`;
    const shard = this.#shards[id];
    if (!shard?.isPrimary) {
      return `this node is not the primary of shard ${id}; ask ${record.primary}`;
    }
    if (!shard.isStarted) return `shard ${id} is changing its epoch; try again`;
    if (successor === this.#host.nodeId) {
      return `this node is the primary of shard ${id} already`;
    }
    const member = shard.record.inSync.find(({ node }) => node === successor);
    if (member === undefined) return `${successor} is not an in-sync replica of shard ${id}`;
    if (shard.views.of(successor).startedEpoch < member.since) {
      return `${successor} has only just become in-sync in shard ${id}; try again`;
    }
    if (shard.views.of(successor).lacksDisk) return `the disk of ${successor} has failed`;
    if (shard.handover === undefined) this.#begin(shard, { kind: "transfer", successor });
    return undefined;
  }

  /**
   * Begins a division of the shard.
   * @param asked the first slot of the new shard; the middle one if undefined.
   * @returns why not, or undefined.
   */
  split(id: ShardId, asked: number | undefined): string | undefined {
    const { configuration } = this.#host;
    const record = configuration?.shards[id];
    if (record === undefined) return `there is no shard ${id}`;
    const shard = this.#shards[id];
    const { firstSlot, lastSlot, primary } = record;
    if (!shard?.isPrimary) return `this node is not the primary of shard ${id}; ask ${primary}`;
    if (!shard.isStartCommitted) return `shard ${id} is changing its epoch; try again`;
    if (firstSlot === lastSlot) return `shard ${id} has one slot only`;
    const at = asked ?? Math.ceil((firstSlot + lastSlot) / 2);
    if (at <= firstSlot || at > lastSlot) {
      return `shard ${id} can be divided at a slot from ${firstSlot + 1} to ${lastSlot}`;
    }
    if ((configuration?.shards.length ?? 0) >= SHARDS_MAX) {
      return `there are ${SHARDS_MAX} shards, and cannot be more`;
    }
    const fed = shard.donor.status().find(({ isFed }) => !isFed);
    if (fed !== undefined) {
      return `shard ${id} is being copied to ${fed.learner}, which would have to begin again; try later`;
    }
    if (shard.handover !== undefined || shard.unsettledSplit !== undefined) {
      return `shard ${id} is being handed over or divided already; try again`;
    }
    this.#begin(shard, { kind: "split", at });
    return undefined;
  }

  #begin(shard: Shard, aim: Aim): void {
    shard.handover = { aim, startedMs: this.#host.now.monoMs, proposedMs: undefined };
    this.#swaps.hurry();
  }

  /**
   * Names the successor, or the new shard, once all members have everything; gives up, and orders on, if that takes too long.
   * @param reasons gets the reason for the proposal.
   * @returns the part of the shard that keeps its id; undefined if nothing is to be proposed now.
   */
  proposalFor(shard: Shard, reasons: Set<string>): ShardRecord | undefined {
    const { now, settings, mutant, configuration } = this.#host;
    if (shard.handover === undefined) this.#maybeGiveBack(shard);
    const { handover } = shard;
    if (handover === undefined) return undefined;
    const { aim } = handover;
    const hasAll =
      shard.commitSeq === shard.log.lastSeq ||
      (aim.kind === "split" && mutant === "split-before-committed");
    const beats = aim.kind === "split" ? SPLIT_BEATS : HANDOVER_BEATS;
    const waitedMs = now.monoMs - (handover.proposedMs ?? handover.startedMs);
    if (waitedMs > beats * settings.heartbeatMs && mutant !== "lost-transfer") {
      shard.handover = undefined;
      this.#host.touch(shard.id);
      return undefined;
    }
    if (handover.proposedMs !== undefined && mutant === "lost-transfer") return undefined;
    if (!hasAll) return undefined;
    shard.handover = { ...handover, proposedMs: handover.proposedMs ?? now.monoMs };
    if (aim.kind === "transfer") {
      reasons.add("transfers a shard");
      return withPrimary(shard.record, aim.successor);
    }
    reasons.add("divides a shard");
    shard.unsettledSplit = { at: aim.at, version: (configuration?.version ?? 0) + 1 };
    return divided(shard.record, aim.at, 0).kept;
  }

  /** Gives a shard back to its preferred primary when that has been in sync for a while (R14). */
  #maybeGiveBack(shard: Shard): void {
    const { now, settings, nodeId } = this.#host;
    const preferred = shard.record.replicas[0];
    if (preferred === undefined || preferred === nodeId) return;
    const member = shard.record.inSync.find(({ node }) => node === preferred);
    if (member === undefined) return;
    const view = shard.views.of(preferred);
    const sinceMs = this.#history.inSyncSinceMs(shard.id, preferred);
    const isSteady = now.monoMs - sinceMs > 3 * settings.leaseMs;
    const isFit = shard.views.heirs.includes(preferred) && view.evictingSinceMs === undefined;
    if (isSteady && isFit && shard.canOrder) {
      this.#begin(shard, { kind: "transfer", successor: preferred });
    }
  }
}
