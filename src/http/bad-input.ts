/** A request that cannot be understood, or must not be taken. */

/** Thrown while a request is read; becomes an answer with this status and reason. */
export class BadInputError extends Error {
  override readonly name = "BadInputError";
  /** Stable, for those who tell errors apart by code. */
  readonly code = "BAD_INPUT";
  readonly status: 400 | 413 | 415;

  /**
   * @param reason what is wrong, for the one who wrote the request.
   * @param options the HTTP status, and the error behind it if there is one.
   */
  constructor(reason: string, options: ErrorOptions & { readonly status: 400 | 413 | 415 }) {
    super(reason, options);
    this.status = options.status;
  }
}
