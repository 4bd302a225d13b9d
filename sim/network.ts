/** Simulated links: FIFO data links that break and come back, and heartbeats that may be lost or overtake each other. */

import type { Prng } from "../src/kit/prng.ts";
import type { NodeId } from "../src/replica/configuration.ts";
import type { Message } from "../src/replica/messages.ts";
import type { EventQueue } from "./event-queue.ts";

/** How the network of one run behaves. Times in ms. */
export interface NetworkOptions {
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
  /** Share of heartbeats that are lost. */
  readonly heartbeatLoss: number;
  /** Mean time between resets of a link that nothing is wrong with; Infinity for never. */
  readonly resetEveryMs: number;
}

/** What the network does with a node. */
export interface Endpoint {
  /** False while it is crashed. */
  readonly isUp: boolean;
  /** False while it is paused: then it answers no handshake. */
  readonly isRunning: boolean;
  connected(peer: NodeId, incarnation: number): void;
  disconnected(peer: NodeId): void;
  receive(from: NodeId, message: Message): void;
  readonly incarnation: number;
}

interface Link {
  readonly a: NodeId;
  readonly b: NodeId;
  isUp: boolean;
  /** Tells what belongs to an earlier connection. */
  generation: number;
  /** No message may arrive before the one sent before it, per direction. */
  lastArrivalMs: [number, number];
  /** Ends that have been told that the link is up and not yet that it is down. */
  knows: Set<NodeId>;
  /** Messages on a cut wire: they arrive when it heals, if the connection lives so long. */
  stalled: { readonly from: NodeId; readonly message: Message }[];
}

export class Network {
  readonly #queue: EventQueue;
  readonly #prng: Prng;
  readonly #endpoints: ReadonlyMap<NodeId, Endpoint>;
  readonly options: NetworkOptions;
  readonly #links = new Map<string, Link>();
  readonly #blocked = new Set<string>();
  /** Directions in which messages wait, while heartbeats go by. */
  readonly #held = new Set<string>();
  /** Directions in which heartbeats are lost, while messages go by. */
  readonly #muted = new Set<string>();
  /** Extra delay of all that a node sends. */
  readonly slowMs = new Map<NodeId, number>();
  dataMessages = 0;

  constructor(
    queue: EventQueue,
    prng: Prng,
    endpoints: ReadonlyMap<NodeId, Endpoint>,
    options: NetworkOptions,
  ) {
    this.#queue = queue;
    this.#prng = prng;
    this.#endpoints = endpoints;
    this.options = options;
  }

  #delayMs(from: NodeId): number {
    const { delayMinMs, delayMaxMs } = this.options;
    // Now and then one takes much longer than the rest.
    const factor = this.#prng.chance(0.01) ? 5 : 1;
    return this.#prng.between(delayMinMs, delayMaxMs) * factor + (this.slowMs.get(from) ?? 0);
  }

  #link(left: NodeId, right: NodeId): Link {
    const [a, b] = left < right ? [left, right] : [right, left];
    const key = `${a} ${b}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = {
        a,
        b,
        isUp: false,
        generation: 0,
        lastArrivalMs: [0, 0],
        knows: new Set(),
        stalled: [],
      };
      this.#links.set(key, link);
    }
    return link;
  }

  isBlocked(from: NodeId, to: NodeId): boolean {
    return this.#blocked.has(`${from} ${to}`);
  }

  /** Cuts one direction. The connection itself may live on, with nothing arriving. */
  block(from: NodeId, to: NodeId): void {
    if (this.isBlocked(from, to)) return;
    this.#blocked.add(`${from} ${to}`);
    const link = this.#link(from, to);
    const { generation } = link;
    if (this.#prng.chance(0.6)) {
      this.#queue.after(this.#prng.between(50, 800), () => {
        const isCut = this.isBlocked(from, to) || this.isBlocked(to, from);
        if (link.generation === generation && link.isUp && isCut) this.reset(from, to);
      });
    }
  }

  unblock(from: NodeId, to: NodeId): void {
    if (!this.#blocked.delete(`${from} ${to}`)) return;
    const link = this.#link(from, to);
    if (link.isUp) this.#sendStalled(link, from, to);
    else this.#reconnectLater(link);
  }

  #sendStalled(link: Link, from: NodeId, to: NodeId): void {
    const stalled = link.stalled.filter((held) => held.from === from);
    link.stalled = link.stalled.filter((held) => held.from !== from);
    for (const { message } of stalled) this.send(from, to, message);
  }

  /** Makes the messages of one direction wait, as on a full connection; heartbeats have their own channel. */
  hold(from: NodeId, to: NodeId): void {
    this.#held.add(`${from} ${to}`);
  }

  release(from: NodeId, to: NodeId): void {
    if (this.#held.delete(`${from} ${to}`)) this.#sendStalled(this.#link(from, to), from, to);
  }

  /** Loses the heartbeats of one direction, and nothing else. */
  mute(from: NodeId, to: NodeId): void {
    this.#muted.add(`${from} ${to}`);
  }

  unmute(from: NodeId, to: NodeId): void {
    this.#muted.delete(`${from} ${to}`);
  }

  unblockAll(): void {
    this.#muted.clear();
    for (const pair of [...this.#held]) {
      const [from, to] = pair.split(" ");
      if (from !== undefined && to !== undefined) this.release(from, to);
    }
    for (const pair of [...this.#blocked]) {
      const [from, to] = pair.split(" ");
      if (from !== undefined && to !== undefined) this.unblock(from, to);
    }
  }

  /** Brings up every link that can be. */
  connectAll(): void {
    const nodes = [...this.#endpoints.keys()];
    for (const a of nodes) for (const b of nodes) if (a < b) this.#connect(this.#link(a, b));
  }

  #connect(link: Link): void {
    if (link.isUp) return;
    const a = this.#endpoints.get(link.a);
    const b = this.#endpoints.get(link.b);
    if (a === undefined || b === undefined || !a.isUp || !b.isUp) return;
    const isCut = this.isBlocked(link.a, link.b) || this.isBlocked(link.b, link.a);
    if (isCut) return;
    if (!a.isRunning || !b.isRunning) {
      this.#reconnectLater(link);
      return;
    }
    this.#forget(link, link.a);
    this.#forget(link, link.b);
    link.isUp = true;
    link.generation += 1;
    link.stalled = [];
    link.lastArrivalMs = [this.#queue.nowMs, this.#queue.nowMs];
    link.knows.add(link.a);
    link.knows.add(link.b);
    a.connected(link.b, b.incarnation);
    b.connected(link.a, a.incarnation);
    const { resetEveryMs } = this.options;
    if (resetEveryMs !== Number.POSITIVE_INFINITY) {
      const { generation } = link;
      this.#queue.after(this.#prng.between(0, 2 * resetEveryMs), () => {
        if (link.generation === generation) this.reset(link.a, link.b);
      });
    }
  }

  #forget(link: Link, node: NodeId): void {
    if (!link.knows.delete(node)) return;
    const endpoint = this.#endpoints.get(node);
    if (endpoint?.isUp === true) endpoint.disconnected(node === link.a ? link.b : link.a);
  }

  #reconnectLater(link: Link): void {
    this.#queue.after(this.#prng.between(5, 60), () => this.#connect(link));
  }

  /** Breaks the connection: what is under way is lost, and each end notices in its own time. */
  reset(left: NodeId, right: NodeId): void {
    const link = this.#link(left, right);
    if (!link.isUp) return;
    link.isUp = false;
    link.stalled = [];
    const { generation } = link;
    for (const node of [link.a, link.b]) {
      this.#queue.after(this.#prng.between(0, 8), () => {
        if (link.generation === generation) this.#forget(link, node);
      });
    }
    this.#reconnectLater(link);
  }

  /**
   * A node's process is gone.
   * @param isSilent its peers are not told, as when the machine loses power.
   */
  crashed(node: NodeId, isSilent: boolean): void {
    for (const link of this.#links.values()) {
      if (link.a !== node && link.b !== node) continue;
      if (!link.isUp) continue;
      link.isUp = false;
      link.stalled = [];
      link.knows.delete(node);
      const { generation } = link;
      const peer = link.a === node ? link.b : link.a;
      this.#queue.after(isSilent ? 5_000 : this.#prng.between(0, 5), () => {
        if (link.generation === generation) this.#forget(link, peer);
      });
    }
  }

  send(from: NodeId, to: NodeId, message: Message): void {
    const target = this.#endpoints.get(to);
    if (target === undefined) return;
    if (message.kind === "heartbeat") {
      if (this.isBlocked(from, to) || this.#muted.has(`${from} ${to}`)) return;
      if (this.#prng.chance(this.options.heartbeatLoss)) return;
      this.#queue.after(this.#delayMs(from), () => {
        if (target.isUp && !this.isBlocked(from, to)) target.receive(from, message);
      });
      return;
    }
    const link = this.#link(from, to);
    if (!link.isUp) return;
    this.dataMessages += 1;
    if (this.isBlocked(from, to) || this.#held.has(`${from} ${to}`)) {
      link.stalled.push({ from, message });
      return;
    }
    const direction = from === link.a ? 0 : 1;
    const { generation } = link;
    const arrivalMs = Math.max(
      link.lastArrivalMs[direction],
      this.#queue.nowMs + this.#delayMs(from),
    );
    link.lastArrivalMs[direction] = arrivalMs;
    this.#queue.after(arrivalMs - this.#queue.nowMs, () => {
      if (link.generation === generation && link.isUp && target.isUp) target.receive(from, message);
    });
  }
}
