/**
 * Notices that a node does not become ready, and says why in words that tell what to do, as far as its own status knows.
 * Pure: the time and the status are arguments.
 */

import type { NodeStatus, ShardStatus } from "../replica/surface.ts";

/** Time without being ready after which it is told, and told again, ms. */
export const UNREADY_MS = 30_000;

/** A node that is not ready for long, in words. */
export interface SyncTrouble {
  /** How long it has not been ready, ms. */
  readonly unreadyMs: number;
  /** Each with what to do about it; at least one. */
  readonly reasons: readonly string[];
}

/** Judges one node's status from time to time. */
export class SyncWatch {
  readonly #unreadyMs: number;
  #unreadySince: number | undefined;
  #toldAt = 0;
  /** Keys of all learners at the last telling, to see whether copies grow. */
  #keysTold = 0;

  constructor(unreadyMs = UNREADY_MS) {
    this.#unreadyMs = unreadyMs;
  }

  /**
   * @param monoMs now, by a monotonic clock, ms.
   * @param replicas names of the nodes that are to hold each shard, by shard.
   * @returns what is to be told now, if anything.
   */
  look(
    status: NodeStatus,
    monoMs: number,
    replicas: ReadonlyMap<number, readonly string[]>,
  ): SyncTrouble | undefined {
    if (status.isReady || status.isDrained) {
      this.#unreadySince = undefined;
      return undefined;
    }
    if (this.#unreadySince === undefined) {
      this.#unreadySince = monoMs;
      this.#toldAt = monoMs;
      this.#keysTold = 0;
    }
    if (monoMs - this.#toldAt < this.#unreadyMs) return undefined;
    this.#toldAt = monoMs;
    const reasons = this.#reasons(status, replicas);
    return { unreadyMs: monoMs - this.#unreadySince, reasons };
  }

  #reasons(status: NodeStatus, replicas: ReadonlyMap<number, readonly string[]>): string[] {
    const own = status.shards.filter((shard) => replicas.get(shard.shard)?.includes(status.nodeId));
    const learning = own.filter((shard) => !shard.inSync.includes(status.nodeId));
    const reasons: string[] = [];
    for (const [primary, shards] of byPrimary(learning)) {
      reasons.push(learningReason(status, primary, shards));
    }
    const keys = learning.reduce((sum, shard) => sum + shard.keys, 0);
    if (learning.length > 0) {
      const isGrowing = keys > this.#keysTold;
      this.#keysTold = keys;
      reasons.push(
        isGrowing
          ? `its copies grow (${keys} keys so far), so this may just take time`
          : `its copies have not grown since (${keys} keys)`,
      );
    }
    const silent = own.filter((shard) => shard.inSync.includes(status.nodeId) && !shard.serves);
    if (silent.length > 0) reasons.push(leaseReason(status, silent));
    if (reasons.length === 0)
      reasons.push("its shards are about to change; hothot status shows them");
    return reasons;
  }
}

function learningReason(
  status: NodeStatus,
  primary: string,
  shards: readonly ShardStatus[],
): string {
  const what = `shards ${numbersOf(shards)} are to be copied from ${primary}`;
  const peer = status.peers.find((each) => each.node === primary);
  if (primary === status.nodeId) {
    return `${what}, which is this node: the register names it as their primary, so nobody else held them in sync when it ended`;
  }
  if (peer?.connected !== true) {
    return `${what}, and there is no link to it: see that it runs and that its peer port can be reached from here`;
  }
  return shards.some((shard) => shard.role === "learner")
    ? `${what}, which is linked: see its log and its load`
    : `${what}, which is linked but has not begun: it copies to few at a time; see its log`;
}

/** Why a member of the in-sync set does not serve. */
function leaseReason(status: NodeStatus, shards: readonly ShardStatus[]): string {
  const members = new Set(shards.flatMap((shard) => shard.inSync));
  const missing = status.peers.filter((peer) => members.has(peer.node) && !peer.connected);
  const what = `it does not serve shards ${numbersOf(shards)}`;
  if (missing.length > 0) {
    const names = missing.map((peer) => peer.node).join(", ");
    return `${what}: no link to ${names}; see whether they run and can be reached. If they are dead, the register has to answer so that they can be removed`;
  }
  return `${what}, though all of their members are linked: see the load of this machine, and whether the register answers`;
}

function byPrimary(shards: readonly ShardStatus[]): Map<string, ShardStatus[]> {
  const groups = new Map<string, ShardStatus[]>();
  for (const shard of shards) {
    groups.set(shard.primary, [...(groups.get(shard.primary) ?? []), shard]);
  }
  return groups;
}

/** At most ten, so that a line of the log stays one. */
function numbersOf(shards: readonly ShardStatus[]): string {
  const numbers = shards.slice(0, 10).map((shard) => String(shard.shard));
  return `${numbers.join(", ")}${shards.length > 10 ? ` and ${shards.length - 10} more` : ""}`;
}
