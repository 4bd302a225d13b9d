/** Clients that a surviving node must not let down, whatever becomes of the others. */

import { type Client, type TestCluster, until } from "../integration/harness.ts";

/** Clients that write and read without pause, each its own keys, and tell of anything that is not right. */
export class Workers {
  readonly #cluster: TestCluster;
  readonly #clients: Client[] = [];
  /** Index of the node that each worker is to use. */
  readonly #wanted: number[];
  readonly #using: number[] = [];
  #isStopped = false;
  #done: Promise<void>[] = [];
  /** Whatever was refused, failed or wrong. */
  readonly troubles: string[] = [];
  /** Answered commands. */
  answered = 0;
  /** The longest that any command took since this was last set to 0, ms. */
  slowestMs = 0;

  /** @param count of clients, spread evenly over the nodes. */
  constructor(cluster: TestCluster, count: number) {
    this.#cluster = cluster;
    this.#wanted = Array.from({ length: count }, (_, index) => index % cluster.state.nodes.length);
  }

  /** Connects them all, and begins. */
  async start(): Promise<void> {
    for (const [index, node] of this.#wanted.entries()) {
      this.#clients[index] = await this.#cluster.client(node);
      this.#using[index] = node;
    }
    this.#done = this.#wanted.map((_, index) => this.#work(index));
  }

  /** Moves all workers away from a node, evenly to the others, and returns when none uses it. */
  async leave(node: number): Promise<void> {
    const others = [...this.#cluster.state.nodes.keys()].filter((other) => other !== node);
    for (const index of this.#wanted.keys()) {
      const other = others[index % others.length];
      if (this.#wanted[index] === node && other !== undefined) this.#wanted[index] = other;
    }
    await until(
      "all workers have left",
      () => this.#using.every((using) => using !== node) || this.troubles.length > 0,
    );
  }

  /** Ends when all that was asked is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#done);
  }

  async #work(index: number): Promise<void> {
    const keys = Array.from({ length: 16 }, (_, key) => `worker:${index}:${key}`);
    for (let round = 1; !this.#isStopped; round += 1) {
      await this.#moveIfWanted(index);
      const client = this.#clients[index];
      const key = keys[round % keys.length];
      if (client === undefined || key === undefined) return;
      try {
        await this.#timed(() => client.set(key, String(round)));
        const seen = await this.#timed(() => client.get(key));
        if (seen !== String(round))
          this.troubles.push(`${key} is ${String(seen)} and should be ${round}`);
      } catch (error) {
        this.troubles.push(`n${(this.#using[index] ?? 0) + 1}: ${String(error)}`);
        return;
      }
    }
  }

  async #moveIfWanted(index: number): Promise<void> {
    const wanted = this.#wanted[index] ?? 0;
    if (wanted === this.#using[index]) return;
    const before = this.#clients[index];
    this.#clients[index] = await this.#cluster.client(wanted);
    this.#using[index] = wanted;
    before?.destroy();
  }

  async #timed<T>(command: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    const result = await command();
    this.slowestMs = Math.max(this.slowestMs, performance.now() - begun);
    this.answered += 1;
    return result;
  }
}
