/**
 * The configuration register: one linearizable document with compare-and-swap and watch. It is not on the data path; while
 * it is away, the cluster serves on in its last epochs.
 */

import type { Configuration } from "../replica/configuration.ts";

export type SwapResult =
  | { readonly outcome: "done" }
  /** Nothing was changed. `current` is what the register holds, undefined if it holds nothing. */
  | { readonly outcome: "conflict"; readonly current: Configuration | undefined }
  /** The swap may have been applied, may still be applied, or was not: only a later read tells. */
  | { readonly outcome: "unknown"; readonly cause: RegisterError };

export interface Register {
  /**
   * To read again what has not changed costs no more than a few bytes.
   * @returns the newest document, undefined if there is none yet.
   * @throws RegisterError if the register cannot be reached in time.
   */
  read(): Promise<Configuration | undefined>;

  /**
   * Replaces the document of version `configuration.version - 1` (version 1 replaces nothing). Takes no longer than the
   * register's time limit.
   * @throws RegisterError (`refused`) if the document itself is at fault, such as another cluster's.
   */
  swap(configuration: Configuration): Promise<SwapResult>;

  /**
   * Calls `onChange` with every document newer than `afterVersion` that it gets to see, in ascending order of versions; of
   * several quick changes perhaps only the last. Keeps trying while the register is away.
   * @returns a function that ends the watch.
   */
  watch(afterVersion: number, onChange: (configuration: Configuration) => void): () => void;

  /** Ends all watches and frees what the register holds. */
  close(): Promise<void>;
}

/**
 * `refused`: the register answered, and will never take this. `unreachable`: it did not answer in time, or not as a
 * register does. `corrupt`: what it holds is damaged, or another cluster's. `newer-format`: a newer program has written it.
 * `stale`: it shows an older document than before, as one does that was restored from a backup.
 */
export type RegisterErrorCode = "refused" | "unreachable" | "corrupt" | "newer-format" | "stale";

export class RegisterError extends Error {
  override readonly name = "RegisterError";
  readonly code: RegisterErrorCode;

  constructor(message: string, options: ErrorOptions & { readonly code: RegisterErrorCode }) {
    super(message, options);
    this.code = options.code;
  }
}
