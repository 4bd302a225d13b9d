/** Keeps refusals of connections from filling the log: what goes on is said once, whoever tries again and again. */

import type { NodeId } from "../replica/configuration.ts";
import type { PeerErrorCode } from "./errors.ts";

/** Time between two lines of one kind about connections of no known peer, ms. */
const STRANGERS_MS = 60_000;

export class RefusalLog {
  readonly #told = new Map<NodeId, Set<string>>();
  readonly #strangersToldMs = new Map<string, number>();

  /**
   * @param peer a node of the cluster, or undefined if nobody knows who it was.
   * @param nowMs monotonic.
   * @returns whether to say it.
   */
  isNews(peer: NodeId | undefined, code: PeerErrorCode, nowMs: number): boolean {
    // A code that another node sent may be any text.
    const kind = code.slice(0, 32);
    if (peer === undefined) {
      const toldMs = this.#strangersToldMs.get(kind);
      if (toldMs !== undefined && nowMs - toldMs < STRANGERS_MS) return false;
      if (this.#strangersToldMs.size >= KINDS_MAX) this.#strangersToldMs.clear();
      this.#strangersToldMs.set(kind, nowMs);
      return true;
    }
    const told = this.#told.get(peer) ?? new Set();
    this.#told.set(peer, told);
    if (told.has(kind) || told.size >= KINDS_MAX) return false;
    told.add(kind);
    return true;
  }

  /** The peer is linked, or no peer any more: what goes wrong from now on is new. */
  forget(peer: NodeId): void {
    this.#told.delete(peer);
  }
}

/** Kinds of refusals that are told of one peer. */
const KINDS_MAX = 16;
