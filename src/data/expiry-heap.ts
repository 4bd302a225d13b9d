/**
 * The keys that have an end, soonest first. A binary heap whose nodes know their own place in it, so that changing or
 * dropping a key's time needs no search and leaves nothing behind: it never holds more nodes than there are such keys.
 */

import { assert } from "../kit/assert.ts";

/** One key's end. Only the heap changes it. */
export interface Expiry {
  readonly key: string;
  /** When the key ends, ms since 1970. */
  readonly atMs: number;
}

class Node implements Expiry {
  readonly key: string;
  atMs: number;
  /** Place in the heap; -1 once removed. */
  index: number;

  constructor(key: string, atMs: number, index: number) {
    this.key = key;
    this.atMs = atMs;
    this.index = index;
  }
}

export class ExpiryHeap {
  readonly #nodes: Node[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  /** @param atMs ms since 1970. */
  add(key: string, atMs: number): Expiry {
    const node = new Node(key, atMs, this.#nodes.length);
    this.#nodes.push(node);
    this.#rise(node);
    return node;
  }

  /**
   * @param expiry what this heap's `add` gave and `remove` has not taken.
   * @param atMs the new end, ms since 1970.
   */
  move(expiry: Expiry, atMs: number): void {
    const node = this.#own(expiry);
    const isSooner = atMs < node.atMs;
    node.atMs = atMs;
    if (isSooner) this.#rise(node);
    else this.#sink(node);
  }

  /** @param expiry what this heap's `add` gave and `remove` has not taken. */
  remove(expiry: Expiry): void {
    const node = this.#own(expiry);
    const last = this.#nodes.pop();
    assert(last !== undefined, "a heap that owns a node is not empty");
    if (last !== node) {
      last.index = node.index;
      this.#nodes[last.index] = last;
      this.#rise(last);
      this.#sink(last);
    }
    node.index = -1;
  }

  /** The key that ends first, without removing it; undefined if none does. */
  peek(): Expiry | undefined {
    return this.#nodes[0];
  }

  clear(): void {
    this.#nodes.length = 0;
  }

  #own(expiry: Expiry): Node {
    assert(expiry instanceof Node, "an expiry comes from a heap");
    assert(this.#nodes[expiry.index] === expiry, "an expiry is in the heap that made it");
    return expiry;
  }

  #rise(node: Node): void {
    const nodes = this.#nodes;
    let index = node.index;
    while (index > 0) {
      const parent = nodes[(index - 1) >> 1];
      if (parent === undefined || parent.atMs <= node.atMs) break;
      nodes[index] = parent;
      const parentIndex = parent.index;
      parent.index = index;
      index = parentIndex;
    }
    nodes[index] = node;
    node.index = index;
  }

  #sink(node: Node): void {
    const nodes = this.#nodes;
    let index = node.index;
    for (;;) {
      let child = nodes[2 * index + 1];
      const right = nodes[2 * index + 2];
      if (child === undefined) break;
      if (right !== undefined && right.atMs < child.atMs) child = right;
      if (child.atMs >= node.atMs) break;
      nodes[index] = child;
      const childIndex = child.index;
      child.index = index;
      index = childIndex;
    }
    nodes[index] = node;
    node.index = index;
  }
}
