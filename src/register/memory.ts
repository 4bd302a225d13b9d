/** A register within one process, for tests and for nodes that share a process. */

import type { Configuration } from "../replica/configuration.ts";
import { parseConfiguration } from "../replica/parse-configuration.ts";
import { DocumentHolder } from "./document.ts";
import { type Register, RegisterError, type SwapResult } from "./register.ts";

export class MemoryRegister implements Register {
  readonly #holder: DocumentHolder;
  readonly #watches = new Set<() => void>();

  /** @param initial the document to begin with, if any. */
  constructor(initial?: Configuration) {
    this.#holder = new DocumentHolder(initial);
  }

  async read(): Promise<Configuration | undefined> {
    return this.#holder.current;
  }

  async swap(configuration: Configuration): Promise<SwapResult> {
    let document: Configuration;
    try {
      // Like the witness, it holds a checked copy: nobody shares objects through the register.
      document = parseConfiguration(structuredClone(configuration));
    } catch (error) {
      throw new RegisterError("the document is malformed", { code: "refused", cause: error });
    }
    if (!this.#holder.canReplace(document)) {
      return { outcome: "conflict", current: this.#holder.current };
    }
    this.#holder.replace(document);
    return { outcome: "done" };
  }

  watch(afterVersion: number, onChange: (configuration: Configuration) => void): () => void {
    let seen = afterVersion;
    let isEnded = false;
    const look = (): void => {
      // Later, as over a network: a watcher must not be called within someone's swap.
      queueMicrotask(() => {
        const current = this.#holder.current;
        if (isEnded || current === undefined || current.version <= seen) return;
        seen = current.version;
        onChange(current);
      });
    };
    const unsubscribe = this.#holder.subscribe(look);
    const end = (): void => {
      isEnded = true;
      unsubscribe();
      this.#watches.delete(end);
    };
    this.#watches.add(end);
    look();
    return end;
  }

  async close(): Promise<void> {
    for (const end of [...this.#watches]) end();
  }
}
