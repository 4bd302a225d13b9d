/**
 * What a node knows of each of its peers: the lanes to it, with the line of each while it is up, the run of its process, and
 * when it gave signs of life. Only data, and what its age means; each field says who sets it.
 */

import type { Socket } from "node:net";
import type { Incarnation, NodeId } from "../replica/configuration.ts";
import type { MessageDecoder, MessageEncoder } from "./codec.ts";
import type { Channel } from "./handshake.ts";
import type { HeartbeatAssembler } from "./heartbeat-datagram.ts";
import type { LinkLimits, PeerAddress } from "./link-options.ts";

/** Heartbeats in a row that may be lost before a peer counts as silent, as having been away. */
const BEATS_SILENT = 4;
const BEATS_AWAY = 3;

/** A connection to a peer that is up: both have said who they are. */
export interface Line {
  readonly socket: Socket;
  readonly encoder: MessageEncoder;
  readonly decoder: MessageDecoder;
  /** `performance.now()` of its beginning. */
  readonly sinceMs: number;
}

/** One channel to one peer: it has a line, or is down. */
export interface Lane {
  readonly channel: Channel;
  /** Bytes of frames that were given to the system; counted by `Links`. */
  sentBytes: number;
  /** Set and unset by `Lines`, and unset by `Links` at its end. */
  line: Line | undefined;
}

/** A run of a peer's process, as its last data link told. */
export interface Run {
  readonly incarnation: Incarnation;
  readonly version: number;
  readonly features: readonly string[];
  /** Where its connection came from or went to. */
  readonly remote: string | undefined;
  /** Of its datagrams; kept over connections, so that none counts twice. */
  readonly heartbeats: HeartbeatAssembler;
}

/** Another node of the cluster. */
export interface Peer {
  /** Set by `Links`. */
  address: PeerAddress;
  readonly data: Lane;
  /** Undefined where heartbeats are datagrams. */
  readonly heartbeat: Lane | undefined;
  /** Undefined before the first data link; set by `Lines`. */
  run: Run | undefined;
  /** Bytes of datagrams; counted by `Heartbeats`. */
  sentBytes: number;
  /** `performance.now()` of the last sign of life; set by whoever takes its bytes, `Lines` and `Heartbeats`. */
  heardAtMs: number;
  /** `performance.now()` of the last datagram; set by `Heartbeats`. */
  beatAtMs: number;
  /** Told already that its datagrams do not come: kept by `Heartbeats`. */
  isToldMissing: boolean;
  /** Told already that its clock differs: kept by `compareClocks`. */
  isToldClock: boolean;
  /** All that comes from it, goes to it is dropped; set by `Links` for tests, and heeded wherever bytes come or go. */
  dropsIn: boolean;
  dropsOut: boolean;
}

/** The peers of a node, for those who only look them up. */
export type Peers = ReadonlyMap<NodeId, Peer>;

/** @returns a peer of which nothing was heard yet: its time to give a sign of life begins now. */
export function createPeer(address: PeerAddress, heartbeatChannel: "udp" | "tcp"): Peer {
  return {
    address,
    data: createLane("data"),
    heartbeat: heartbeatChannel === "tcp" ? createLane("heartbeat") : undefined,
    run: undefined,
    sentBytes: 0,
    heardAtMs: performance.now(),
    beatAtMs: Number.NEGATIVE_INFINITY,
    isToldMissing: false,
    isToldClock: false,
    dropsIn: false,
    dropsOut: false,
  };
}

/** @returns all lanes to a peer, data first. */
export function lanesOf(peer: Peer): readonly Lane[] {
  return peer.heartbeat === undefined ? [peer.data] : [peer.data, peer.heartbeat];
}

/** A peer that was heard within this time is alive, ms; but one that is silent for longer than usual can have been replaced. */
export function aliveMs({ address }: Peer, limits: LinkLimits): number {
  return Math.max(limits.aliveMs, Math.min(BEATS_AWAY * (address.beatMs ?? 0), limits.silentMsMax));
}

/** A peer of which nothing was heard for so long was away, ms. */
export function awayMs({ address }: Peer, limits: LinkLimits): number {
  return Math.max(limits.backMs, BEATS_AWAY * (address.beatMs ?? 0));
}

/** After so long without a sign of life a peer is silent, ms. */
export function silentMs({ address }: Peer, limits: LinkLimits): number {
  return Math.max(limits.silentMsMax, BEATS_SILENT * (address.beatMs ?? 0));
}

function createLane(channel: Channel): Lane {
  return { channel, sentBytes: 0, line: undefined };
}
