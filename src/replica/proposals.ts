/**
 * What a node proposes to change in the configuration, at each tick anew (R6): its own start, the first epochs, and the next
 * epochs of the shards that it holds, all in one swap. It decides and asks; nothing changes until the register says so.
 */

import type { Configuration, NodeId, NodeRecord, ShardId, ShardRecord } from "./configuration.ts";
import type { Handovers } from "./handovers.ts";
import type { Holdings } from "./holdings.ts";
import type { NodeHost } from "./host.ts";
import type { MemberHistory } from "./member-history.ts";
import type { Promotions } from "./promotions.ts";
import {
  canForm,
  divided,
  formed,
  heirAmong,
  primaryCounts,
  withoutMembers,
  withRecords,
} from "./reconfigure.ts";
import type { Shard } from "./shard.ts";
import type { Swaps } from "./swaps.ts";

/** The parts of the node's core that proposals come from, and go to. */
export interface ProposalParts {
  readonly shards: Holdings["all"];
  readonly history: Pick<MemberHistory, "suspected" | "suspect" | "acquit">;
  readonly promotions: Pick<Promotions, "lookBegins" | "lookEnds" | "proposalFor">;
  readonly handovers: Pick<Handovers, "proposalFor">;
  readonly swaps: Pick<Swaps, "mayPropose" | "hasFences" | "propose">;
}

export class Proposals {
  readonly #host: NodeHost;
  readonly #parts: ProposalParts;
  /** Of the configuration: this node's own record. */
  #own: NodeRecord | undefined;
  /** How many shards each node is the primary of, in the configuration; undefined until somebody asks. */
  #primaryCounts: ReadonlyMap<NodeId, number> | undefined;

  constructor(host: NodeHost, parts: ProposalParts) {
    this.#host = host;
    this.#parts = parts;
  }

  /** A configuration is being installed. */
  installed(configuration: Configuration): void {
    this.#own = configuration.nodes.find((node) => node.id === this.#host.nodeId);
    this.#primaryCounts = undefined;
  }

  /** Proposes what is to be proposed, unless another swap is under way. */
  tick(): void {
    const { configuration, incarnation, nodeId } = this.#host;
    const { swaps } = this.#parts;
    if (configuration === undefined || !swaps.mayPropose) return;
    const own = this.#own;
    if (own !== undefined && own.incarnation !== incarnation) {
      const nodes = new Map([[own.id, { ...own, incarnation }]]);
      swaps.propose(withRecords(configuration, new Map(), nodes), "registers this node's start");
      return;
    }
    if (canForm(configuration)) {
      const isFirst = configuration.nodes.every((node) => node.id >= nodeId);
      if (isFirst)
        swaps.propose(withRecords(configuration, formed(configuration)), "forms the cluster");
      return;
    }
    const reasons = new Set<string>();
    const edited = this.#nextEpochs(configuration, reasons);
    if (edited.size > 0) swaps.propose(withRecords(configuration, edited), [...reasons].join(", "));
    else if (swaps.hasFences) {
      // One that was to be removed is heard again; only another swap tells that the removal will not come late.
      swaps.propose(withRecords(configuration, edited), "settles an earlier proposal");
    }
  }

  /** The records that this node wants changed or added. @param reasons gets the reasons for them. */
  #nextEpochs(
    configuration: Configuration,
    reasons: Set<string>,
  ): ReadonlyMap<ShardId, ShardRecord> {
    const { shards, promotions } = this.#parts;
    const edited = new Map<ShardId, ShardRecord>();
    let counts: Map<NodeId, number> | undefined;
    let addedShards = 0;
    promotions.lookBegins();
    for (const shard of shards) {
      if (!shard.isHolder) continue;
      const { record } = shard;
      const next = shard.isMember
        ? this.#proposalFor(shard, () => counts ?? this.#countPrimaries(configuration), reasons)
        : this.#recoveryOf(shard, reasons);
      if (next === undefined) continue;
      edited.set(record.id, next);
      const at = next.lastSlot + 1;
      if (at <= record.lastSlot) {
        const added = configuration.shards.length + addedShards;
        addedShards += 1;
        edited.set(added, divided(record, at, added).added);
      }
      counts ??= new Map(this.#countPrimaries(configuration));
      counts.set(record.primary, (counts.get(record.primary) ?? 0) - 1);
      counts.set(next.primary, (counts.get(next.primary) ?? 0) + 1);
    }
    promotions.lookEnds();
    return edited;
  }

  #countPrimaries({ shards }: Configuration): ReadonlyMap<NodeId, number> {
    this.#primaryCounts ??= primaryCounts(shards);
    return this.#primaryCounts;
  }

  /** The next epoch that this node wants for a shard, or undefined. @param counts of each node's primaries. */
  #proposalFor(
    shard: Shard,
    counts: () => ReadonlyMap<NodeId, number>,
    reasons: Set<string>,
  ): ShardRecord | undefined {
    const removed = this.#ripeRemovals(shard);
    if (removed.size > 0) {
      const primary = this.#primaryWithout(shard, removed, counts());
      reasons.add(`removes ${[...removed].join(" ")}`);
      return withoutMembers(shard.record, removed, primary);
    }
    if (!shard.isProven && this.#host.mutant !== "unproven-acts") return undefined;
    if (shard.isLeaving) return this.#farewell(shard, counts(), reasons);
    if (!shard.isPrimary || !shard.isStarted) return undefined;
    const promoted = this.#parts.promotions.proposalFor(shard);
    if (promoted !== undefined) {
      reasons.add("promotes a learner");
      return promoted;
    }
    return this.#parts.handovers.proposalFor(shard, reasons);
  }

  /** R12: nobody in sync is left; this node goes on with what it holds, if that is the most. */
  #recoveryOf(shard: Shard, reasons: Set<string>): ShardRecord | undefined {
    if (this.#host.isDraining) return undefined;
    const next = shard.recovery.proposal();
    if (next !== undefined) reasons.add("goes on after a restart of all");
    return next;
  }

  /** Who may be removed, once the wait is over that grows with the number of members out of reach (R6). */
  #ripeRemovals(shard: Shard): ReadonlySet<NodeId> {
    const { history } = this.#parts;
    const removable = shard.suspicion.removable();
    const { monoMs } = this.#host.now;
    const { heartbeatMs, leaseMs, driftBound } = this.#host.settings;
    let sinceMs = monoMs;
    let unreachable = 0;
    for (const { node } of shard.otherMembers) {
      const silentMs = monoMs - shard.views.of(node).heardMs;
      if (removable.has(node) || silentMs > 2.5 * heartbeatMs) unreachable += 1;
      if (!removable.has(node)) {
        history.acquit(shard.id, node);
        continue;
      }
      const first = history.suspected(shard.id, node);
      if (first !== undefined) {
        sinceMs = Math.min(sinceMs, first.atMs);
        continue;
      }
      history.suspect(shard.id, node, silentMs);
      this.#host.counters.suspicions += 1;
      this.#host.emit({ kind: "suspected", node, shards: [shard.id], silentMs });
    }
    const isHasty = this.#host.mutant === "no-back-off";
    // Who hears none of several is more likely cut off or deaf itself than the last one alive: the others come first.
    const isAlone = unreachable > 1 && unreachable === shard.otherMembers.length;
    const aloneMs = isAlone ? leaseMs * (1 + driftBound) : 0;
    const waitMs = isHasty ? 0 : Math.max(0, unreachable - 1) * 2 * heartbeatMs + aloneMs;
    return monoMs - sinceMs >= waitMs ? removable : new Set();
  }

  #primaryWithout(
    shard: Shard,
    removed: ReadonlySet<NodeId>,
    counts: ReadonlyMap<NodeId, number>,
  ): NodeId {
    const { nodeId } = this.#host;
    const { record } = shard;
    if (!removed.has(record.primary)) return record.primary;
    const others = shard.views.provenOthers;
    const proven = shard.holders.filter(
      (node) => !removed.has(node) && (node === nodeId || others.includes(node)),
    );
    const saving = proven.filter((node) => !this.#lacksDisk(shard, node));
    return heirAmong(saving.length > 0 ? saving : proven, record, counts) ?? nodeId;
  }

  #lacksDisk(shard: Shard, node: NodeId): boolean {
    return node === this.#host.nodeId ? this.#host.lacksDisk : shard.views.of(node).lacksDisk;
  }

  /** A draining node takes itself out, when the others have all that it ordered and it serves nothing more (R14). */
  #farewell(
    shard: Shard,
    counts: ReadonlyMap<NodeId, number>,
    reasons: Set<string>,
  ): ShardRecord | undefined {
    const { nodeId } = this.#host;
    // Without fresh echoes the others may be dead, and this node the only one that holds anything.
    if (!shard.hasLease) return undefined;
    // Not all of it has to be committed: its own disk may be what failed.
    if (shard.isPrimary && (!shard.isStarted || !shard.views.othersHaveAll)) return undefined;
    const successors = shard.views.heirs;
    const { primary } = shard.record;
    const next = primary === nodeId ? heirAmong(successors, shard.record, counts) : primary;
    if (next === undefined || successors.length === 0) return undefined;
    reasons.add("drains this node");
    return withoutMembers(shard.record, new Set([nodeId]), next);
  }
}
