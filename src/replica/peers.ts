/**
 * The other nodes as this one knows them: who is linked, what heartbeats it owes them and has heard from them (R5), and when it
 * last asked one for its configuration.
 */

import { BeatPlan, distantBeatMs } from "./beat-plan.ts";
import type { Configuration, Incarnation, NodeId, ShardId } from "./configuration.ts";
import type { Failovers } from "./failovers.ts";
import type { Holdings } from "./holdings.ts";
import type { NodeHost } from "./host.ts";
import type { Heartbeat, ShardBeat } from "./messages.ts";
import type { NodeStatus } from "./surface.ts";

interface Peer {
  /** Of the process at the other end of the data link; undefined without a link. */
  linked: Incarnation | undefined;
  /** Last process that was linked: only its heartbeats are believed. */
  incarnation: Incarnation | undefined;
  /** Newest send time received from it. */
  newestSentMs: number;
  heardMs: number | undefined;
  /** Own send time of the newest heartbeat that it has heard. */
  echoedMs: number;
  askedConfigurationMs: number;
}

export class Peers {
  readonly #host: NodeHost;
  readonly #shards: Holdings["byId"];
  readonly #failovers: Pick<Failovers, "noteRecovery">;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #beats: BeatPlan;
  #lastBeatMs = Number.NEGATIVE_INFINITY;

  /** @param shards of which heartbeats tell, by their ids. */
  constructor(
    host: NodeHost,
    shards: Holdings["byId"],
    failovers: Pick<Failovers, "noteRecovery">,
  ) {
    this.#host = host;
    this.#shards = shards;
    this.#failovers = failovers;
    this.#beats = new BeatPlan(host.nodeId);
  }

  // ---------------------------------------------------------------- links

  connected(node: NodeId, incarnation: Incarnation): void {
    const peer = this.#peer(node);
    if (peer.incarnation !== incarnation) {
      peer.incarnation = incarnation;
      peer.newestSentMs = -1;
      peer.echoedMs = Number.NEGATIVE_INFINITY;
    }
    peer.linked = incarnation;
    this.#beats.soon(node);
    peer.askedConfigurationMs = Number.NEGATIVE_INFINITY;
  }

  disconnected(node: NodeId): void {
    this.#peer(node).linked = undefined;
  }

  /** Of the process at the other end of the data link; undefined without a link. */
  linkedIncarnation(node: NodeId): Incarnation | undefined {
    return this.#peers.get(node)?.linked;
  }

  /** Those with a data link. */
  get linked(): readonly NodeId[] {
    return [...this.#peers].flatMap(([node, { linked }]) => (linked === undefined ? [] : [node]));
  }

  /** For observers. */
  get status(): NodeStatus["peers"] {
    const { monoMs } = this.#host.now;
    return [...this.#peers].map(([node, peer]) => ({
      node,
      connected: peer.linked !== undefined,
      silentMs: peer.heardMs === undefined ? undefined : monoMs - peer.heardMs,
    }));
  }

  #peer(node: NodeId): Peer {
    let peer = this.#peers.get(node);
    if (peer === undefined) {
      peer = {
        linked: undefined,
        incarnation: undefined,
        newestSentMs: -1,
        heardMs: undefined,
        echoedMs: Number.NEGATIVE_INFINITY,
        askedConfigurationMs: Number.NEGATIVE_INFINITY,
      };
      this.#peers.set(node, peer);
    }
    return peer;
  }

  // ---------------------------------------------------------------- configurations

  /**
   * A configuration is being installed.
   * @returns the shards that this node holds by it, or shall hold.
   */
  installed(configuration: Configuration): readonly ShardId[] {
    this.#beats.installed(configuration);
    for (const { id } of configuration.nodes) if (id !== this.#host.nodeId) this.#peer(id);
    return this.#beats.held;
  }

  /** Whether the node shares a shard with this one. */
  isNeighbour(node: NodeId): boolean {
    return this.#beats.neighbours.has(node);
  }

  /** Asks a peer for its configuration, which seems to be newer; not again at once. */
  askConfiguration(from: NodeId): void {
    if (this.#host.mutant === "keeps-configuration") return;
    const { monoMs } = this.#host.now;
    const peer = this.#peer(from);
    if (monoMs - peer.askedConfigurationMs < this.#host.settings.heartbeatMs / 2) return;
    peer.askedConfigurationMs = monoMs;
    this.#host.send(from, { kind: "fetch-configuration" });
  }

  // ---------------------------------------------------------------- heartbeats

  /** The longest time between two heartbeats from a node, and to it, ms. */
  beatMs(node: NodeId): number {
    const { configuration, settings } = this.#host;
    return configuration === undefined || this.isNeighbour(node)
      ? settings.heartbeatMs
      : distantBeatMs(configuration);
  }

  /** Whether the peer has heard this node lately, by how often it hears it at all. */
  hears(node: NodeId): boolean {
    const { leaseMs, heartbeatMs } = this.#host.settings;
    const patienceMs = leaseMs + this.beatMs(node) - heartbeatMs;
    return this.#host.now.monoMs - this.#peer(node).echoedMs < patienceMs;
  }

  /** A heartbeat to one peer, or to all neighbours, is due. */
  beatSoon(to: NodeId | undefined): void {
    if (to !== undefined) this.#beats.soon(to);
    else this.#beats.soonToNeighbours();
  }

  tick(): void {
    const { now, settings } = this.#host;
    if (now.monoMs - this.#lastBeatMs < settings.heartbeatMs) return;
    this.#lastBeatMs = now.monoMs;
    this.#beats.beat();
  }

  /** Sends the heartbeats that are due. */
  sendDue(): void {
    for (const node of this.#beats.take()) this.#sendHeartbeat(node);
  }

  #sendHeartbeat(to: NodeId): void {
    const peer = this.#peer(to);
    if (peer.incarnation === undefined) return;
    const shards: ShardBeat[] = [];
    for (const id of this.#beats.neighbours.get(to) ?? []) {
      const shard = this.#shards[id];
      if (shard !== undefined && shard.epoch > 0) shards.push(shard.views.beatFor(to));
    }
    const { incarnation, now, configuration } = this.#host;
    this.#host.send(to, {
      kind: "heartbeat",
      fromIncarnation: incarnation,
      toIncarnation: peer.incarnation,
      sentAtMs: now.monoMs,
      echoMs: peer.newestSentMs,
      wallMs: now.wallMs,
      version: configuration?.version ?? 0,
      shards,
    });
  }

  onHeartbeat(from: NodeId, beat: Heartbeat): void {
    const { incarnation, configuration } = this.#host;
    const { monoMs } = this.#host.now;
    const peer = this.#peer(from);
    if (beat.toIncarnation !== incarnation || beat.fromIncarnation !== peer.incarnation) return;
    peer.heardMs = monoMs;
    const version = configuration?.version ?? 0;
    if (beat.version > version) this.#host.askConfiguration(from);
    // One that is no neighbour would hear of the newer one only later.
    else if (beat.version < version && !this.isNeighbour(from)) this.beatSoon(from);
    const isNewest = beat.sentAtMs > peer.newestSentMs;
    if (isNewest) peer.newestSentMs = beat.sentAtMs;
    const echoMs = beat.echoMs <= monoMs ? beat.echoMs : -1;
    peer.echoedMs = Math.max(peer.echoedMs, echoMs);
    const at = { incarnation: beat.fromIncarnation, isNewest, echoMs, wallMs: beat.wallMs };
    for (const shardBeat of beat.shards) {
      const shard = this.#shards[shardBeat.shard];
      if (shard === undefined) continue;
      shard.views.onBeat(from, shardBeat, at);
      this.#failovers.noteRecovery(shard);
    }
  }
}
