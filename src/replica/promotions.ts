/**
 * Which learner a primary takes into a shard's in-sync set, and when (R9): one that holds everything and keeps up, that has
 * not come and gone too often, and, where there is time, together with its other shards.
 */

import type { NodeId, ShardRecord } from "./configuration.ts";
import type { CopyTurns } from "./copy-turns.ts";
import type { Host } from "./host.ts";
import type { MemberHistory } from "./member-history.ts";
import { withMember } from "./reconfigure.ts";
import type { Shard } from "./shard.ts";

/** How long a learner that could be promoted waits for its other shards, in leases: each swap makes commands wait a little. */
const GATHERING_LEASES = 20;

export class Promotions {
  readonly #host: Host;
  readonly #history: Pick<MemberHistory, "mayReturn">;
  readonly #copies: Pick<CopyTurns, "isFilling">;
  /** Learners that could be promoted in some shard: at the last look, and since when in any. */
  readonly #fit = new Set<NodeId>();
  readonly #fitSinceMs = new Map<NodeId, number>();

  /** @param copies of this node, to its learners. */
  constructor(
    host: Host,
    history: Pick<MemberHistory, "mayReturn">,
    copies: Pick<CopyTurns, "isFilling">,
  ) {
    this.#host = host;
    this.#history = history;
    this.#copies = copies;
  }

  /** A look at all shards begins. */
  lookBegins(): void {
    this.#fit.clear();
  }

  /** The look is over: who was found fit in no shard waits anew when it is. */
  lookEnds(): void {
    for (const learner of this.#fitSinceMs.keys()) {
      if (!this.#fit.has(learner)) this.#fitSinceMs.delete(learner);
    }
  }

  /** R9: a learner that holds everything, can be heard and can hear every member, and has waited long enough. */
  proposalFor(shard: Shard): ShardRecord | undefined {
    const { now, settings, mutant } = this.#host;
    // A disk that failed must not keep this node from giving the shard to one whose disk works.
    if (shard.views.sharedSeq < shard.startSeq || shard.handover !== undefined) return undefined;
    for (const node of shard.record.replicas) {
      if (shard.record.inSync.some((member) => member.node === node) || !shard.donor.isFed(node))
        continue;
      const view = shard.views.of(node);
      const incarnation = this.#host.linkedIncarnation(node);
      if (incarnation === undefined) continue;
      if (mutant !== "flapping-promotion") {
        if (!this.#history.mayReturn(shard.id, node)) continue;
        if (!view.ready || !view.counted || now.monoMs - view.echoMs >= settings.leaseMs) continue;
        if (this.#gathers(shard, node)) continue;
      }
      return withMember(shard.record, node, incarnation);
    }
    return undefined;
  }

  /** A learner waits to be promoted in its other shards by the same swap, unless the shard needs it now. */
  #gathers(shard: Shard, learner: NodeId): boolean {
    const { now, settings, mutant } = this.#host;
    const isHasty = mutant === "promotes-uncopied";
    if (isHasty || shard.isBelowMin || shard.record.inSync.length === 1) return false;
    this.#fit.add(learner);
    const sinceMs = this.#fitSinceMs.get(learner) ?? now.monoMs;
    this.#fitSinceMs.set(learner, sinceMs);
    const isLate = now.monoMs - sinceMs >= GATHERING_LEASES * settings.leaseMs;
    return !isLate && this.#copies.isFilling(learner, now.monoMs);
  }
}
