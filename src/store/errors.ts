/** What can go wrong between a node and its durable copy. */

export type StoreErrorCode =
  /** Another process has the store open. */
  | "locked"
  /** It belongs to another cluster. */
  | "wrong-cluster"
  /** It belongs to another node of this cluster. */
  | "wrong-node"
  /** A newer version of this program wrote it. */
  | "newer-format"
  /** What is stored is not what was written. */
  | "corrupt"
  /** The disk or the server did not do what it was asked for. */
  | "io";

/** The message says what an operator can do where one has to do something. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;

  constructor(message: string, options: ErrorOptions & { readonly code: StoreErrorCode }) {
    super(message, options);
    this.code = options.code;
  }
}

/** What is stored is not what was written. */
export function corrupt(message: string, cause?: unknown): StoreError {
  return new StoreError(message, { code: "corrupt", ...(cause === undefined ? {} : { cause }) });
}
