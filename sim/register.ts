/** The simulated configuration register: linearizable, sometimes out of reach, and its answers are sometimes lost. */

import type { Prng } from "../src/kit/prng.ts";
import type { Configuration, NodeId } from "../src/replica/configuration.ts";
import type { EventQueue } from "./event-queue.ts";

export type SwapOutcome = "done" | "conflict" | "unknown";

export class SimRegister {
  readonly #queue: EventQueue;
  readonly #prng: Prng;
  readonly #watchers = new Map<NodeId, (configuration: Configuration) => void>();
  current: Configuration;
  /** Nodes that cannot reach it. */
  readonly blind = new Set<NodeId>();
  /** Share of swaps that are made and whose answer is lost. */
  lostAnswers = 0;
  /** Share of changes that a watch does not tell. */
  missedEvents = 0;
  latencyMs = 2;
  /** Swaps that are on their way, by the node that sent them. */
  readonly #underWay = new Map<NodeId, number>();

  constructor(queue: EventQueue, prng: Prng, initial: Configuration) {
    this.#queue = queue;
    this.#prng = prng;
    this.current = initial;
  }

  #delayMs(): number {
    return this.#prng.between(this.latencyMs / 2, this.latencyMs * 2);
  }

  watch(node: NodeId, onChange: (configuration: Configuration) => void): void {
    this.#watchers.set(node, onChange);
  }

  /** Compares and swaps; `answer` is called once, at the latest after `timeoutMs`. */
  swap(
    node: NodeId,
    next: Configuration,
    timeoutMs: number,
    answer: (outcome: SwapOutcome, current: Configuration | undefined) => void,
  ): void {
    if (this.blind.has(node)) {
      this.#queue.after(timeoutMs, () => answer("unknown", undefined));
      return;
    }
    this.#underWay.set(node, (this.#underWay.get(node) ?? 0) + 1);
    this.#queue.after(this.#delayMs(), () => {
      this.#underWay.set(node, (this.#underWay.get(node) ?? 0) - 1);
      const isDone = next.version === this.current.version + 1;
      if (isDone) {
        this.current = next;
        this.#tellAll();
      }
      const { current } = this;
      if (this.blind.has(node) || this.#prng.chance(this.lostAnswers)) {
        this.#queue.after(timeoutMs, () => answer("unknown", undefined));
      } else {
        this.#queue.after(this.#delayMs(), () => answer(isDone ? "done" : "conflict", current));
      }
    });
  }

  read(node: NodeId, answer: (current: Configuration) => void): void {
    if (this.blind.has(node)) return;
    this.#queue.after(this.#delayMs(), () => {
      const { current } = this;
      this.#queue.after(this.#delayMs(), () => {
        if (!this.blind.has(node)) answer(current);
      });
    });
  }

  hasUnderWay(node: NodeId): boolean {
    return (this.#underWay.get(node) ?? 0) > 0;
  }

  #tellAll(): void {
    const { current } = this;
    for (const [node, onChange] of this.#watchers) {
      if (this.#prng.chance(this.missedEvents)) continue;
      this.#queue.after(this.#delayMs() + this.#prng.between(0, 10), () => {
        if (!this.blind.has(node)) onChange(current);
      });
    }
  }
}
