/**
 * The network between the nodes of a cluster. Each pair of nodes keeps a TCP connection for data; the node with the lower id
 * dials, and dials again when it breaks. Heartbeats are datagrams from and to the same port numbers, or have a second
 * connection, so that bulk data never delays them. A data link is FIFO from `connected` to `disconnected`: bytes are never
 * lost in between, and what is left of a replaced connection is never read. It must never queue without a bound, never
 * read the core's mind (it knows no message but by channel), and never throw at what a peer or a stranger sends.
 */

import * as net from "node:net";
import type { Incarnation, NodeId } from "../replica/configuration.ts";
import type { Message } from "../replica/messages.ts";
import { readInto } from "../sockets/accepted-socket.ts";
import { ReadBuffer } from "../sockets/read-buffer.ts";
import {
  FRAME_BYTES_MAX,
  type MessageDecoder,
  type MessageEncoder,
  WIRE_CODEC,
  type WireCodec,
} from "./codec.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import { type Channel, type Greeted, Handshake, type Hello, type Identity } from "./handshake.ts";
import { decodeDatagram, encodeDatagrams, HeartbeatAssembler } from "./heartbeat-datagram.ts";
import { HeartbeatSocket } from "./heartbeat-socket.ts";
import { RefusalLog } from "./refusal-log.ts";
import type { ClusterSecret } from "./secret.ts";

export interface PeerAddress {
  readonly id: NodeId;
  readonly host: string;
  /** Of its peer links: TCP, and UDP for heartbeats. */
  readonly port: number;
  /** The longest time between two of its heartbeats, ms, where that may be more than the limits below are made for. */
  readonly beatMs?: number;
}

/** Called synchronously, as things happen. For one peer: connected, received …, disconnected, connected … */
export interface LinkHandler {
  /** The data link is up. */
  connected(peer: NodeId, incarnation: Incarnation): void;
  disconnected(peer: NodeId): void;
  received(from: NodeId, message: Message): void;
  /** All that is `received` until `endBurst` was there before this call, so that one reading of the clock does for it. */
  beginBurst(): void;
  endBurst(): void;
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
  /** Connections of a peer of which nothing was heard for so long, no heartbeat either, are reset: TCP alone may take minutes. */
  readonly silentMsMax: number;
  /** A peer of which nothing was heard for so long gets new connections when its datagrams come again, ms. */
  readonly backMs: number;
  /** A peer that was heard within this time is alive: another process of its name is a duplicate and is refused. */
  readonly aliveMs: number;
  /** Connections that may be in their handshake at once; one more ends the oldest. */
  readonly handshakesMax: number;
}

export const LINK_LIMITS: LinkLimits = {
  queuedBytesMax: 256 * 1024 * 1024,
  frameBytesMax: FRAME_BYTES_MAX,
  handshakeMsMax: 1000,
  redialMsMin: 20,
  redialMsMax: 200,
  silentMsMax: 2000,
  backMs: 300,
  aliveMs: 500,
  handshakesMax: 64,
};

/** Heartbeats in a row that may be lost before a peer counts as silent, as having been away. */
const BEATS_SILENT = 4;
const BEATS_AWAY = 3;
/** Time of one turn of the event loop in which data is read, ms: heartbeats come by the same loop and must not wait behind it. */
const TURN_MS_MAX = 10;
/** What is still to be sent at the end gets this long, ms. */
const CLOSE_MS_MAX = 500;
/** A connection that lived this long was a good one: the next is dialled without delay, ms. */
const STEADY_MS = 1000;
/** Clocks that differ by more are worth a word to the operator, ms. */
const CLOCKS_MS_MAX = 5000;
/** After this time on an idle connection the system looks whether its other end is still there, ms. */
const KEEP_ALIVE_MS = 1000;
/** Memory that what several reads brought shares: some turns' worth under load. */
const PAGE_BYTES = 512 * 1024;
/** Tries to find a port that is free for TCP and UDP, where the system chooses. */
const PORT_TRIES = 10;
/** What this release can do beyond its wire version. */
const FEATURES: readonly string[] = [];

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
  /** What heartbeats go over; the same at all nodes. */
  readonly heartbeatChannel: "udp" | "tcp";
  /** Known to all nodes of the cluster; without it, whoever can reach the port can be a peer. */
  readonly secret?: ClusterSecret;
  readonly limits?: Partial<LinkLimits>;
  /** The bytes of messages; tests put another release's in its place. */
  readonly codec?: WireCodec;
  /** Names of what this side can do beyond its wire version; tests set them. */
  readonly features?: readonly string[];
  /** The wall clock, ms since 1970; tests set it. */
  readonly wallMs?: () => number;
}

export interface LinkStatus {
  readonly node: NodeId;
  readonly data: boolean;
  /** Its connection is up; over UDP: a heartbeat has come lately. */
  readonly heartbeat: boolean;
  /** Wire version and features that both sides have; 0 and none before the first link. */
  readonly wireVersion: number;
  readonly features: readonly string[];
  /** Unsent bytes of the data link. */
  readonly queuedBytes: number;
  /** Bytes of frames and datagrams that were given to the system for this peer. */
  readonly sentBytes: number;
}

/** A connection, and who takes what it brings: its handshake, then its line. */
interface Wire {
  readonly socket: net.Socket;
  /** Takes the bytes from `start` to before `end` of a buffer that nobody writes to there any more. */
  take: (bytes: Buffer, start: number, end: number) => void;
}

/** One direction-less connection of a peer, up. */
interface Line {
  readonly socket: net.Socket;
  readonly encoder: MessageEncoder;
  readonly decoder: MessageDecoder;
  /** `performance.now()` of its beginning. */
  readonly sinceMs: number;
}

/** One channel to one peer: down (perhaps with a redial under way) or up. */
interface Lane {
  readonly channel: Channel;
  sentBytes: number;
  line: Line | undefined;
  /** A connection that is being dialled or greets. */
  dialling: net.Socket | undefined;
  redialTimer: NodeJS.Timeout | undefined;
  redialMs: number;
}

/** A run of a peer's process, as its last data link told. */
interface Run {
  readonly incarnation: Incarnation;
  readonly version: number;
  readonly features: readonly string[];
  /** Where its connection came from or went to. */
  readonly remote: string | undefined;
  /** Of its datagrams; kept over connections, so that none counts twice. */
  readonly heartbeats: HeartbeatAssembler;
}

interface Peer {
  address: PeerAddress;
  readonly data: Lane;
  /** Undefined where heartbeats are datagrams. */
  readonly heartbeat: Lane | undefined;
  run: Run | undefined;
  /** Bytes of datagrams. */
  sentBytes: number;
  /** `performance.now()` of the last sign of life. */
  heardAtMs: number;
  /** `performance.now()` of the last datagram. */
  beatAtMs: number;
  /** Told already that its datagrams do not come, that its clock differs. */
  isToldMissing: boolean;
  isToldClock: boolean;
  dropsIn: boolean;
  dropsOut: boolean;
}

export class Links {
  readonly #options: LinksOptions;
  readonly #limits: LinkLimits;
  readonly #codec: WireCodec;
  readonly #identity: Identity;
  readonly #peers = new Map<NodeId, Peer>();
  /** Accepted connections that have not said who they are, the oldest first. */
  readonly #greeting = new Set<net.Socket>();
  readonly #refusals = new RefusalLog();
  readonly #reads = new ReadBuffer(PAGE_BYTES);
  readonly #server: net.Server;
  #datagrams: HeartbeatSocket | undefined;
  /** Of the last datagram, to whomever. */
  #datagramNumber = 0;
  /** By wire version. */
  readonly #beatEncoders = new Map<number, MessageEncoder>();
  readonly #silenceTimer: NodeJS.Timeout;
  /** When the first data of this turn was read; undefined before it was. */
  #turnBegunMs: number | undefined;
  /** Data connections that are not read until the next turn. */
  readonly #resting = new Set<net.Socket>();
  /** All ports are there and the peers are known: before, who dials is told nothing and tries again. */
  #isOpen = false;
  #isClosed = false;

  constructor(options: LinksOptions) {
    this.#options = options;
    this.#limits = { ...LINK_LIMITS, ...options.limits };
    this.#codec = options.codec ?? WIRE_CODEC;
    this.#identity = {
      clusterId: options.clusterId,
      nodeId: options.nodeId,
      incarnation: options.incarnation,
      versions: this.#codec.versions,
      features: options.features ?? FEATURES,
      ...(options.secret === undefined ? {} : { secret: options.secret }),
    };
    this.#server = net.createServer(
      {
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
        pauseOnConnect: true,
      },
      (socket) => this.#onAccepted(this.#wireOf(socket)),
    );
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
    for (let attempt = 1; ; attempt++) {
      const address = await this.#listenTcp();
      try {
        await this.#listenUdp(address);
        this.#isOpen = true;
        this.setPeers(this.#options.peers);
        return address.port;
      } catch (error) {
        await new Promise((resolve) => this.#server.close(resolve));
        if (this.#options.port !== 0 || attempt === PORT_TRIES) throw error;
      }
    }
  }

  /** Makes the peers these, whatever they were; this node itself is left out. */
  setPeers(addresses: readonly PeerAddress[]): void {
    if (this.#isClosed) return;
    const wanted = new Set(addresses.map((address) => address.id));
    for (const [id, peer] of this.#peers) {
      if (wanted.has(id)) continue;
      this.#peers.delete(id);
      this.#refusals.forget(id);
      this.#resetPeer(peer, "no longer a node of the cluster");
    }
    for (const address of addresses) {
      if (address.id === this.#options.nodeId) continue;
      const known = this.#peers.get(address.id);
      if (known === undefined) {
        const peer: Peer = {
          address,
          data: this.#createLane("data"),
          heartbeat:
            this.#options.heartbeatChannel === "tcp" ? this.#createLane("heartbeat") : undefined,
          run: undefined,
          sentBytes: 0,
          heardAtMs: performance.now(),
          beatAtMs: Number.NEGATIVE_INFINITY,
          isToldMissing: false,
          isToldClock: false,
          dropsIn: false,
          dropsOut: false,
        };
        this.#peers.set(address.id, peer);
        for (const lane of lanesOf(peer)) this.#dialLater(peer, lane, 0);
      } else {
        const { host, port } = known.address;
        known.address = address;
        if (host !== address.host || port !== address.port) {
          this.#resetPeer(known, "its address changed");
        }
      }
    }
  }

  /**
   * Queues a message for the next `flush`; a datagram goes at once. Without a link it is lost; a heartbeat is also lost while
   * its connection is backed up, because a late heartbeat is worth nothing.
   */
  send(to: NodeId, message: Message): void {
    const peer = this.#peers.get(to);
    if (peer === undefined || peer.dropsOut) return;
    const lane = message.kind === "heartbeat" ? peer.heartbeat : peer.data;
    if (lane === undefined) {
      this.#sendDatagrams(peer, message);
      return;
    }
    const { line } = lane;
    if (line === undefined) return;
    const queued = line.encoder.length + line.socket.writableLength;
    if (message.kind === "heartbeat") {
      if (line.socket.writableLength > 0) return;
    } else if (queued > this.#limits.queuedBytesMax) {
      this.#options.log("warn", "peer link reset: it takes no more", { peer: to, queued });
      this.#lineDown(peer, lane, line);
      return;
    }
    try {
      line.encoder.append(message);
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.#options.log("error", "peer link reset: a message cannot be sent", {
        peer: to,
        code: error.code,
        error: error.message,
      });
      this.#lineDown(peer, lane, line);
    }
  }

  /** Writes what was queued: one write per connection. */
  flush(): void {
    for (const peer of this.#peers.values()) {
      this.#flushLane(peer, peer.data);
      if (peer.heartbeat !== undefined) this.#flushLane(peer, peer.heartbeat);
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
        for (const lane of lanesOf(peer)) this.#flushLane(peer, lane, true);
      }
    }
    // Those who tried during the block shall try anew now.
    for (const socket of this.#greeting) socket.destroy();
  }

  status(): readonly LinkStatus[] {
    const nowMs = performance.now();
    return [...this.#peers].map(([node, peer]) => {
      const { line } = peer.data;
      const heardAfterMs = nowMs - this.#silentMs(peer);
      return {
        node,
        data: line !== undefined,
        heartbeat:
          peer.heartbeat === undefined
            ? peer.beatAtMs > heardAfterMs
            : peer.heartbeat.line !== undefined,
        wireVersion: peer.run?.version ?? 0,
        features: peer.run?.features ?? [],
        queuedBytes: line === undefined ? 0 : line.encoder.length + line.socket.writableLength,
        sentBytes: lanesOf(peer).reduce((sum, lane) => sum + lane.sentBytes, peer.sentBytes),
      };
    });
  }

  /** Sends what is queued as far as the system takes it, closes everything and calls the handler no more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    clearInterval(this.#silenceTimer);
    this.#datagrams?.close();
    const sockets: net.Socket[] = [];
    for (const peer of this.#peers.values()) {
      for (const lane of lanesOf(peer)) {
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

  async #listenTcp(): Promise<net.AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.removeAllListeners("error");
      this.#server.once("error", reject);
      this.#server.listen({ host: this.#options.host, port: this.#options.port }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) =>
          this.#options.log("error", "peer listener failed", { error: error.message }),
        );
        resolve();
      });
    });
    return this.#server.address() as net.AddressInfo;
  }

  async #listenUdp({ address, port }: net.AddressInfo): Promise<void> {
    if (this.#options.heartbeatChannel !== "udp") return;
    const socket = new HeartbeatSocket({
      address,
      port,
      received: (bytes) => this.#onDatagram(bytes),
      failed: (error) =>
        this.#options.log("error", "heartbeat socket failed", { error: error.message }),
    });
    try {
      await socket.listen();
    } catch (error) {
      socket.close();
      throw error;
    }
    if (this.#isClosed) socket.close();
    else this.#datagrams = socket;
  }

  #createLane(channel: Channel): Lane {
    return {
      channel,
      sentBytes: 0,
      line: undefined,
      dialling: undefined,
      redialTimer: undefined,
      redialMs: this.#limits.redialMsMin,
    };
  }

  #flushLane(peer: Peer, lane: Lane, ignoresBlock = false): void {
    const { line } = lane;
    if (line === undefined || line.encoder.length === 0) return;
    if (peer.dropsOut && !ignoresBlock) {
      line.encoder.reset(true);
      return;
    }
    lane.sentBytes += line.encoder.length;
    line.socket.write(line.encoder.bytes());
    // If the kernel took all at once, nobody holds the buffer any more.
    line.encoder.reset(line.socket.writableLength === 0);
  }

  // --- datagrams --------------------------------------------------------------------------------------------------

  #sendDatagrams(peer: Peer, message: Message): void {
    const { run, address } = peer;
    if (message.kind !== "heartbeat" || run === undefined) return;
    // The address of the configuration is the one that the peer listens on; of a name, the connection knows the number.
    const host = net.isIP(address.host) === 0 ? run.remote : address.host;
    if (host === undefined || this.#datagrams === undefined) return;
    const encoder = this.#beatEncoder(run.version);
    encoder.reset(true);
    encoder.append(message);
    const { nodeId, incarnation, secret } = this.#options;
    const datagrams = encodeDatagrams(
      {
        from: nodeId,
        fromIncarnation: incarnation,
        toIncarnation: run.incarnation,
        version: run.version,
      },
      this.#datagramNumber + 1,
      encoder.bytes(),
      secret,
    );
    this.#datagramNumber += datagrams.length;
    for (const datagram of datagrams) peer.sentBytes += datagram.length;
    this.#datagrams.send(host, address.port, datagrams);
  }

  #beatEncoder(version: number): MessageEncoder {
    let encoder = this.#beatEncoders.get(version);
    if (encoder === undefined) {
      encoder = this.#codec.createEncoder(version, this.#limits.frameBytesMax);
      this.#beatEncoders.set(version, encoder);
    }
    return encoder;
  }

  /** The cheap looks come first: a stranger's datagram costs no HMAC, because it does not know the incarnations. */
  #onDatagram(bytes: Buffer): void {
    if (this.#isClosed) return;
    const datagram = decodeDatagram(bytes);
    if (datagram === undefined) return;
    const { from, fromIncarnation, toIncarnation, version, signed } = datagram;
    const peer = this.#peers.get(from);
    const run = peer?.run;
    if (peer === undefined || run === undefined || peer.dropsIn) return;
    if (fromIncarnation !== run.incarnation || version !== run.version) return;
    if (toIncarnation !== this.#options.incarnation) return;
    const { secret } = this.#options;
    if (secret === undefined ? signed !== undefined : signed === undefined) return;
    if (secret !== undefined && signed !== undefined && !secret.isTag(signed.bytes, signed.tag)) {
      return;
    }
    const frame = run.heartbeats.take(datagram);
    // A part is a sign of life of the process, if not yet of its shards.
    this.#noteBack(peer);
    peer.heardAtMs = performance.now();
    peer.beatAtMs = peer.heardAtMs;
    peer.isToldMissing = false;
    if (frame !== undefined) this.#onBeatFrame(peer, run, frame);
  }

  #onBeatFrame(peer: Peer, run: Run, frame: Buffer): void {
    try {
      const decoder = this.#codec.createDecoder(run.version, frame.length);
      decoder.push(frame, 0, frame.length, (message) => {
        if (message.kind !== "heartbeat") throw malformed(`a ${message.kind} in a datagram`);
        this.#options.handler.received(peer.address.id, message);
        return false;
      });
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.#logRefusal(peer.address.id, error, undefined);
    }
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
    const { id, host, port } = peer.address;
    const wire = this.#connect(host, port);
    const { socket } = wire;
    lane.dialling = socket;
    let handshake: Handshake | undefined;
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeMsMax);
    socket.once("connect", () => {
      handshake = this.#handshake({ dials: { node: id, channel: lane.channel } });
      socket.write(handshake.begin());
    });
    // The close event follows every error; only it decides.
    socket.on("error", () => undefined);
    wire.take = (bytes, start, end): void => {
      if (lane.dialling !== socket || peer.dropsIn || handshake === undefined) return;
      try {
        const { send, done } = handshake.push(bytes.subarray(start, end));
        for (const word of send) socket.write(word);
        if (done === undefined) return;
        clearTimeout(timer);
        socket.off("close", onClose);
        lane.dialling = undefined;
        this.#lineUp(peer, lane, wire, done);
      } catch (error) {
        if (!(error instanceof PeerProtocolError)) throw error;
        this.#refuse(socket, handshake, error, id);
      }
    };
    const onClose = (): void => {
      clearTimeout(timer);
      if (lane.dialling === socket) lane.dialling = undefined;
      this.#redial(peer, lane);
    };
    socket.once("close", onClose);
  }

  /** A connection that is being made. */
  #connect(host: string, port: number): Wire {
    const socket = net.connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: this.#reads.target,
        callback: (count) => {
          this.#keep(wire, count);
          return true;
        },
      },
    });
    const wire: Wire = { socket, take: nobody };
    return wire;
  }

  /** An accepted connection. */
  #wireOf(accepted: net.Socket): Wire {
    const socket = readInto(accepted, this.#reads.target, (count) => this.#keep(wire, count));
    const wire: Wire = { socket: socket ?? accepted, take: nobody };
    if (socket === undefined) {
      accepted.on("data", (chunk: Buffer) => wire.take(chunk, 0, chunk.length));
    }
    // It ends, and is closed, only if it is read.
    wire.socket.resume();
    return wire;
  }

  #keep(wire: Wire, count: number): void {
    const reads = this.#reads;
    reads.keep(count);
    wire.take(reads.page, reads.start, reads.end);
  }

  #redial(peer: Peer, lane: Lane): void {
    if (this.#peers.get(peer.address.id) !== peer || lane.line !== undefined) return;
    const waitMs = lane.redialMs * (0.5 + Math.random() / 2);
    lane.redialMs = Math.min(lane.redialMs * 2, this.#limits.redialMsMax);
    this.#dialLater(peer, lane, waitMs);
  }

  // --- accepting --------------------------------------------------------------------------------------------------

  #onAccepted(wire: Wire): void {
    const { socket } = wire;
    socket.on("error", () => undefined);
    if (this.#isClosed || !this.#isOpen) {
      socket.destroy();
      return;
    }
    // Who greets at once gets through a crowd of those who never do.
    const [oldest] = this.#greeting;
    if (this.#greeting.size >= this.#limits.handshakesMax) {
      if (oldest !== undefined) this.#greeting.delete(oldest);
      oldest?.destroy();
    }
    this.#greeting.add(socket);
    const handshake = this.#handshake({ admit: (hello) => this.#admit(hello) });
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeMsMax);
    const onClose = (): void => {
      clearTimeout(timer);
      this.#greeting.delete(socket);
    };
    wire.take = (bytes, start, end): void => {
      if (!this.#greeting.has(socket)) return;
      try {
        const { send, done } = handshake.push(bytes.subarray(start, end));
        for (const word of send) socket.write(word);
        if (done === undefined) return;
        // Much may have happened since its first word.
        const peer = this.#admit(done.hello) ? this.#peers.get(done.hello.nodeId) : undefined;
        const lane = done.hello.channel === "data" ? peer?.data : peer?.heartbeat;
        if (peer === undefined || lane === undefined) {
          socket.destroy();
          return;
        }
        socket.off("close", onClose);
        onClose();
        this.#lineUp(peer, lane, wire, done);
      } catch (error) {
        if (!(error instanceof PeerProtocolError)) throw error;
        this.#refuse(socket, handshake, error, handshake.peer?.nodeId);
      }
    };
    socket.once("close", onClose);
  }

  /**
   * @returns false for a peer that a test has blocked: it hears nothing at all, and a timer ends its try.
   * @throws PeerProtocolError if there shall be no link with this peer.
   */
  #admit({ nodeId, incarnation, channel }: Hello): boolean {
    const own = this.#options.nodeId;
    if (nodeId > own) throw malformed(`${nodeId} dialled ${own}, the lower id has to`);
    const peer = this.#peers.get(nodeId);
    if (peer === undefined) {
      throw new PeerProtocolError(
        "unknown-node",
        `${nodeId} is no node of cluster ${this.#options.clusterId} as ${own} knows it; ` +
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
      peer.data.line !== undefined && performance.now() - peer.heardAtMs < this.#aliveMs(peer);
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

  #handshake(
    side:
      | { readonly dials: { readonly node: NodeId; readonly channel: Channel } }
      | { readonly admit: (hello: Hello) => boolean },
  ): Handshake {
    return new Handshake({
      role: "dials" in side ? "dialler" : "acceptor",
      identity: this.#identity,
      wallMs: this.#wallMs(),
      ...side,
    });
  }

  /** Tells both sides' operators why there will be no link. @param who the other side, as far as it is known. */
  #refuse(
    socket: net.Socket,
    handshake: Handshake,
    error: PeerProtocolError,
    who: NodeId | undefined,
  ): void {
    this.#logRefusal(who, error, socket);
    const answer = handshake.refuse(error);
    if (answer === undefined) socket.destroy();
    else socket.end(answer, () => socket.destroy());
  }

  #logRefusal(
    who: NodeId | undefined,
    error: PeerProtocolError,
    socket: net.Socket | undefined,
  ): void {
    const peer = who !== undefined && this.#peers.has(who) ? who : undefined;
    if (!this.#refusals.isNews(peer, error, performance.now())) return;
    this.#options.log("error", `peer connection refused: ${error.message}`, {
      ...(who === undefined ? {} : { peer: who }),
      code: error.code,
      ...(socket?.remoteAddress === undefined
        ? {}
        : { address: `${socket.remoteAddress} port ${socket.remotePort}` }),
    });
  }

  #wallMs(): number {
    return (this.#options.wallMs ?? Date.now)();
  }

  /** Nothing relies on clocks that agree (R11), but expiry times are read off one clock and then off another. */
  #compareClocks(peer: Peer, hello: Hello): void {
    const ownMs = this.#wallMs();
    const differenceMs = hello.wallMs - ownMs;
    if (Math.abs(differenceMs) <= CLOCKS_MS_MAX) {
      peer.isToldClock = false;
      return;
    }
    if (peer.isToldClock) return;
    peer.isToldClock = true;
    const seconds = Math.round(Math.abs(differenceMs) / 1000);
    const which = differenceMs > 0 ? "ahead of" : "behind";
    const { nodeId } = this.#options;
    this.#options.log(
      "warn",
      `the clock of ${hello.nodeId} is ${seconds} s ${which} that of ${nodeId}; ` +
        "keys with a time to live end by the clock of whichever is their primary: let NTP set both",
      {
        peer: hello.nodeId,
        [`${hello.nodeId} says`]: timeText(hello.wallMs),
        [`${nodeId} says`]: timeText(ownMs),
      },
    );
  }

  // --- lines ------------------------------------------------------------------------------------------------------

  #lineUp(peer: Peer, lane: Lane, wire: Wire, { hello, version, features, rest }: Greeted): void {
    const { socket } = wire;
    if (lane.line !== undefined) this.#lineDown(peer, lane, lane.line);
    clearTimeout(lane.redialTimer);
    lane.redialTimer = undefined;
    const { incarnation } = hello;
    const { frameBytesMax } = this.#limits;
    const line: Line = {
      socket,
      encoder: this.#codec.createEncoder(version, frameBytesMax),
      decoder: this.#codec.createDecoder(version, frameBytesMax),
      sinceMs: performance.now(),
    };
    lane.line = line;
    peer.heardAtMs = performance.now();
    if (lane.channel === "data") {
      this.#refusals.forget(peer.address.id);
      this.#compareClocks(peer, hello);
      const isSameRun = peer.run?.incarnation === incarnation;
      peer.run = {
        incarnation,
        version,
        features,
        remote: socket.remoteAddress,
        heartbeats: (isSameRun ? peer.run?.heartbeats : undefined) ?? new HeartbeatAssembler(),
      };
    }
    wire.take = (bytes, start, end) => this.#onBytes(peer, lane, line, bytes, start, end);
    socket.once("close", () => this.#lineDown(peer, lane, line));
    this.#options.log("debug", "peer connection up", {
      peer: peer.address.id,
      channel: lane.channel,
      incarnation,
      version,
    });
    if (lane.channel === "data") this.#options.handler.connected(peer.address.id, incarnation);
    if (rest.length > 0) this.#onBytes(peer, lane, line, rest, 0, rest.length);
  }

  #onBytes(peer: Peer, lane: Lane, line: Line, bytes: Buffer, start: number, end: number): void {
    // A replaced connection, or a blocked peer.
    if (lane.line !== line || peer.dropsIn) return;
    peer.heardAtMs = performance.now();
    const { handler } = this.#options;
    const isHeartbeatLane = lane.channel === "heartbeat";
    if (!isHeartbeatLane) this.#beginTurn();
    handler.beginBurst();
    try {
      line.decoder.push(bytes, start, end, (message) => {
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
    } finally {
      handler.endBurst();
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
    for (const lane of lanesOf(peer)) {
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

  /** A peer that was heard within this time is alive, ms; but one that is silent for longer than usual can have been replaced. */
  #aliveMs({ address }: Peer): number {
    const { aliveMs, silentMsMax } = this.#limits;
    return Math.max(aliveMs, Math.min(BEATS_AWAY * (address.beatMs ?? 0), silentMsMax));
  }

  /** After so long without a sign of life a peer is silent, ms. */
  #silentMs({ address }: Peer): number {
    return Math.max(this.#limits.silentMsMax, BEATS_SILENT * (address.beatMs ?? 0));
  }

  #resetSilent(): void {
    if (this.#isClosed) return;
    const nowMs = performance.now();
    for (const peer of this.#peers.values()) {
      const beforeMs = nowMs - this.#silentMs(peer);
      // A block must look like silence, not like a reset.
      if (peer.dropsIn || peer.dropsOut) continue;
      this.#noteMissingBeats(peer, beforeMs);
      const isUp = lanesOf(peer).some((lane) => lane.line !== undefined);
      if (isUp && peer.heardAtMs <= beforeMs) this.#resetPeer(peer, "silent");
    }
  }

  /**
   * A peer that was away and is heard again, by datagrams: what TCP has not got through meanwhile it tries again only after
   * waits that have grown, so a new connection is faster.
   */
  #noteBack(peer: Peer): void {
    const awayMs = performance.now() - Math.max(peer.heardAtMs, peer.data.line?.sinceMs ?? 0);
    const backMs = Math.max(this.#limits.backMs, BEATS_AWAY * (peer.address.beatMs ?? 0));
    if (peer.data.line !== undefined && awayMs >= backMs) {
      this.#resetPeer(peer, "it was away");
    }
  }

  /** A firewall that lets TCP through and UDP not would otherwise look like a peer that dies again and again. */
  #noteMissingBeats(peer: Peer, beforeMs: number): void {
    const { line } = peer.data;
    if (peer.heartbeat !== undefined || line === undefined || peer.isToldMissing) return;
    if (line.sinceMs > beforeMs || peer.beatAtMs > beforeMs) return;
    // A peer that is silent altogether, after heartbeats came, is another matter.
    if (peer.beatAtMs >= line.sinceMs && peer.heardAtMs <= beforeMs) return;
    peer.isToldMissing = true;
    const { id, host, port } = peer.address;
    this.#options.log(
      "error",
      `${id} is connected, but none of its heartbeats comes: let UDP through between ${host} ` +
        `port ${port} and this node, or form the cluster with --heartbeat-channel tcp`,
      { peer: id },
    );
  }
}

/** What takes the bytes of a connection that has nobody yet. */
function nobody(): void {}

function lanesOf(peer: Peer): readonly Lane[] {
  return peer.heartbeat === undefined ? [peer.data] : [peer.data, peer.heartbeat];
}

/** @param wallMs whatever a peer said. */
function timeText(wallMs: number): string {
  const date = new Date(wallMs);
  return Number.isNaN(date.getTime()) ? String(wallMs) : date.toISOString();
}
