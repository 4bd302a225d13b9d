/**
 * Dials the peers with higher ids, lane by lane, and again whenever a lane is down, until it is told to end. What it has
 * reached and greeted it hands on; it never has two connections to a lane under way.
 */

import type { Socket } from "node:net";
import type { PeerProtocolError } from "./errors.ts";
import { greet } from "./greet.ts";
import { type Greeted, Handshake, type Identity } from "./handshake.ts";
import type { LinkLimits } from "./link-options.ts";
import type { Lane, Peer } from "./peer.ts";
import type { Wire, Wires } from "./wires.ts";

/** What a dialler needs, and whom it tells. */
export interface DiallerOptions {
  readonly identity: Identity;
  readonly limits: LinkLimits;
  readonly wires: Wires;
  /** The wall clock, ms since 1970. */
  readonly wallMs: () => number;
  /** The lane's peer was reached and is who it should be. */
  readonly linked: (peer: Peer, lane: Lane, wire: Wire, greeted: Greeted) => void;
  /** There will be no link by this connection, because one of the sides refuses it. */
  readonly refused: (peer: Peer, error: PeerProtocolError, socket: Socket) => void;
}

/** A lane that is dialled. At most one of `socket` and `timer` is there; neither, while the lane has a line. */
interface Dialling {
  readonly peer: Peer;
  readonly lane: Lane;
  /** A connection that is being made or greets. */
  socket: Socket | undefined;
  /** Waits before it dials. */
  timer: NodeJS.Timeout | undefined;
  /** The next wait at most, ms. */
  waitMs: number;
}

/** The dialling side of a node. Of lanes that it has not begun with, or has ended with, it takes no notice. */
export class Dialler {
  readonly #options: DiallerOptions;
  readonly #diallings = new Map<Lane, Dialling>();

  constructor(options: DiallerOptions) {
    this.#options = options;
  }

  /** Dials this lane from now on, unless its peer is the one that has to. */
  begin(peer: Peer, lane: Lane): void {
    const { identity, limits } = this.#options;
    if (identity.nodeId >= peer.address.id) return;
    const dialling: Dialling = {
      peer,
      lane,
      socket: undefined,
      timer: undefined,
      waitMs: limits.redialMsMin,
    };
    this.#diallings.set(lane, dialling);
    this.#dialLater(dialling, 0);
  }

  /**
   * The lane's line is down: dials after a wait.
   * @param isSteady it was up for long, so the wait is the shortest.
   */
  dialAgain(lane: Lane, isSteady: boolean): void {
    const dialling = this.#diallings.get(lane);
    if (dialling === undefined) return;
    if (isSteady) dialling.waitMs = this.#options.limits.redialMsMin;
    this.#redial(dialling);
  }

  /** Gives up what is under way, forgets how long the waits were, and dials at once, or soon, if the lane has no line. */
  dialAnew(lane: Lane): void {
    const dialling = this.#diallings.get(lane);
    if (dialling === undefined) return;
    dialling.waitMs = this.#options.limits.redialMsMin;
    // Its close event dials anew.
    if (dialling.socket !== undefined) dialling.socket.destroy();
    else if (lane.line === undefined) this.#dialLater(dialling, 0);
  }

  /** Dials this lane no more. */
  end(lane: Lane): void {
    const dialling = this.#diallings.get(lane);
    if (dialling === undefined) return;
    this.#diallings.delete(lane);
    clearTimeout(dialling.timer);
    dialling.socket?.destroy();
  }

  #redial(dialling: Dialling): void {
    const { lane } = dialling;
    if (!this.#diallings.has(lane) || lane.line !== undefined) return;
    const waitMs = dialling.waitMs * (0.5 + Math.random() / 2);
    dialling.waitMs = Math.min(dialling.waitMs * 2, this.#options.limits.redialMsMax);
    this.#dialLater(dialling, waitMs);
  }

  #dialLater(dialling: Dialling, afterMs: number): void {
    clearTimeout(dialling.timer);
    dialling.timer = setTimeout(() => {
      dialling.timer = undefined;
      this.#dial(dialling);
    }, afterMs);
  }

  #dial(dialling: Dialling): void {
    const { peer, lane } = dialling;
    if (lane.line !== undefined || dialling.socket !== undefined) return;
    const { identity, limits, wires, wallMs, linked, refused } = this.#options;
    if (peer.dropsIn || peer.dropsOut) {
      this.#dialLater(dialling, limits.redialMsMax);
      return;
    }
    const { id, host, port } = peer.address;
    const wire = wires.dial(host, port);
    const { socket } = wire;
    dialling.socket = socket;
    const timer = setTimeout(() => socket.destroy(), limits.handshakeMsMax);
    const onClose = (): void => {
      clearTimeout(timer);
      if (dialling.socket === socket) dialling.socket = undefined;
      this.#redial(dialling);
    };
    socket.once("connect", () => {
      const handshake = new Handshake({
        role: "dialler",
        identity,
        wallMs: wallMs(),
        dials: { node: id, channel: lane.channel },
      });
      greet(wire, handshake, {
        isAwaited: () => dialling.socket === socket && !peer.dropsIn,
        greeted: (greeted) => {
          clearTimeout(timer);
          socket.off("close", onClose);
          dialling.socket = undefined;
          linked(peer, lane, wire, greeted);
        },
        refused: (error) => refused(peer, error, socket),
      });
      socket.write(handshake.begin());
    });
    // The close event follows every error; only it decides.
    socket.on("error", () => undefined);
    socket.once("close", onClose);
  }
}
