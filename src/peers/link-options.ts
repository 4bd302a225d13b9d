/** What the links are told when they are made, the bounds that they keep to, and what they tell whoever made them. */

import type { Incarnation, NodeId } from "../replica/configuration.ts";
import type { Message } from "../replica/messages.ts";
import { FRAME_BYTES_MAX, type WireCodec } from "./codec.ts";
import type { ClusterSecret } from "./secret.ts";

/** Where a node of the cluster is reached by the others. */
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

/** What holds where no other limits are given. */
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

/** All that links need to know of their node, their cluster and whom they work for. */
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

/** How the links to one peer are. */
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
