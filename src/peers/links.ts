/**
 * TCP between the nodes of a cluster. Each pair of nodes keeps two connections, `data` and `heartbeat`; the node with the
 * lower id dials, and dials again when one breaks. A data link is FIFO from `connected` to `disconnected`: bytes are never
 * lost in between, and what is left of a replaced connection is never read. It must never queue without a bound, never
 * read the core's mind (it knows no message but by channel), and never throw at what a peer sends.
 */

import * as net from "node:net";
import type { Incarnation, NodeId } from "../replica/configuration.ts";
import type { Message } from "../replica/messages.ts";
import { FRAME_BYTES_MAX, FrameDecoder, FrameEncoder, WIRE_VERSION } from "./codec.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import { type Channel, encodeHello, type Hello, HelloDecoder } from "./handshake.ts";

export interface PeerAddress {
  readonly id: NodeId;
  readonly host: string;
  /** TCP port of its peer links. */
  readonly port: number;
}

/** Called synchronously, as things happen. For one peer: connected, received …, disconnected, connected … */
export interface LinkHandler {
  /** The data link is up. */
  connected(peer: NodeId, incarnation: Incarnation): void;
  disconnected(peer: NodeId): void;
  received(from: NodeId, message: Message): void;
}

/** Where the links report what an operator may want to know. */
export type LinkLog = (
  level: "debug" | "info" | "warn" | "error",
  text: string,
  fields: Readonly<Record<string, unknown>>,
) => void;

/** Which way a test's cut goes, seen from this node. */
export type BlockDirection = "both" | "in" | "out";

/** Times in ms. */
export interface LinkLimits {
  /** Unsent bytes of a data link past which it is reset; the core then resends what still matters. */
  readonly queuedBytesMax: number;
  readonly frameBytesMax: number;
  /** From the connection to the end of the handshake. */
  readonly handshakeMsMax: number;
  /** The first wait before dialling again; it doubles up to `redialMsMax`, and is drawn from the upper half. */
  readonly redialMsMin: number;
  readonly redialMsMax: number;
  /** Connections of a peer that said nothing on its heartbeat link for so long are reset: TCP alone may take minutes. */
  readonly silentMsMax: number;
  /** Connections that may be in their handshake at once. */
  readonly handshakesMax: number;
}

export const LINK_LIMITS: LinkLimits = {
  queuedBytesMax: 256 * 1024 * 1024,
  frameBytesMax: FRAME_BYTES_MAX,
  handshakeMsMax: 1000,
  redialMsMin: 20,
  redialMsMax: 200,
  silentMsMax: 2000,
  handshakesMax: 64,
};

/** Time of one turn of the event loop in which data is read, ms: heartbeats come by the same loop and must not wait behind it. */
const TURN_MS_MAX = 10;
/** What is still to be sent at the end gets this long, ms. */
const CLOSE_MS_MAX = 500;
/** A connection that lived this long was a good one: the next is dialled without delay, ms. */
const STEADY_MS = 1000;

export interface LinksOptions {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly incarnation: Incarnation;
  /** Address to listen on. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly peers: readonly PeerAddress[];
  readonly handler: LinkHandler;
  readonly log: LinkLog;
  readonly limits?: Partial<LinkLimits>;
  /** Range of wire versions to speak; tests set it. */
  readonly wire?: { readonly min: number; readonly max: number };
}

export interface LinkStatus {
  readonly node: NodeId;
  readonly data: boolean;
  readonly heartbeat: boolean;
  /** Unsent bytes of the data link. */
  readonly queuedBytes: number;
  /** Bytes of frames that were given to the connections to this peer, on both channels. */
  readonly sentBytes: number;
}

/** One direction-less connection of a peer, up. */
interface Line {
  readonly socket: net.Socket;
  readonly decoder: FrameDecoder;
  /** `performance.now()` of its beginning. */
  readonly sinceMs: number;
}

/** One channel to one peer: down (perhaps with a redial under way) or up. */
interface Lane {
  readonly channel: Channel;
  readonly encoder: FrameEncoder;
  sentBytes: number;
  line: Line | undefined;
  /** A connection that is being dialled or greets. */
  dialling: net.Socket | undefined;
  redialTimer: NodeJS.Timeout | undefined;
  redialMs: number;
  /** The last refusal that was logged, so that a lasting one is one line and not fifty a second. */
  refusal: string;
}

interface Peer {
  address: PeerAddress;
  readonly data: Lane;
  readonly heartbeat: Lane;
  /** `performance.now()` of the last sign of life. */
  heardAtMs: number;
  dropsIn: boolean;
  dropsOut: boolean;
}

export class Links {
  readonly #options: LinksOptions;
  readonly #limits: LinkLimits;
  readonly #wire: { readonly min: number; readonly max: number };
  readonly #peers = new Map<NodeId, Peer>();
  /** Accepted connections that have not said who they are. */
  readonly #greeting = new Set<net.Socket>();
  readonly #server: net.Server;
  readonly #silenceTimer: NodeJS.Timeout;
  /** When the first data of this turn was read; undefined before it was. */
  #turnBegunMs: number | undefined;
  /** Data connections that are not read until the next turn. */
  readonly #resting = new Set<net.Socket>();
  #isClosed = false;

  constructor(options: LinksOptions) {
    this.#options = options;
    this.#limits = { ...LINK_LIMITS, ...options.limits };
    this.#wire = options.wire ?? { min: WIRE_VERSION, max: WIRE_VERSION };
    this.#server = net.createServer({ noDelay: true }, (socket) => this.#onAccepted(socket));
    this.#silenceTimer = setInterval(() => {
      // After this turn's reading: a stalled process must not take its own silence for its peers'.
      setImmediate(() => this.#resetSilent());
    }, this.#limits.silentMsMax / 4);
    this.#silenceTimer.unref();
  }

  /**
   * Listens, and dials the peers.
   * @returns the port.
   * @throws the system's error, such as `EADDRINUSE`.
   */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: this.#options.host, port: this.#options.port }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) =>
          this.#options.log("error", "peer listener failed", { error: error.message }),
        );
        resolve();
      });
    });
    this.setPeers(this.#options.peers);
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Makes the peers these, whatever they were; this node itself is left out. */
  setPeers(addresses: readonly PeerAddress[]): void {
    if (this.#isClosed) return;
    const wanted = new Set(addresses.map((address) => address.id));
    for (const [id, peer] of this.#peers) {
      if (wanted.has(id)) continue;
      this.#peers.delete(id);
      this.#resetPeer(peer, "no longer a node of the cluster");
    }
    for (const address of addresses) {
      if (address.id === this.#options.nodeId) continue;
      const known = this.#peers.get(address.id);
      if (known === undefined) {
        const peer: Peer = {
          address,
          data: this.#createLane("data"),
          heartbeat: this.#createLane("heartbeat"),
          heardAtMs: performance.now(),
          dropsIn: false,
          dropsOut: false,
        };
        this.#peers.set(address.id, peer);
        this.#dialLater(peer, peer.data, 0);
        this.#dialLater(peer, peer.heartbeat, 0);
      } else if (known.address.host !== address.host || known.address.port !== address.port) {
        known.address = address;
        this.#resetPeer(known, "its address changed");
      }
    }
  }

  /**
   * Queues a message for the next `flush`. Without a link it is lost; a heartbeat is also lost while its connection is
   * backed up, because a late heartbeat is worth nothing.
   */
  send(to: NodeId, message: Message): void {
    const peer = this.#peers.get(to);
    if (peer === undefined) return;
    const lane = message.kind === "heartbeat" ? peer.heartbeat : peer.data;
    if (lane.line === undefined || peer.dropsOut) return;
    const queued = lane.encoder.length + lane.line.socket.writableLength;
    if (message.kind === "heartbeat") {
      if (lane.line.socket.writableLength > 0) return;
    } else if (queued > this.#limits.queuedBytesMax) {
      this.#options.log("warn", "peer link reset: it takes no more", { peer: to, queued });
      this.#lineDown(peer, lane, lane.line);
      return;
    }
    try {
      lane.encoder.append(message);
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.#options.log("error", "peer link reset: a message cannot be sent", {
        peer: to,
        code: error.code,
        error: error.message,
      });
      this.#lineDown(peer, lane, lane.line);
    }
  }

  /** Writes what was queued: one write per connection. */
  flush(): void {
    for (const peer of this.#peers.values()) {
      this.#flushLane(peer, peer.data);
      this.#flushLane(peer, peer.heartbeat);
    }
  }

  /**
   * Test only: silently drops all bytes to and from these peers, in the direction given, until called again without them.
   * Connections that lost bytes are reset then, so that no stream ever has a gap.
   */
  blockPeers(nodes: ReadonlySet<NodeId>, direction: BlockDirection): void {
    for (const [id, peer] of this.#peers) {
      const dropsIn = nodes.has(id) && direction !== "out";
      const dropsOut = nodes.has(id) && direction !== "in";
      const isLifted = (peer.dropsIn && !dropsIn) || (peer.dropsOut && !dropsOut);
      peer.dropsIn = dropsIn;
      peer.dropsOut = dropsOut;
      if (isLifted) {
        this.#resetPeer(peer, "the block was lifted");
      } else if (dropsOut) {
        // What is queued belongs to the time before the block, or would leave later than what is dropped.
        this.#flushLane(peer, peer.data, true);
        this.#flushLane(peer, peer.heartbeat, true);
      }
    }
    // Those who tried during the block shall try anew now.
    for (const socket of this.#greeting) socket.destroy();
  }

  status(): readonly LinkStatus[] {
    return [...this.#peers].map(([node, peer]) => ({
      node,
      data: peer.data.line !== undefined,
      heartbeat: peer.heartbeat.line !== undefined,
      queuedBytes: peer.data.encoder.length + (peer.data.line?.socket.writableLength ?? 0),
      sentBytes: peer.data.sentBytes + peer.heartbeat.sentBytes,
    }));
  }

  /** Sends what is queued as far as the system takes it, closes everything and calls the handler no more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    clearInterval(this.#silenceTimer);
    const sockets: net.Socket[] = [];
    for (const peer of this.#peers.values()) {
      for (const lane of [peer.data, peer.heartbeat]) {
        clearTimeout(lane.redialTimer);
        lane.dialling?.destroy();
        if (lane.line !== undefined) sockets.push(lane.line.socket);
      }
    }
    this.#peers.clear();
    for (const socket of this.#greeting) socket.destroy();
    for (const socket of sockets) socket.destroySoon();
    // A peer that reads nothing must not keep this node from its end.
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, CLOSE_MS_MAX);
    if (this.#server.listening) {
      await new Promise<void>((resolve) => {
        this.#server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
    }
    clearTimeout(timer);
  }

  #createLane(channel: Channel): Lane {
    return {
      channel,
      encoder: new FrameEncoder(this.#limits.frameBytesMax),
      sentBytes: 0,
      line: undefined,
      dialling: undefined,
      redialTimer: undefined,
      redialMs: this.#limits.redialMsMin,
      refusal: "",
    };
  }

  #flushLane(peer: Peer, lane: Lane, ignoresBlock = false): void {
    if (lane.encoder.length === 0) return;
    const line = lane.line;
    if (line === undefined || (peer.dropsOut && !ignoresBlock)) {
      lane.encoder.reset(true);
      return;
    }
    lane.sentBytes += lane.encoder.length;
    line.socket.write(lane.encoder.bytes());
    // If the kernel took all at once, nobody holds the buffer any more.
    lane.encoder.reset(line.socket.writableLength === 0);
  }

  // --- dialling ---------------------------------------------------------------------------------------------------

  #isDialler(peer: Peer): boolean {
    return this.#options.nodeId < peer.address.id;
  }

  #dialLater(peer: Peer, lane: Lane, afterMs: number): void {
    if (this.#isClosed || !this.#isDialler(peer)) return;
    clearTimeout(lane.redialTimer);
    lane.redialTimer = setTimeout(() => {
      lane.redialTimer = undefined;
      this.#dial(peer, lane);
    }, afterMs);
  }

  #dial(peer: Peer, lane: Lane): void {
    if (this.#isClosed || this.#peers.get(peer.address.id) !== peer) return;
    if (lane.line !== undefined || lane.dialling !== undefined) return;
    if (peer.dropsIn || peer.dropsOut) {
      this.#dialLater(peer, lane, this.#limits.redialMsMax);
      return;
    }
    const { host, port } = peer.address;
    const socket = net.connect({ host, port, noDelay: true });
    lane.dialling = socket;
    const hello = new HelloDecoder();
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeMsMax);
    socket.once("connect", () => socket.write(encodeHello(this.#hello(peer, lane.channel))));
    // The close event follows every error; only it decides.
    socket.on("error", () => undefined);
    const onData = (chunk: Buffer): void => {
      if (lane.dialling !== socket || peer.dropsIn) return;
      try {
        const greeted = hello.push(chunk);
        if (greeted === undefined) return;
        if (greeted.hello.refusal !== undefined) {
          const { code, message } = greeted.hello.refusal;
          throw new PeerProtocolError(code, `refused by the peer: ${message}`);
        }
        this.#check(greeted.hello, peer.address.id, lane.channel);
        clearTimeout(timer);
        socket.off("data", onData);
        socket.off("close", onClose);
        lane.dialling = undefined;
        this.#lineUp(peer, lane, socket, greeted.hello.incarnation, greeted.rest);
      } catch (error) {
        if (!(error instanceof PeerProtocolError)) throw error;
        this.#logRefusal(lane, peer.address.id, error);
        socket.destroy();
      }
    };
    const onClose = (): void => {
      clearTimeout(timer);
      if (lane.dialling === socket) lane.dialling = undefined;
      this.#redial(peer, lane);
    };
    socket.on("data", onData);
    socket.once("close", onClose);
  }

  #redial(peer: Peer, lane: Lane): void {
    if (this.#peers.get(peer.address.id) !== peer || lane.line !== undefined) return;
    const waitMs = lane.redialMs * (0.5 + Math.random() / 2);
    lane.redialMs = Math.min(lane.redialMs * 2, this.#limits.redialMsMax);
    this.#dialLater(peer, lane, waitMs);
  }

  // --- accepting --------------------------------------------------------------------------------------------------

  #onAccepted(socket: net.Socket): void {
    socket.on("error", () => undefined);
    if (this.#isClosed || this.#greeting.size >= this.#limits.handshakesMax) {
      socket.destroy();
      return;
    }
    this.#greeting.add(socket);
    const decoder = new HelloDecoder();
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeMsMax);
    const onClose = (): void => {
      clearTimeout(timer);
      this.#greeting.delete(socket);
    };
    const onData = (chunk: Buffer): void => {
      let hello: Hello | undefined;
      try {
        const greeted = decoder.push(chunk);
        if (greeted === undefined) return;
        hello = greeted.hello;
        socket.off("data", onData);
        if (this.#isClosed) {
          socket.destroy();
          return;
        }
        this.#check(hello, hello.nodeId, hello.channel);
        if (hello.nodeId > this.#options.nodeId) {
          throw malformed(`${hello.nodeId} dialled, the lower id has to`);
        }
        const peer = this.#peers.get(hello.nodeId);
        if (peer === undefined) {
          throw new PeerProtocolError("unknown-node", `${hello.nodeId} is no node of this cluster`);
        }
        // A blocked peer hears nothing at all; the timer ends its try.
        if (peer.dropsIn || peer.dropsOut) return;
        socket.off("close", onClose);
        onClose();
        socket.write(encodeHello(this.#hello(peer, hello.channel)));
        const lane = hello.channel === "data" ? peer.data : peer.heartbeat;
        this.#lineUp(peer, lane, socket, hello.incarnation, greeted.rest);
      } catch (error) {
        if (!(error instanceof PeerProtocolError)) throw error;
        this.#refuse(socket, hello, error);
      }
    };
    socket.on("data", onData);
    socket.once("close", onClose);
  }

  /** Tells both sides' operators why there will be no link. */
  #refuse(socket: net.Socket, hello: Hello | undefined, error: PeerProtocolError): void {
    const id = hello?.nodeId ?? "";
    const peer = this.#peers.get(id);
    const lane = hello?.channel === "heartbeat" ? peer?.heartbeat : peer?.data;
    this.#logRefusal(lane, id, error, socket.remoteAddress);
    if (hello === undefined) {
      socket.destroy();
      return;
    }
    const answer: Hello = {
      ...this.#ownHello(hello.nodeId, hello.channel),
      refusal: { code: error.code, message: error.message },
    };
    socket.end(encodeHello(answer), () => socket.destroy());
  }

  #logRefusal(
    lane: Lane | undefined,
    peer: NodeId,
    error: PeerProtocolError,
    address?: string,
  ): void {
    const text = `${error.code}: ${error.message}`;
    if (lane !== undefined) {
      if (lane.refusal === text) return;
      lane.refusal = text;
    }
    this.#options.log("error", "peer connection refused", {
      peer,
      code: error.code,
      error: error.message,
      ...(address === undefined ? {} : { address }),
    });
  }

  #hello(peer: Peer, channel: Channel): Hello {
    return this.#ownHello(peer.address.id, channel);
  }

  #ownHello(expects: NodeId, channel: Channel): Hello {
    return {
      clusterId: this.#options.clusterId,
      nodeId: this.#options.nodeId,
      expects,
      incarnation: this.#options.incarnation,
      channel,
      wireMin: this.#wire.min,
      wireMax: this.#wire.max,
    };
  }

  /** @throws PeerProtocolError if the sender of this hello is not the peer meant, or means another than this node. */
  #check(hello: Hello, expected: NodeId, channel: Channel): void {
    if (hello.wireMax < this.#wire.min || hello.wireMin > this.#wire.max) {
      throw new PeerProtocolError(
        "version",
        `${hello.nodeId} speaks wire versions ${hello.wireMin}-${hello.wireMax}, ` +
          `${this.#options.nodeId} ${this.#wire.min}-${this.#wire.max}`,
      );
    }
    if (hello.clusterId !== this.#options.clusterId) {
      throw new PeerProtocolError(
        "wrong-cluster",
        `${hello.nodeId} is of cluster ${hello.clusterId}, ` +
          `${this.#options.nodeId} of ${this.#options.clusterId}`,
      );
    }
    if (hello.nodeId === this.#options.nodeId) {
      throw new PeerProtocolError("self", `${hello.nodeId} met its own name`);
    }
    if (hello.expects !== this.#options.nodeId) {
      throw new PeerProtocolError(
        "wrong-node",
        `${hello.nodeId} looks for ${hello.expects}, this is ${this.#options.nodeId}`,
      );
    }
    if (hello.nodeId !== expected || hello.channel !== channel) {
      throw new PeerProtocolError("wrong-node", `${hello.nodeId} answered in place of ${expected}`);
    }
  }

  // --- lines ------------------------------------------------------------------------------------------------------

  #lineUp(
    peer: Peer,
    lane: Lane,
    socket: net.Socket,
    incarnation: Incarnation,
    rest: Buffer,
  ): void {
    if (lane.line !== undefined) this.#lineDown(peer, lane, lane.line);
    clearTimeout(lane.redialTimer);
    lane.redialTimer = undefined;
    const line: Line = {
      socket,
      decoder: new FrameDecoder(this.#limits.frameBytesMax),
      sinceMs: performance.now(),
    };
    lane.line = line;
    lane.refusal = "";
    lane.encoder.reset(true);
    peer.heardAtMs = performance.now();
    socket.on("data", (chunk) => this.#onBytes(peer, lane, line, chunk));
    socket.once("close", () => this.#lineDown(peer, lane, line));
    this.#options.log("debug", "peer connection up", {
      peer: peer.address.id,
      channel: lane.channel,
      incarnation,
    });
    if (lane.channel === "data") this.#options.handler.connected(peer.address.id, incarnation);
    if (rest.length > 0) this.#onBytes(peer, lane, line, rest);
  }

  #onBytes(peer: Peer, lane: Lane, line: Line, chunk: Buffer): void {
    // A replaced connection, or a blocked peer.
    if (lane.line !== line || peer.dropsIn) return;
    peer.heardAtMs = performance.now();
    const { handler } = this.#options;
    const isHeartbeatLane = lane.channel === "heartbeat";
    if (!isHeartbeatLane) this.#beginTurn();
    try {
      line.decoder.push(chunk, (message) => {
        if ((message.kind === "heartbeat") !== isHeartbeatLane) {
          throw malformed(`a ${message.kind} on the ${lane.channel} link`);
        }
        handler.received(peer.address.id, message);
        return lane.line === line && !peer.dropsIn;
      });
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.#options.log("error", "peer connection closed: malformed input", {
        peer: peer.address.id,
        channel: lane.channel,
        code: error.code,
        error: error.message,
      });
      this.#lineDown(peer, lane, line);
    }
    if (!isHeartbeatLane && lane.line === line) this.#maybeRest(line.socket);
  }

  #beginTurn(): void {
    if (this.#turnBegunMs !== undefined) return;
    this.#turnBegunMs = performance.now();
    // After all sockets had their turn.
    setImmediate(() => {
      this.#turnBegunMs = undefined;
      for (const socket of this.#resting) socket.resume();
      this.#resting.clear();
    });
  }

  /** The system would hand out all that has come, megabytes of it, before it looks at the next connection. */
  #maybeRest(socket: net.Socket): void {
    if (performance.now() - (this.#turnBegunMs ?? 0) < TURN_MS_MAX) return;
    socket.pause();
    this.#resting.add(socket);
  }

  /** Ends a connection, however it came to that; only the first call for it has an effect. */
  #lineDown(peer: Peer, lane: Lane, line: Line): void {
    line.socket.destroy();
    if (lane.line !== line) return;
    lane.line = undefined;
    lane.encoder.reset(true);
    if (this.#isClosed) return;
    this.#options.log("debug", "peer connection down", {
      peer: peer.address.id,
      channel: lane.channel,
    });
    if (lane.channel === "data") this.#options.handler.disconnected(peer.address.id);
    // A connection that breaks as soon as it is up, as with a peer that talks nonsense, is no reason to hurry.
    if (performance.now() - line.sinceMs > STEADY_MS) lane.redialMs = this.#limits.redialMsMin;
    this.#redial(peer, lane);
  }

  #resetPeer(peer: Peer, why: string): void {
    this.#options.log("info", "peer connections reset", { peer: peer.address.id, why });
    for (const lane of [peer.data, peer.heartbeat]) {
      clearTimeout(lane.redialTimer);
      lane.redialTimer = undefined;
      lane.redialMs = this.#limits.redialMsMin;
      // Its close event dials anew.
      lane.dialling?.destroy();
      if (lane.line !== undefined) this.#lineDown(peer, lane, lane.line);
      else if (lane.dialling === undefined && this.#peers.get(peer.address.id) === peer) {
        this.#dialLater(peer, lane, 0);
      }
    }
  }

  #resetSilent(): void {
    if (this.#isClosed) return;
    const beforeMs = performance.now() - this.#limits.silentMsMax;
    for (const peer of this.#peers.values()) {
      const isUp = peer.data.line !== undefined || peer.heartbeat.line !== undefined;
      // A block must look like silence, not like a reset.
      if (!isUp || peer.dropsIn || peer.dropsOut || peer.heardAtMs > beforeMs) continue;
      this.#resetPeer(peer, "silent");
    }
  }
}
