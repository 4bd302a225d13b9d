/** What keeps a node from starting. */

/** Exit status: starting it again may help. */
export const FAILED = 1;
/** Exit status: it does not belong where it was told to go; starting it again cannot help until somebody changes that. */
export const MISFIT = 78;

/** Its message is for the operator, and says what to do. */
export class StartError extends Error {
  override readonly name = "StartError";
  /** Of the process. */
  readonly exitStatus: typeof FAILED | typeof MISFIT;

  constructor(
    message: string,
    options: { readonly exitStatus: typeof FAILED | typeof MISFIT; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitStatus = options.exitStatus;
  }
}
