/**
 * The network between the nodes of a cluster. Each pair of nodes keeps a TCP connection for data; the node with the lower id
 * dials, and dials again when it breaks. Heartbeats are datagrams from and to the same port numbers, or have a second
 * connection, so that bulk data never delays them. A data link is FIFO from `connected` to `disconnected`: bytes are never
 * lost in between, and what is left of a replaced connection is never read. It must never queue without a bound, never
 * read the core's mind (it knows no message but by channel), and never throw at what a peer or a stranger sends.
 *
 * This file knows who the peers are, sends to them, and gives up connections that have gone silent. The others do the rest:
 *
 *     Dialler, Acceptor ── greet ──▶ Lines ──▶ handler        connections, from the first word to the last
 *     Heartbeats ──────────────────▶ handler                  datagrams
 */

import type { Socket } from "node:net";
import type { NodeId } from "../replica/configuration.ts";
import type { Message } from "../replica/messages.ts";
import { Acceptor } from "./acceptor.ts";
import { WIRE_CODEC } from "./codec.ts";
import { compareClocks } from "./compare-clocks.ts";
import { Dialler } from "./dialler.ts";
import { PeerProtocolError } from "./errors.ts";
import type { Greeted, Identity } from "./handshake.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Lines } from "./lines.ts";
import {
  type BlockDirection,
  LINK_LIMITS,
  type LinkLimits,
  type LinkStatus,
  type LinksOptions,
  type PeerAddress,
} from "./link-options.ts";
import { createPeer, type Lane, lanesOf, type Peer, silentMs } from "./peer.ts";
import { RefusalLog } from "./refusal-log.ts";
import { type Wire, Wires } from "./wires.ts";

export {
  type BlockDirection,
  LINK_LIMITS,
  type LinkHandler,
  type LinkLimits,
  type LinkLog,
  type LinkStatus,
  type LinksOptions,
  type PeerAddress,
} from "./link-options.ts";

/** What is still to be sent at the end gets this long, ms. */
const CLOSE_MS_MAX = 500;
/** Tries to find a port that is free for TCP and UDP, where the system chooses. */
const PORT_TRIES = 10;
/** What this release can do beyond its wire version. */
const FEATURES: readonly string[] = [];

/** The links of one node to its peers. */
export class Links {
  readonly #options: LinksOptions;
  readonly #limits: LinkLimits;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #refusals = new RefusalLog();
  readonly #wallMs: () => number;
  readonly #lines: Lines;
  readonly #dialler: Dialler;
  readonly #acceptor: Acceptor;
  /** Undefined where heartbeats have connections. */
  readonly #heartbeats: Heartbeats | undefined;
  readonly #silenceTimer: NodeJS.Timeout;
  #isClosed = false;

  constructor(options: LinksOptions) {
    const { clusterId, nodeId, incarnation, host, port, handler, log, secret } = options;
    const limits = { ...LINK_LIMITS, ...options.limits };
    const codec = options.codec ?? WIRE_CODEC;
    const wallMs = options.wallMs ?? Date.now;
    const identity: Identity = {
      clusterId,
      nodeId,
      incarnation,
      versions: codec.versions,
      features: options.features ?? FEATURES,
      ...(secret === undefined ? {} : { secret }),
    };
    const peers = this.#peers;
    const wires = new Wires();
    this.#options = options;
    this.#limits = limits;
    this.#wallMs = wallMs;
    this.#lines = new Lines({
      limits,
      codec,
      wires,
      handler,
      log,
      ended: (lane, isSteady) => this.#dialler.dialAgain(lane, isSteady),
    });
    this.#dialler = new Dialler({
      identity,
      limits,
      wires,
      wallMs,
      linked: (peer, lane, wire, greeted) => this.#onLinked(peer, lane, wire, greeted),
      refused: (peer, error, socket) => this.#onRefused(peer.address.id, error, socket),
    });
    this.#acceptor = new Acceptor({
      host,
      port,
      identity,
      limits,
      peers,
      wires,
      log,
      wallMs,
      linked: (peer, lane, wire, greeted) => this.#onLinked(peer, lane, wire, greeted),
      refused: (who, error, socket) => this.#onRefused(who, error, socket),
    });
    if (options.heartbeatChannel === "udp") {
      this.#heartbeats = new Heartbeats({
        identity,
        limits,
        codec,
        peers,
        log,
        received: (from, heartbeat) => handler.received(from, heartbeat),
        // What TCP has not got through meanwhile it tries again only after waits that have grown: a new connection is faster.
        returned: (peer) => this.#resetPeer(peer, "it was away"),
        refused: (peer, error) => this.#onRefused(peer.address.id, error, undefined),
      });
    }
    this.#silenceTimer = setInterval(() => {
      // After this turn's reading: a stalled process must not take its own silence for its peers'.
      setImmediate(() => this.#resetSilent());
    }, limits.silentMsMax / 4);
    this.#silenceTimer.unref();
  }

  /**
   * Listens, and dials the peers.
   * @returns the port.
   * @throws the system's error, such as `EADDRINUSE`.
   */
  async listen(): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const address = await this.#acceptor.listen();
      try {
        await this.#heartbeats?.listen(address);
        this.#acceptor.open();
        this.setPeers(this.#options.peers);
        return address.port;
      } catch (error) {
        await this.#acceptor.unlisten();
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
      for (const lane of lanesOf(peer)) this.#dialler.end(lane);
      this.#resetPeer(peer, "no longer a node of the cluster");
    }
    for (const address of addresses) {
      if (address.id === this.#options.nodeId) continue;
      const known = this.#peers.get(address.id);
      if (known === undefined) {
        const peer = createPeer(address, this.#options.heartbeatChannel);
        this.#peers.set(address.id, peer);
        for (const lane of lanesOf(peer)) this.#dialler.begin(peer, lane);
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
      if (message.kind === "heartbeat") this.#heartbeats?.send(peer, message);
      return;
    }
    const { line } = lane;
    if (line === undefined) return;
    const queued = line.encoder.length + line.socket.writableLength;
    if (message.kind === "heartbeat") {
      if (line.socket.writableLength > 0) return;
    } else if (queued > this.#limits.queuedBytesMax) {
      this.#options.log("warn", "peer link reset: it takes no more", { peer: to, queued });
      this.#lines.down(peer, lane, line);
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
      this.#lines.down(peer, lane, line);
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
    this.#acceptor.resetHandshakes();
  }

  /** @returns how the links are at this moment, one entry for each peer. */
  status(): readonly LinkStatus[] {
    const nowMs = performance.now();
    return [...this.#peers].map(([node, peer]) => {
      const { line } = peer.data;
      const heardAfterMs = nowMs - silentMs(peer, this.#limits);
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
    this.#heartbeats?.close();
    const sockets: Socket[] = [];
    for (const peer of this.#peers.values()) {
      for (const lane of lanesOf(peer)) {
        this.#dialler.end(lane);
        if (lane.line === undefined) continue;
        sockets.push(lane.line.socket);
        // Whatever the connection still brings, and its end, is nobody's any more.
        lane.line = undefined;
      }
    }
    this.#peers.clear();
    for (const socket of sockets) socket.destroySoon();
    // A peer that reads nothing must not keep this node from its end.
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, CLOSE_MS_MAX);
    await this.#acceptor.close();
    for (const socket of sockets) socket.destroy();
    clearTimeout(timer);
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

  #onLinked(peer: Peer, lane: Lane, wire: Wire, greeted: Greeted): void {
    if (lane.channel === "data") {
      const { nodeId, log } = this.#options;
      this.#refusals.forget(peer.address.id);
      compareClocks(peer, greeted.hello, { nodeId, wallMs: this.#wallMs(), log });
    }
    this.#lines.up(peer, lane, wire, greeted);
  }

  /** @param who the other side, as far as it is known. */
  #onRefused(who: NodeId | undefined, error: PeerProtocolError, socket: Socket | undefined): void {
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

  /** Ends all connections of a peer; they are dialled anew, unless it is no peer any more. */
  #resetPeer(peer: Peer, why: string): void {
    this.#options.log("info", "peer connections reset", { peer: peer.address.id, why });
    for (const lane of lanesOf(peer)) {
      this.#dialler.dialAnew(lane);
      if (lane.line !== undefined) this.#lines.down(peer, lane, lane.line);
    }
  }

  #resetSilent(): void {
    const nowMs = performance.now();
    for (const peer of this.#peers.values()) {
      const beforeMs = nowMs - silentMs(peer, this.#limits);
      // A block must look like silence, not like a reset.
      if (peer.dropsIn || peer.dropsOut) continue;
      this.#heartbeats?.noteMissing(peer, beforeMs);
      const isUp = lanesOf(peer).some((lane) => lane.line !== undefined);
      if (isUp && peer.heardAtMs <= beforeMs) this.#resetPeer(peer, "silent");
    }
  }
}
