/** Leads a handshake over a connection. Who began it, and who ends it if the other side stays silent, is no matter here. */

import { PeerProtocolError } from "./errors.ts";
import type { Greeted, Handshake } from "./handshake.ts";
import type { Wire } from "./wires.ts";

/** What becomes of a handshake. */
export interface GreetOptions {
  /** Whether what comes still counts: nobody has given the connection up, and no test's cut is in the way. */
  readonly isAwaited: () => boolean;
  /**
   * Both sides agree.
   * @throws PeerProtocolError to refuse the other side after all.
   */
  readonly greeted: (greeted: Greeted) => void;
  /** There will be no link, because one of the sides refuses it; the connection is being closed. */
  readonly refused: (error: PeerProtocolError) => void;
}

/** Gives the wire's bytes to the handshake, its answers to the wire, and a refusal to both sides, whose operators want to know. */
export function greet(wire: Wire, handshake: Handshake, options: GreetOptions): void {
  const { socket } = wire;
  wire.take = (bytes, start, end): void => {
    if (!options.isAwaited()) return;
    try {
      const { send, done } = handshake.push(bytes.subarray(start, end));
      for (const word of send) socket.write(word);
      if (done !== undefined) options.greeted(done);
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      options.refused(error);
      const answer = handshake.refuse(error);
      if (answer === undefined) socket.destroy();
      else socket.end(answer, () => socket.destroy());
    }
  };
}
