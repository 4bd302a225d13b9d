/** Keeps refusals of connections from filling the log: what goes on is said once, whoever tries again and again. */

import type { NodeId } from "../replica/configuration.ts";
import type { PeerProtocolError } from "./errors.ts";

/** Different refusals of one peer, or kinds of refusals of strangers, that are remembered. */
const REMEMBERED_MAX = 16;
/** Time for which a stranger's kind of refusal is not told again, and after which a full memory begins anew, ms. */
const REMEMBERED_MS = 60_000;
/** Of a text, which another node may have chosen, in characters. */
const TEXT_MAX = 500;

/** What was told, and when. */
type Told = Map<string, number>;

export class RefusalLog {
  readonly #peers = new Map<NodeId, Told>();
  readonly #strangers: Told = new Map();

  /**
   * @param peer a node of the cluster, or undefined if nobody knows who it was.
   * @param nowMs monotonic.
   * @returns whether to say it.
   */
  isNews(peer: NodeId | undefined, error: PeerProtocolError, nowMs: number): boolean {
    // Strangers can say anything, so of theirs the kind alone makes a difference.
    if (peer === undefined) return isNew(this.#strangers, error.code, nowMs, REMEMBERED_MS);
    const told = this.#peers.get(peer) ?? new Map<string, number>();
    this.#peers.set(peer, told);
    return isNew(told, error.message, nowMs, Number.POSITIVE_INFINITY);
  }

  /** The peer is linked, or no peer any more: what goes wrong from now on is new. */
  forget(peer: NodeId): void {
    this.#peers.delete(peer);
  }
}

function isNew(told: Told, text: string, nowMs: number, forMs: number): boolean {
  const key = text.slice(0, TEXT_MAX);
  const toldMs = told.get(key);
  if (toldMs !== undefined && nowMs - toldMs < forMs) return false;
  if (toldMs === undefined && told.size >= REMEMBERED_MAX) {
    if (nowMs - Math.max(...told.values()) < REMEMBERED_MS) return false;
    told.clear();
  }
  told.set(key, nowMs);
  return true;
}
