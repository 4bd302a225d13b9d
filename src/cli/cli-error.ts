/** What a command of `hothot` reports when it cannot do what it was asked for. */

/**
 * An error for the person at the terminal. Its message says what is wrong and what to do next; it is printed without a
 * stack trace.
 */
export class CliError extends Error {
  override readonly name = "CliError";
  /** The exit status of the process, 1 unless told otherwise. */
  readonly exitCode: number;

  constructor(message: string, options?: { readonly exitCode?: number; readonly cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options?.exitCode ?? 1;
  }
}
