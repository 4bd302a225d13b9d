/**
 * Messages about shards of which this node holds nothing: its peers have installed a configuration in which it does, or in
 * which one was divided (R16). They are kept until it has that too, for nobody sends them again.
 */

import type { NodeId, ShardId } from "./configuration.ts";
import type { Message } from "./messages.ts";

/** Messages that are kept; what is over is lost. */
const EARLY_MESSAGES_MAX = 10_000;

/** One that concerns a shard. */
export type ShardMessage = Extract<Message, { readonly shard: ShardId }>;

export interface EarlyMessage {
  readonly from: NodeId;
  readonly message: ShardMessage;
}

export class EarlyMessages {
  #kept: EarlyMessage[] = [];

  add(from: NodeId, message: ShardMessage): void {
    if (this.#kept.length < EARLY_MESSAGES_MAX) this.#kept.push({ from, message });
  }

  /** What came over a link that is gone is sent again. */
  disconnected(peer: NodeId): void {
    this.#kept = this.#kept.filter(({ from }) => from !== peer);
  }

  /** Hands out those that need not wait any more, in the order of arrival. */
  take(isDue: (message: ShardMessage) => boolean): readonly EarlyMessage[] {
    if (this.#kept.length === 0) return this.#kept;
    const due = this.#kept.filter(({ message }) => isDue(message));
    if (due.length > 0) this.#kept = this.#kept.filter(({ message }) => !isDue(message));
    return due;
  }
}
