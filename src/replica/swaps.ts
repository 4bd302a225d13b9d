/**
 * This node's swaps of the configuration: at most one at a time, by itself or through a peer, and those that it carries for
 * peers (R6). From the proposal of a removal until its outcome is known, who is to be removed gets no echo (R5).
 */

import type { Configuration, NodeId, ShardId } from "./configuration.ts";
import type { NodeHost } from "./host.ts";
import type { SwapAnswer, SwapRequest } from "./messages.ts";
import { holdersOf, removesNode } from "./reconfigure.ts";

/** Heartbeats after which a swap without an answer is tried by another way, or given up. */
const ANSWER_BEATS = 4;
/** Longest wait before the next proposal when the register cannot be reached, heartbeats. */
const WAIT_BEATS_MAX = 10;
/** Races lost in a row from which on a proposer waits, for so many slots at most, of so many heartbeats each. */
const RACES_LOST = 3;
const SLOTS_MAX = 32;
const SLOT_BEATS = 0.1;

export type SwapOutcome = "done" | "conflict" | "unknown";

/** What swaps need of the node beside its host. */
export interface SwapOwner {
  /** Peers with a data link. */
  linkedPeers(): readonly NodeId[];
  /** Whether the peer has heard this node lately. */
  hears(peer: NodeId): boolean;
  install(configuration: Configuration): void;
  /** The register is to be read. */
  wantConfiguration(): void;
}

/** A swap that the driver is to make. */
export interface Swap {
  readonly id: number;
  readonly configuration: Configuration;
}

/** A swap that is under way. */
interface PendingSwap extends Swap {
  readonly reason: string;
  /** Whose shards it changes. */
  readonly concerned: readonly NodeId[];
  askedMs: number;
  /** The peer that tries it for this node, after the register could not be reached. */
  via: NodeId | undefined;
}

export class Swaps {
  readonly #host: NodeHost;
  readonly #owner: SwapOwner;
  #due: Swap[] = [];
  #pending: PendingSwap | undefined;
  #nextId = 1;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #relayTurn = 0;
  /** Swaps in a row that nobody could bring to the register. */
  #failed = 0;
  /** Races in a row that another proposer has won. */
  #lost = 0;
  /** Of the last draw among slots. */
  #drawn: number;
  /** Swaps that are carried out for peers: this node's id of each, and whom to answer under which id. */
  readonly #relayed = new Map<number, { readonly to: NodeId; readonly id: number }>();
  /** Removals and divisions that this node has proposed and that may yet take place, by version: it echoes none of those to be removed. */
  readonly #fences = new Map<number, Set<string>>();

  constructor(host: NodeHost, owner: SwapOwner) {
    this.#host = host;
    this.#owner = owner;
    this.#drawn = host.incarnation >>> 0;
  }

  /** A swap of this node is under way, or one that it carries out for a peer. */
  get isBusy(): boolean {
    return this.#pending !== undefined || this.#relayed.size > 0;
  }

  /** Whether something may be proposed now. */
  get mayPropose(): boolean {
    return this.#pending === undefined && this.#host.now.monoMs >= this.#notBeforeMs;
  }

  /** Some removal or division was proposed of which nobody knows whether it will take place. */
  get hasFences(): boolean {
    return this.#fences.size > 0;
  }

  isFenced(shard: ShardId, node: NodeId): boolean {
    if (this.#host.mutant === "echoes-after-proposal" || this.#fences.size === 0) return false;
    return [...this.#fences.values()].some((removed) => removed.has(`${shard}:${node}`));
  }

  /** What the driver is to do since the last call. */
  take(): readonly Swap[] {
    const due = this.#due;
    this.#due = [];
    return due;
  }

  /** The next proposal need not wait. */
  hurry(): void {
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
  }

  /** A swap to this version or an earlier one has taken place by now, or never will. */
  installed(version: number): void {
    for (const fenced of this.#fences.keys()) if (fenced <= version) this.#fences.delete(fenced);
  }

  propose(configuration: Configuration, reason: string): void {
    const id = this.#takeId();
    this.#fence(configuration);
    const askedMs = this.#host.now.monoMs;
    const concerned = this.#concernedBy(configuration);
    this.#pending = { id, configuration, reason, concerned, askedMs, via: undefined };
    this.#due.push({ id, configuration });
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  #fence(next: Configuration): void {
    const removed = this.#fences.get(next.version) ?? new Set<string>();
    for (const shard of this.#host.configuration?.shards ?? []) {
      const inSync = next.shards[shard.id]?.inSync ?? [];
      for (const { node } of shard.inSync) {
        if (!inSync.some((member) => member.node === node)) removed.add(`${shard.id}:${node}`);
      }
    }
    // Until it is known whether a shard was divided, its primary may not order what concerns both parts (R16).
    const divides = next.shards.length > (this.#host.configuration?.shards.length ?? 0);
    if (removed.size > 0 || divides) this.#fences.set(next.version, removed);
  }

  /** The holders of shards that would change, before or after it. */
  #concernedBy(next: Configuration): readonly NodeId[] {
    const nodes = new Set<NodeId>();
    const current = this.#host.configuration?.shards ?? [];
    for (const record of next.shards) {
      const before = current[record.id];
      if (before === record) continue;
      for (const node of holdersOf(record)) nodes.add(node);
      for (const node of before === undefined ? [] : holdersOf(before)) nodes.add(node);
    }
    return [...nodes];
  }

  /** The driver's answer. @param configuration what the register holds now, where that is known. */
  answered(id: number, outcome: SwapOutcome, configuration: Configuration | undefined): void {
    const asked = this.#relayed.get(id);
    if (asked === undefined) {
      this.#ownAnswered(id, outcome, configuration);
      return;
    }
    this.#relayed.delete(id);
    const current = configuration ?? this.#host.configuration;
    this.#host.send(asked.to, {
      kind: "swap-answer",
      id: asked.id,
      outcome,
      configuration: outcome === "unknown" ? undefined : current,
    });
    if (configuration !== undefined) this.#owner.install(configuration);
  }

  #ownAnswered(id: number, outcome: SwapOutcome, configuration: Configuration | undefined): void {
    const pending = this.#pending;
    if (pending?.id !== id) {
      // A late answer still tells what the register holds.
      if (configuration !== undefined) this.#owner.install(configuration);
      return;
    }
    this.#host.emit({ kind: "swap", outcome, reason: pending.reason });
    if (outcome === "unknown") {
      this.#relayOrGiveUp(pending);
      return;
    }
    this.#pending = undefined;
    this.#failed = 0;
    if (outcome === "conflict") this.#backOff();
    else this.#lost = 0;
    if (outcome === "done") {
      // The others learn of it from the register, or by the next heartbeat.
      for (const node of pending.concerned) {
        if (this.#host.mutant === "keeps-configuration") break;
        if (this.#host.linkedIncarnation(node) === undefined) continue;
        this.#host.send(node, {
          kind: "configuration",
          configuration: pending.configuration,
        });
      }
      this.#owner.install(pending.configuration);
    } else if (configuration === undefined) this.#owner.wantConfiguration();
    else this.#owner.install(configuration);
  }

  /** A proposer that cannot reach the register sends its swap through a peer (R6). */
  #relayOrGiveUp(pending: PendingSwap): void {
    const linked = this.#owner
      .linkedPeers()
      .filter((node) => !this.#removes(pending.configuration, node));
    const via = linked[this.#relayTurn % Math.max(1, linked.length)];
    if (pending.via !== undefined || via === undefined || this.#host.mutant === "no-relay") {
      this.#giveUp();
      return;
    }
    this.#relayTurn += 1;
    pending.via = via;
    pending.askedMs = this.#host.now.monoMs;
    const { id, configuration } = pending;
    this.#host.send(via, { kind: "swap-request", id, configuration });
  }

  /**
   * When many nodes fail at once, many propose at once, and each swap but one is in vain: their number would grow with the
   * square of the cluster. So who has lost some races waits, each for a time of its own, longer with each race lost.
   */
  #backOff(): void {
    this.#lost += 1;
    if (this.#lost < RACES_LOST) return;
    const slots = Math.min(SLOTS_MAX, 2 ** (this.#lost - RACES_LOST + 1));
    // Numerical Recipes' generator: it only has to differ from node to node.
    this.#drawn = (Math.imul(this.#drawn, 1_664_525) + 1_013_904_223) >>> 0;
    const slot = Math.floor((this.#drawn / 2 ** 32) * slots);
    this.#notBeforeMs = this.#host.now.monoMs + slot * SLOT_BEATS * this.#host.settings.heartbeatMs;
  }

  #removes(next: Configuration, node: NodeId): boolean {
    const configuration = this.#host.configuration;
    return configuration !== undefined && removesNode(configuration, next, node);
  }

  /** Whether the swap was made is unknown; a later read or the watch will tell. */
  #giveUp(): void {
    this.#pending = undefined;
    this.#owner.wantConfiguration();
    const waitBeats = Math.min(WAIT_BEATS_MAX, 2 ** this.#failed / 2);
    this.#notBeforeMs = this.#host.now.monoMs + waitBeats * this.#host.settings.heartbeatMs;
    this.#failed += 1;
  }

  tick(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    const { now, settings } = this.#host;
    if (now.monoMs - pending.askedMs < ANSWER_BEATS * settings.heartbeatMs) return;
    this.#relayOrGiveUp(pending);
  }

  disconnected(peer: NodeId): void {
    if (this.#pending?.via === peer) this.#giveUp();
    for (const [id, asked] of this.#relayed) if (asked.to === peer) this.#relayed.delete(id);
  }

  onRequest(from: NodeId, request: SwapRequest): void {
    // Who asks for this node's removal thinks that it is dead, and may itself have died since: the swap could leave nobody.
    const isOwn = this.#removes(request.configuration, this.#host.nodeId);
    // One that does not hear this node may hear nobody, and would not learn what became of its swap.
    const isDeaf = !this.#owner.hears(from);
    if ((isOwn || isDeaf) && this.#host.mutant !== "relays-own-removal") {
      const { id } = request;
      this.#host.send(from, {
        kind: "swap-answer",
        id,
        outcome: "unknown",
        configuration: undefined,
      });
      return;
    }
    const id = this.#takeId();
    this.#relayed.set(id, { to: from, id: request.id });
    this.#due.push({ id, configuration: request.configuration });
  }

  onAnswer(from: NodeId, answer: SwapAnswer): void {
    if (this.#pending?.via === from) {
      this.#ownAnswered(answer.id, answer.outcome, answer.configuration);
    } else if (answer.configuration !== undefined) this.#owner.install(answer.configuration);
  }
}
