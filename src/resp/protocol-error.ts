/** What a peer sent is not RESP, or is more of it than is allowed. */

/** A peer's bytes cannot be understood; the connection must be closed, for nobody knows where the next message begins. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** Stable, for those who tell errors apart by code. */
  readonly code = "PROTOCOL_ERROR";

  /** @param detail what was wrong, in Redis's words; `Protocol error: ` is put before it. */
  constructor(detail: string) {
    super(`Protocol error: ${detail}`);
  }
}
