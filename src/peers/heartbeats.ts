/**
 * Heartbeats that travel as datagrams: sends this node's, takes those that belong to a peer's present run, and notices when
 * a peer's come again or do not come at all. Where heartbeats have connections, there is none of this.
 */

import { type AddressInfo, isIP } from "node:net";
import type { NodeId } from "../replica/configuration.ts";
import type { Heartbeat } from "../replica/messages.ts";
import type { MessageEncoder, WireCodec } from "./codec.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import type { Identity } from "./handshake.ts";
import { decodeDatagram, encodeDatagrams } from "./heartbeat-datagram.ts";
import { HeartbeatSocket } from "./heartbeat-socket.ts";
import type { LinkLimits, LinkLog } from "./link-options.ts";
import { awayMs, type Peer, type Peers, type Run } from "./peer.ts";

/** What heartbeats need, and whom they tell. */
export interface HeartbeatsOptions {
  readonly identity: Identity;
  readonly limits: LinkLimits;
  readonly codec: WireCodec;
  readonly peers: Peers;
  readonly log: LinkLog;
  /** A whole heartbeat has come; called synchronously. */
  readonly received: (from: NodeId, heartbeat: Heartbeat) => void;
  /** A peer with a data link, of which nothing was heard for a while, is heard again. Its times still tell of the silence. */
  readonly returned: (peer: Peer) => void;
  /** What the datagrams of a peer hold is no heartbeat. */
  readonly refused: (peer: Peer, error: PeerProtocolError) => void;
}

/** The heartbeats of a node, to and from all its peers. */
export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  #socket: HeartbeatSocket | undefined;
  /** Of the last datagram, to whomever. */
  #lastNumber = 0;
  /** By wire version. */
  readonly #encoders = new Map<number, MessageEncoder>();
  #isClosed = false;

  constructor(options: HeartbeatsOptions) {
    this.#options = options;
  }

  /**
   * @param address the one that the node accepts connections on.
   * @throws the system's error, such as `EADDRINUSE`; another try is allowed.
   */
  async listen({ address, port }: AddressInfo): Promise<void> {
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
    else this.#socket = socket;
  }

  /** Sends at once; what the system does not take is lost, as is what is for a peer that was never linked. */
  send(peer: Peer, heartbeat: Heartbeat): void {
    const { run, address } = peer;
    if (run === undefined) return;
    // The address of the configuration is the one that the peer listens on; of a name, the connection knows the number.
    const host = isIP(address.host) === 0 ? run.remote : address.host;
    if (host === undefined || this.#socket === undefined) return;
    const encoder = this.#encoder(run.version);
    encoder.reset(true);
    encoder.append(heartbeat);
    const { nodeId, incarnation, secret } = this.#options.identity;
    const datagrams = encodeDatagrams(
      {
        from: nodeId,
        fromIncarnation: incarnation,
        toIncarnation: run.incarnation,
        version: run.version,
      },
      this.#lastNumber + 1,
      encoder.bytes(),
      secret,
    );
    this.#lastNumber += datagrams.length;
    for (const datagram of datagrams) peer.sentBytes += datagram.length;
    this.#socket.send(host, address.port, datagrams);
  }

  /**
   * Tells the operator, once, of a peer that is linked and whose heartbeats do not come: a firewall that lets TCP through and
   * UDP not would otherwise look like a peer that dies again and again.
   * @param beforeMs `performance.now()` since when a heartbeat should have come.
   */
  noteMissing(peer: Peer, beforeMs: number): void {
    const { line } = peer.data;
    if (line === undefined || peer.isToldMissing) return;
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

  /** Sends and takes nothing more. */
  close(): void {
    this.#isClosed = true;
    this.#socket?.close();
  }

  #encoder(version: number): MessageEncoder {
    let encoder = this.#encoders.get(version);
    if (encoder === undefined) {
      const { codec, limits } = this.#options;
      encoder = codec.createEncoder(version, limits.frameBytesMax);
      this.#encoders.set(version, encoder);
    }
    return encoder;
  }

  /** The cheap looks come first: a stranger's datagram costs no HMAC, because it does not know the incarnations. */
  #onDatagram(bytes: Buffer): void {
    if (this.#isClosed) return;
    const datagram = decodeDatagram(bytes);
    if (datagram === undefined) return;
    const { from, fromIncarnation, toIncarnation, version, signed } = datagram;
    const { peers, identity } = this.#options;
    const peer = peers.get(from);
    const run = peer?.run;
    if (peer === undefined || run === undefined || peer.dropsIn) return;
    if (fromIncarnation !== run.incarnation || version !== run.version) return;
    if (toIncarnation !== identity.incarnation) return;
    const { secret } = identity;
    if (secret === undefined ? signed !== undefined : signed === undefined) return;
    if (secret !== undefined && signed !== undefined && !secret.isTag(signed.bytes, signed.tag)) {
      return;
    }
    const frame = run.heartbeats.take(datagram);
    // A part is a sign of life of the process, if not yet of its shards.
    this.#noteReturn(peer);
    peer.heardAtMs = performance.now();
    peer.beatAtMs = peer.heardAtMs;
    peer.isToldMissing = false;
    if (frame !== undefined) this.#onFrame(peer, run, frame);
  }

  #noteReturn(peer: Peer): void {
    const { line } = peer.data;
    if (line === undefined) return;
    const silentForMs = performance.now() - Math.max(peer.heardAtMs, line.sinceMs);
    if (silentForMs >= awayMs(peer, this.#options.limits)) this.#options.returned(peer);
  }

  #onFrame(peer: Peer, run: Run, frame: Buffer): void {
    const { codec, received, refused } = this.#options;
    try {
      const decoder = codec.createDecoder(run.version, frame.length);
      decoder.push(frame, 0, frame.length, (message) => {
        if (message.kind !== "heartbeat") throw malformed(`a ${message.kind} in a datagram`);
        received(peer.address.id, message);
        return false;
      });
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      refused(peer, error);
    }
  }
}
