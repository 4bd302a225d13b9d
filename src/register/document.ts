/** The rules of one register document, without any I/O: what may replace what. */

import type { Configuration } from "../replica/configuration.ts";
import { RegisterError } from "./register.ts";

/** Holds the newest document and those who wait for a newer one. */
export class DocumentHolder {
  #current: Configuration | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(current?: Configuration) {
    this.#current = current;
  }

  get current(): Configuration | undefined {
    return this.#current;
  }

  /** Version of the current document, 0 if there is none. */
  get version(): number {
    return this.#current?.version ?? 0;
  }

  /**
   * @returns whether `next` may replace the current document.
   * @throws RegisterError (`refused`) if it belongs to another cluster.
   */
  canReplace(next: Configuration): boolean {
    if (this.#current !== undefined && next.clusterId !== this.#current.clusterId) {
      throw new RegisterError(
        `the register belongs to cluster ${this.#current.clusterId}, not to ${next.clusterId}`,
        { code: "refused" },
      );
    }
    return next.version === this.version + 1;
  }

  replace(next: Configuration): void {
    this.#current = next;
    for (const notify of [...this.#waiting]) notify();
  }

  /** Calls `onChange` at every replacement. @returns a function that ends it. */
  subscribe(onChange: () => void): () => void {
    this.#waiting.add(onChange);
    return () => {
      this.#waiting.delete(onChange);
    };
  }

  /** Number of subscriptions. */
  get waiting(): number {
    return this.#waiting.size;
  }
}
