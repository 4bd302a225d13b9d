/** What can go wrong between two nodes' sockets. */

export type PeerErrorCode =
  | "malformed"
  | "frame-too-large"
  | "not-hothot"
  | "wrong-cluster"
  | "wrong-node"
  | "self"
  | "duplicate-node"
  | "unknown-node"
  | "version"
  | "secret"
  | "channel";

/** The other side of a connection does not keep to the protocol, or is not who it should be. It closes that connection. */
export class PeerProtocolError extends Error {
  override readonly name = "PeerProtocolError";
  readonly code: PeerErrorCode;

  constructor(code: PeerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The bytes do not keep to the protocol. */
export function malformed(message: string, cause?: unknown): PeerProtocolError {
  return new PeerProtocolError("malformed", message, cause === undefined ? {} : { cause });
}
