/**
 * The cheapest way to send as much as possible through a network with capacities (successive shortest paths: Ahuja, Magnanti
 * and Orlin, "Network Flows", 9.7). All numbers are integers, and so is the result; equal input gives equal output.
 */

import { assert } from "./assert.ts";

interface Edge {
  readonly to: number;
  readonly cost: number;
  /** What may still be sent this way. */
  room: number;
}

export class FlowNetwork {
  /** An edge and its reverse, which takes back what was sent, stand side by side: their indexes differ in the last bit. */
  readonly #edges: Edge[] = [];
  readonly #out: number[][] = [];

  /** @returns a new vertex's number. */
  addVertex(): number {
    return this.#out.push([]) - 1;
  }

  /**
   * @param options `capacity` is at least 0; `cost` is paid for each unit, at least 0.
   * @returns the edge's number.
   */
  addEdge(options: {
    readonly from: number;
    readonly to: number;
    readonly capacity: number;
    readonly cost: number;
  }): number {
    const { from, to, capacity, cost } = options;
    assert(Number.isSafeInteger(cost) && cost >= 0, "a cost is a whole number, at least 0");
    const edge = this.#edges.push({ to, cost, room: capacity }) - 1;
    this.#edges.push({ to: from, cost: -cost, room: 0 });
    this.#outOf(from).push(edge);
    this.#outOf(to).push(edge + 1);
    return edge;
  }

  /** Sends as much as possible from one vertex to another, as cheaply as possible. @returns how much. */
  send(ends: { readonly source: number; readonly sink: number }): number {
    const { source, sink } = ends;
    let sent = 0;
    for (;;) {
      const distances = this.#distances(source);
      if (distances[sink] === Number.POSITIVE_INFINITY) return sent;
      const push = new Push(this.#edges, this.#out, { distances, sink });
      sent += push.from(source, Number.POSITIVE_INFINITY);
    }
  }

  /** What is sent through an edge. */
  sentThrough(edge: number): number {
    return this.#edges[edge ^ 1]?.room ?? 0;
  }

  #outOf(vertex: number): number[] {
    const out = this.#out[vertex];
    assert(out !== undefined, "edges join vertices that there are");
    return out;
  }

  /** Of all vertices from the source, by what is left; costs of reverse edges are negative (Bellman and Ford, with a queue). */
  #distances(source: number): Float64Array {
    const distances = new Float64Array(this.#out.length).fill(Number.POSITIVE_INFINITY);
    const isQueued = new Uint8Array(this.#out.length);
    distances[source] = 0;
    let queue = [source];
    while (queue.length > 0) {
      const next: number[] = [];
      for (const vertex of queue) {
        isQueued[vertex] = 0;
        const distance = distances[vertex] as number;
        for (const index of this.#out[vertex] as number[]) {
          const { to, cost, room } = this.#edges[index] as Edge;
          if (room === 0 || distance + cost >= (distances[to] as number)) continue;
          distances[to] = distance + cost;
          if (isQueued[to] === 1) continue;
          isQueued[to] = 1;
          next.push(to);
        }
      }
      queue = next;
    }
    return distances;
  }
}

/** Sends along shortest paths only, until it finds no more of them; at least one if there is one. */
class Push {
  readonly #edges: readonly Edge[];
  readonly #out: readonly (readonly number[])[];
  readonly #distances: Float64Array;
  readonly #sink: number;
  /** By vertex: how many of its edges are used up. */
  readonly #tried: Int32Array;
  /** By vertex: 1 while it is on the path. */
  readonly #isOnPath: Uint8Array;

  constructor(
    edges: readonly Edge[],
    out: readonly (readonly number[])[],
    target: { readonly distances: Float64Array; readonly sink: number },
  ) {
    this.#edges = edges;
    this.#out = out;
    this.#distances = target.distances;
    this.#sink = target.sink;
    this.#tried = new Int32Array(out.length);
    this.#isOnPath = new Uint8Array(out.length);
  }

  /** @returns how much of the given amount arrived at the sink. */
  from(vertex: number, amount: number): number {
    if (vertex === this.#sink) return amount;
    const out = this.#out[vertex] as readonly number[];
    this.#isOnPath[vertex] = 1;
    let sent = 0;
    while (sent < amount && (this.#tried[vertex] as number) < out.length) {
      const index = out[this.#tried[vertex] as number] as number;
      const edge = this.#edges[index] as Edge;
      const isShortest =
        this.#distances[edge.to] === (this.#distances[vertex] as number) + edge.cost;
      if (edge.room > 0 && isShortest && this.#isOnPath[edge.to] === 0) {
        const arrived = this.from(edge.to, Math.min(amount - sent, edge.room));
        edge.room -= arrived;
        (this.#edges[index ^ 1] as Edge).room += arrived;
        sent += arrived;
        if (sent === amount) break;
      }
      this.#tried[vertex] = (this.#tried[vertex] as number) + 1;
    }
    this.#isOnPath[vertex] = 0;
    return sent;
  }
}
