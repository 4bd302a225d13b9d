/**
 * Listens for the peers with lower ids, hears who they are, and decides which of them may be linked. Anybody may connect: what
 * strangers can take is bounded, in time and in number.
 */

import * as net from "node:net";
import type { NodeId } from "../replica/configuration.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import { greet } from "./greet.ts";
import { type Greeted, Handshake, type Hello, type Identity } from "./handshake.ts";
import type { LinkLimits, LinkLog } from "./link-options.ts";
import { aliveMs, type Lane, type Peer, type Peers } from "./peer.ts";
import { SOCKET_OPTIONS, type Wire, type Wires } from "./wires.ts";

/** What an acceptor needs, and whom it tells. */
export interface AcceptorOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly identity: Identity;
  readonly limits: LinkLimits;
  readonly peers: Peers;
  readonly wires: Wires;
  readonly log: LinkLog;
  /** The wall clock, ms since 1970. */
  readonly wallMs: () => number;
  /** A peer has connected for this lane of it, and is who it says. */
  readonly linked: (peer: Peer, lane: Lane, wire: Wire, greeted: Greeted) => void;
  /** There will be no link by this connection. `who` is what the other side says to be, if it has said so. */
  readonly refused: (who: NodeId | undefined, error: PeerProtocolError, socket: net.Socket) => void;
}

/** The listening side of a node; goes from opening to open to closed. */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #server: net.Server;
  /** Connections that have not said who they are, the oldest first. */
  readonly #greeting = new Set<net.Socket>();
  /** Before it is open, who dials is told nothing and tries again. */
  #phase: "opening" | "open" | "closed" = "opening";

  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#server = net.createServer({ ...SOCKET_OPTIONS, pauseOnConnect: true }, (socket) =>
      this.#onAccepted(options.wires.accept(socket)),
    );
  }

  /**
   * Takes the port, but nobody's hello before `open`.
   * @throws the system's error, such as `EADDRINUSE`.
   */
  async listen(): Promise<net.AddressInfo> {
    const { host, port, log } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.removeAllListeners("error");
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) =>
          log("error", "peer listener failed", { error: error.message }),
        );
        resolve();
      });
    });
    return this.#server.address() as net.AddressInfo;
  }

  /** Gives the port back; `listen` may take another. */
  async unlisten(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Hears from now on who connects. */
  open(): void {
    if (this.#phase === "opening") this.#phase = "open";
  }

  /** Ends all connections that are in their handshake; who dialled tries anew. */
  resetHandshakes(): void {
    for (const socket of this.#greeting) socket.destroy();
  }

  /** Accepts nobody any more. Connections that were handed on go on. */
  async close(): Promise<void> {
    this.#phase = "closed";
    this.resetHandshakes();
    if (this.#server.listening) await this.unlisten();
  }

  #onAccepted(wire: Wire): void {
    const { socket } = wire;
    socket.on("error", () => undefined);
    if (this.#phase !== "open") {
      socket.destroy();
      return;
    }
    const { identity, limits, peers, wallMs, linked, refused } = this.#options;
    // Who greets at once gets through a crowd of those who never do.
    const [oldest] = this.#greeting;
    if (this.#greeting.size >= limits.handshakesMax) {
      if (oldest !== undefined) this.#greeting.delete(oldest);
      oldest?.destroy();
    }
    this.#greeting.add(socket);
    const timer = setTimeout(() => socket.destroy(), limits.handshakeMsMax);
    const onClose = (): void => {
      clearTimeout(timer);
      this.#greeting.delete(socket);
    };
    const handshake = new Handshake({
      role: "acceptor",
      identity,
      wallMs: wallMs(),
      admit: (hello) => this.#admit(hello),
    });
    greet(wire, handshake, {
      isAwaited: () => this.#greeting.has(socket),
      greeted: (greeted) => {
        // Much may have happened since its first word.
        const { hello } = greeted;
        const peer = this.#admit(hello) ? peers.get(hello.nodeId) : undefined;
        const lane = hello.channel === "data" ? peer?.data : peer?.heartbeat;
        if (peer === undefined || lane === undefined) {
          socket.destroy();
          return;
        }
        socket.off("close", onClose);
        onClose();
        linked(peer, lane, wire, greeted);
      },
      refused: (error) => refused(handshake.peer?.nodeId, error, socket),
    });
    socket.once("close", onClose);
  }

  /**
   * @returns false for a peer that a test has blocked: it hears nothing at all, and a timer ends its try.
   * @throws PeerProtocolError if there shall be no link with this peer.
   */
  #admit({ nodeId, incarnation, channel }: Hello): boolean {
    const { identity, limits, peers } = this.#options;
    const own = identity.nodeId;
    if (nodeId > own) throw malformed(`${nodeId} dialled ${own}, the lower id has to`);
    const peer = peers.get(nodeId);
    if (peer === undefined) {
      throw new PeerProtocolError(
        "unknown-node",
        `${nodeId} is no node of cluster ${identity.clusterId} as ${own} knows it; ` +
          "if it was removed, stop it",
      );
    }
    if (channel === "heartbeat" && peer.heartbeat === undefined) {
      throw new PeerProtocolError(
        "channel",
        `${nodeId} sends heartbeats over TCP, ${own} expects UDP; the whole cluster has one setting`,
      );
    }
    // The older of two processes of one name wins, as long as it lives: else each would push the other out for ever.
    const isAlive =
      peer.data.line !== undefined && performance.now() - peer.heardAtMs < aliveMs(peer, limits);
    if (isAlive && peer.run !== undefined && peer.run.incarnation !== incarnation) {
      throw new PeerProtocolError(
        "duplicate-node",
        `two processes run as ${nodeId}: incarnation ${peer.run.incarnation} at ` +
          `${peer.run.remote ?? "an unknown address"} is linked, ${incarnation} is refused; ` +
          "stop one of them, or start it with its own --id",
      );
    }
    return !peer.dropsIn && !peer.dropsOut;
  }
}
