/**
 * The life of a line: a connection becomes one once both sides have said who they are, brings messages to the handler, and
 * ends, by whatever cause, once. Nothing that a replaced connection still brings is ever read.
 */

import type { WireCodec } from "./codec.ts";
import { malformed, PeerProtocolError } from "./errors.ts";
import type { Greeted } from "./handshake.ts";
import { HeartbeatAssembler } from "./heartbeat-datagram.ts";
import type { LinkHandler, LinkLimits, LinkLog } from "./link-options.ts";
import type { Lane, Line, Peer } from "./peer.ts";
import type { Wire, Wires } from "./wires.ts";

/** A connection that lived this long was a good one: the next is dialled without delay, ms. */
const STEADY_MS = 1000;

/** What lines need, and whom they tell. */
export interface LinesOptions {
  readonly limits: LinkLimits;
  readonly codec: WireCodec;
  readonly wires: Wires;
  readonly handler: LinkHandler;
  readonly log: LinkLog;
  /** The lane is down again, and the handler knows. `isSteady` if its line was up for long. */
  readonly ended: (lane: Lane, isSteady: boolean) => void;
}

/** Begins and ends the lines of all lanes, and takes what they bring. */
export class Lines {
  readonly #options: LinesOptions;
  /** Read with each piece of bytes. */
  readonly #handler: LinkHandler;
  readonly #wires: Wires;

  constructor(options: LinesOptions) {
    this.#options = options;
    this.#handler = options.handler;
    this.#wires = options.wires;
  }

  /** Makes a connection the lane's line, in place of the one that it may have. */
  up(peer: Peer, lane: Lane, wire: Wire, { hello, version, features, rest }: Greeted): void {
    const { socket } = wire;
    if (lane.line !== undefined) this.down(peer, lane, lane.line);
    const { incarnation } = hello;
    const { codec, limits, log } = this.#options;
    const line: Line = {
      socket,
      encoder: codec.createEncoder(version, limits.frameBytesMax),
      decoder: codec.createDecoder(version, limits.frameBytesMax),
      sinceMs: performance.now(),
    };
    lane.line = line;
    peer.heardAtMs = performance.now();
    if (lane.channel === "data") {
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
    socket.once("close", () => this.down(peer, lane, line));
    log("debug", "peer connection up", {
      peer: peer.address.id,
      channel: lane.channel,
      incarnation,
      version,
    });
    if (lane.channel === "data") this.#handler.connected(peer.address.id, incarnation);
    if (rest.length > 0) this.#onBytes(peer, lane, line, rest, 0, rest.length);
  }

  /** Ends a connection, however it came to that; only the first call for it has an effect. */
  down(peer: Peer, lane: Lane, line: Line): void {
    line.socket.destroy();
    if (lane.line !== line) return;
    lane.line = undefined;
    this.#options.log("debug", "peer connection down", {
      peer: peer.address.id,
      channel: lane.channel,
    });
    if (lane.channel === "data") this.#handler.disconnected(peer.address.id);
    // A connection that breaks as soon as it is up, as with a peer that talks nonsense, is no reason to hurry.
    this.#options.ended(lane, performance.now() - line.sinceMs > STEADY_MS);
  }

  #onBytes(peer: Peer, lane: Lane, line: Line, bytes: Buffer, start: number, end: number): void {
    // A replaced connection, or a blocked peer.
    if (lane.line !== line || peer.dropsIn) return;
    peer.heardAtMs = performance.now();
    const handler = this.#handler;
    const isHeartbeatLane = lane.channel === "heartbeat";
    if (!isHeartbeatLane) this.#wires.beginTurn();
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
      this.down(peer, lane, line);
    } finally {
      handler.endBurst();
    }
    if (!isHeartbeatLane && lane.line === line) this.#wires.maybeRest(line.socket);
  }
}
