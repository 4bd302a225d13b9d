/**
 * One node's part of the replication protocol, for all of its shards: heartbeats, leases, suspicion and reconfiguration,
 * around one `Shard` each. No I/O, no clock, no randomness: time and messages come in, `drain` hands out what is to be
 * done. The simulator runs this very class.
 */

import type { Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { BeatPlan, distantBeatMs } from "./beat-plan.ts";
import {
  type Configuration,
  type Incarnation,
  type NodeId,
  type NodeRecord,
  type Settings,
  SHARDS_MAX,
  type ShardId,
  type ShardRecord,
} from "./configuration.ts";
import { CopyTurns } from "./copy-turns.ts";
import { EarlyMessages, type ShardMessage } from "./early-messages.ts";
import { type Counters, type Host, noCounts } from "./host.ts";
import type { JournalItem } from "./journal.ts";
import type { Ack, Heartbeat, Message, ShardBeat } from "./messages.ts";
import type { Mutant } from "./mutants.ts";
import type { Request } from "./ports.ts";
import { ReadBalancer } from "./read-balancer.ts";
import {
  canForm,
  divided,
  formed,
  heirAmong,
  primaryCounts,
  withMember,
  withoutMembers,
  withPrimary,
  withRecords,
} from "./reconfigure.ts";
import { NO_CONFIGURATION, OVERLOADED } from "./refusals.ts";
import { type Aim, Shard } from "./shard.ts";
import type {
  CoreEvent,
  CoreOptions,
  CoreSurface,
  Failover,
  Limits,
  NodeStatus,
  Operation,
  Output,
  ShardStatus,
  StoredShard,
  Time,
} from "./surface.ts";
import { type SwapOutcome, Swaps } from "./swaps.ts";

export const DEFAULT_LIMITS: Limits = {
  operationsMax: 100_000,
  uncommittedBytesMax: 16 << 20,
  retainedBytesMax: 1 << 20,
  lagMsMax: 2_000,
  operationMsMax: 3_000,
  copyChunkBytes: 16 << 10,
  copyWindowBytes: 1 << 20,
  copyBytesPerSecond: 6 << 20,
};

/** Chunks of copies, of whatever shards, that one drain reads at most. */
const COPY_CHUNKS_PER_DRAIN = 1;
/** Bytes of copies that may be sent at once after a pause: about what the time between two ticks allows. */
const COPY_BURST_BYTES = 96 << 10;
/** How long a learner that could be promoted waits for its other shards, in leases: each swap makes commands wait a little. */
const GATHERING_LEASES = 20;
/** Heartbeats for which a primary orders nothing, so that a handover or a division can be made. */
const HANDOVER_BEATS = 2;
/** A division needs all of it committed, on slow disks too, and is asked for again if it fails. */
const SPLIT_BEATS = 4;
/** Failovers that `status` tells of. */
const FAILOVERS_KEPT = 64;
/** What a node says of a shard that it does not hold. */
const HOLDS_NOTHING = {
  role: "none",
  serves: false,
  hasLease: false,
  lastSeq: 0,
  commitSeq: 0,
  lag: 0,
  keys: 0,
  logBytes: 0,
  holds: { epoch: 0, seq: 0 },
  waitsFor: [],
  feeds: [],
} as const;
/** A new cluster's settings before the configuration is known; nothing is served with them. */
const UNKNOWN_SETTINGS: Settings = {
  replication: "sync",
  minInSync: 1,
  replicas: 0,
  shardCount: 0,
  heartbeatMs: 50,
  leaseMs: 300,
  driftBound: 0.05,
  durability: "none",
  flushMs: 1_000,
  heartbeatChannel: "tcp",
};

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

interface Removal {
  count: number;
  atMs: number;
}

export class Core implements CoreSurface, Host {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly limits: Limits;
  readonly mutant: Mutant | undefined;
  now: Time = { monoMs: 0, wallMs: 0 };
  lacksDisk = false;
  readonly counters: Counters = noCounts();

  readonly isFresh: boolean;
  readonly readBalancer: ReadBalancer;
  readonly lost = new Set<NodeId>();
  journaled = 0;
  savedItems = 0;
  /** The node was told to end. */
  #isEnding = false;
  #journal: JournalItem[] = [];
  #filling: ReadonlySet<ShardId> = new Set();
  readonly #restored: NonNullable<CoreOptions["restored"]>;
  readonly #copies: CopyTurns;

  readonly #createStateMachine: CoreOptions["createStateMachine"];
  #configuration: Configuration | undefined;
  /** Of the configuration: this node's own record. */
  #own: NodeRecord | undefined;
  /** How many shards each node is the primary of, in the configuration; undefined until somebody asks. */
  #primaryCounts: ReadonlyMap<NodeId, number> | undefined;
  /** By their ids: the shards that this node holds, or shall hold, or that its clients have asked for. */
  readonly #shards: (Shard | undefined)[] = [];
  readonly #allShards: Shard[] = [];
  readonly #peers = new Map<NodeId, Peer>();
  readonly #beats: BeatPlan;
  #operations = 0;

  #messages: { readonly to: NodeId; readonly message: Message }[] = [];
  /** Of this turn, by whom they are for. */
  readonly #acks = new Map<NodeId, Ack[]>();
  #answers: { readonly operation: Operation; readonly reply: Reply }[] = [];
  #wantsConfiguration = true;
  #events: CoreEvent[] = [];
  /** Shards that have something to send or to try again, each once. */
  #touched: ShardId[] = [];
  readonly #isTouched: boolean[] = [];
  #copyTurns = 0;

  #lastTickMs: number | undefined;
  #lastBeatMs = Number.NEGATIVE_INFINITY;
  #lastReadMs = Number.NEGATIVE_INFINITY;

  readonly #swaps: Swaps;
  readonly #early = new EarlyMessages();

  /** When each removable (shard, member) was first found so, and how long it had been silent then. */
  readonly #suspected = new Map<string, { readonly atMs: number; readonly silentMs: number }>();
  readonly #removals = new Map<string, Removal>();
  /** Learners that could be promoted in some shard: at the last look, and since when in any. */
  readonly #fit = new Set<NodeId>();
  readonly #fitSinceMs = new Map<NodeId, number>();
  readonly #inSyncSinceMs = new Map<string, number>();
  /** Failovers whose shard does not serve again yet. */
  readonly #failing = new Map<
    ShardId,
    Omit<Failover, "gapMs" | "atWallMs"> & { readonly fromMs: number }
  >();
  readonly #failovers: Failover[] = [];

  constructor(options: CoreOptions) {
    this.nodeId = options.nodeId;
    this.incarnation = options.incarnation;
    this.#beats = new BeatPlan(options.nodeId);
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.mutant = options.mutant;
    this.readBalancer = new ReadBalancer(options.readPolicy ?? "least-outstanding");
    this.#copies = new CopyTurns(this.limits.copyBytesPerSecond, COPY_BURST_BYTES);
    this.#createStateMachine = options.createStateMachine;
    this.#swaps = new Swaps(this, {
      configuration: () => this.#configuration,
      linkedPeers: () =>
        [...this.#peers].flatMap(([node, { linked }]) => (linked === undefined ? [] : [node])),
      hears: (peer) => this.#isHeardBy(peer),
      install: (configuration) => this.#install(configuration),
      wantConfiguration: () => {
        this.#wantsConfiguration = true;
      },
    });
    this.isFresh = options.restored === undefined;
    this.#restored = options.restored ?? new Map();
  }

  get isDraining(): boolean {
    return this.#isEnding || this.lacksDisk;
  }

  get settings(): Settings {
    return this.#configuration?.settings ?? UNKNOWN_SETTINGS;
  }

  get configuration(): Configuration | undefined {
    return this.#configuration;
  }

  beatMs(node: NodeId): number {
    const configuration = this.#configuration;
    return configuration === undefined || this.#beats.neighbours.has(node)
      ? this.settings.heartbeatMs
      : distantBeatMs(configuration);
  }

  /** A swap of this node is under way, or one that it carries out for a peer. */
  get isSwapping(): boolean {
    return this.#swaps.isBusy;
  }

  /** The shards that exist here, for tests' invariants. */
  get shards(): readonly Shard[] {
    return this.#allShards;
  }

  // ---------------------------------------------------------------- what shards ask (Host)

  send(to: NodeId, message: Message): void {
    if (to !== this.nodeId) this.#messages.push({ to, message });
  }

  acknowledge(to: NodeId, ack: Ack): void {
    const acks = this.#acks.get(to);
    if (acks === undefined) this.#acks.set(to, [ack]);
    else acks.push(ack);
  }

  answer(operation: Operation, reply: Reply): void {
    this.#operations -= 1;
    this.#answers.push({ operation, reply });
  }

  emit(event: CoreEvent): void {
    this.#events.push(event);
  }

  beatSoon(to?: NodeId): void {
    if (to !== undefined) this.#beats.soon(to);
    else this.#beats.soonToNeighbours();
  }

  askConfiguration(from: NodeId): void {
    if (this.mutant === "keeps-configuration") return;
    const peer = this.#peer(from);
    if (this.now.monoMs - peer.askedConfigurationMs < this.settings.heartbeatMs / 2) return;
    peer.askedConfigurationMs = this.now.monoMs;
    this.send(from, { kind: "fetch-configuration" });
  }

  isFenced(shard: ShardId, node: NodeId): boolean {
    return this.#swaps.isFenced(shard, node);
  }

  journal(item: JournalItem): void {
    if (this.settings.durability === "none") return;
    this.journaled += 1;
    this.#journal.push(item);
  }

  mayCopy(shard: ShardId, learner: NodeId): boolean {
    return this.#copies.take({ shard, learner }, this.now.monoMs);
  }

  copyEnded(shard: ShardId, learner: NodeId): void {
    this.#copies.end({ shard, learner });
    this.#nextCopy();
  }

  /** Begins the copies whose turn has come, as far as they are still wanted. */
  #nextCopy(): void {
    for (;;) {
      const turn = this.#copies.next(this.now.monoMs);
      if (turn === undefined) return;
      const shard = this.#shards[turn.shard];
      const isWanted =
        shard?.isPrimary === true &&
        shard.isStarted &&
        shard.record.replicas.includes(turn.learner) &&
        !shard.record.inSync.some((member) => member.node === turn.learner) &&
        this.linkedIncarnation(turn.learner) !== undefined;
      if (isWanted) {
        shard.donor.copyTo(turn.learner);
        return;
      }
      this.#copies.end(turn);
    }
  }

  takeCopyTurn(): boolean {
    this.#copyTurns -= 1;
    return this.#copyTurns >= 0 && this.#copies.maySend(this.now.monoMs);
  }

  copied(bytes: number): void {
    this.#copies.sent(bytes);
  }

  linkedIncarnation(peer: NodeId): Incarnation | undefined {
    return this.#peers.get(peer)?.linked;
  }

  touch(shard: ShardId): void {
    if (this.#isTouched[shard] === true) return;
    this.#isTouched[shard] = true;
    this.#touched.push(shard);
  }

  // ---------------------------------------------------------------- ways in

  connected(node: NodeId, incarnation: Incarnation, time: Time): void {
    this.now = time;
    const peer = this.#peer(node);
    if (peer.incarnation !== incarnation) {
      peer.incarnation = incarnation;
      peer.newestSentMs = -1;
      peer.echoedMs = Number.NEGATIVE_INFINITY;
    }
    peer.linked = incarnation;
    this.#beats.soon(node);
    peer.askedConfigurationMs = Number.NEGATIVE_INFINITY;
    for (const shard of this.#allShards) if (shard.epoch > 0) shard.connected(node);
  }

  disconnected(node: NodeId, time: Time): void {
    this.now = time;
    this.#peer(node).linked = undefined;
    for (const shard of this.#allShards) shard.disconnected(node);
    this.#early.disconnected(node);
    this.#swaps.disconnected(node);
  }

  receive(from: NodeId, message: Message, time: Time): void {
    this.now = time;
    switch (message.kind) {
      case "heartbeat":
        this.#onHeartbeat(from, message);
        break;
      case "acks":
        for (const ack of message.acks) this.#onAck(from, ack);
        break;
      case "fetch-configuration":
        if (this.#configuration !== undefined && this.mutant !== "keeps-configuration") {
          this.send(from, { kind: "configuration", configuration: this.#configuration });
        }
        break;
      case "configuration":
        this.#install(message.configuration);
        break;
      case "swap-request":
        this.#swaps.onRequest(from, message);
        break;
      case "swap-answer":
        this.#swaps.onAnswer(from, message);
        break;
      default: {
        const shard = this.#shards[message.shard];
        const epoch = this.#configuration?.shards[message.shard]?.epoch ?? -1;
        if (message.epoch > epoch) this.askConfiguration(from);
        // Neighbours hear of a newer configuration by heartbeats that come anyway.
        else if (message.epoch < epoch && !this.#beats.neighbours.has(from)) this.beatSoon(from);
        if (shard !== undefined) shard.receive(from, message);
        // About a shard that this node holds nothing of; perhaps it soon will.
        else if (message.epoch > epoch) this.#early.add(from, message);
      }
    }
  }

  /** What concerns a shard that is not here yet is lost: heartbeats say it again. */
  #onAck(from: NodeId, ack: Ack): void {
    const epoch = this.#configuration?.shards[ack.shard]?.epoch ?? -1;
    if (ack.epoch > epoch) this.askConfiguration(from);
    this.#shards[ack.shard]?.onAck(from, ack);
  }

  submit(operation: Operation, time: Time): void {
    this.now = time;
    this.#operations += 1;
    const shard = this.#shards[operation.shard] ?? this.#routeTo(operation.shard);
    if (shard === undefined) {
      this.answer(operation, NO_CONFIGURATION);
      return;
    }
    if (this.#operations > this.limits.operationsMax) {
      this.answer(operation, OVERLOADED);
      return;
    }
    shard.courier.submit(operation);
  }

  install(configuration: Configuration, time: Time): void {
    this.now = time;
    this.#install(configuration);
  }

  swapAnswered(
    id: number,
    outcome: SwapOutcome,
    configuration: Configuration | undefined,
    time: Time,
  ): void {
    this.now = time;
    this.#swaps.answered(id, outcome, configuration);
  }

  isFilling(shard: ShardId): boolean {
    return this.#filling.has(shard);
  }

  saved(items: number, filling: ReadonlySet<ShardId>, time: Time): void {
    this.now = time;
    this.savedItems = items;
    this.#filling = filling;
    for (const shard of this.#allShards) shard.saved(items);
  }

  stored(id: ShardId): StoredShard | undefined {
    return this.#shards[id];
  }

  holdCopies(forMs: number, time: Time): void {
    this.now = time;
    this.#copies.hold(time.monoMs + forMs);
  }

  recover(lost: readonly NodeId[], time: Time): string | undefined {
    this.now = time;
    for (const node of lost) {
      if (node === this.nodeId) return "this node is here";
      const incarnation = this.linkedIncarnation(node);
      const isInSync = this.#configuration?.shards.some(({ inSync }) =>
        inSync.some((member) => member.node === node && member.incarnation === incarnation),
      );
      if (isInSync === true) return `${node} is here and in sync: it is not lost`;
    }
    for (const node of lost) this.lost.add(node);
    return undefined;
  }

  clockJumped(time: Time): void {
    this.now = time;
    for (const shard of this.#allShards) shard.endLease();
  }

  tick(time: Time): void {
    this.now = time;
    const { heartbeatMs } = this.settings;
    const sinceTickMs = this.#lastTickMs === undefined ? 0 : time.monoMs - this.#lastTickMs;
    this.#lastTickMs = time.monoMs;
    if (sinceTickMs > heartbeatMs) {
      for (const shard of this.#allShards) shard.suspicion.moveDeadlines(sinceTickMs);
    }
    for (const shard of this.#allShards) {
      if (shard.epoch === 0) continue;
      shard.tick();
      this.#noteRecovery(shard);
    }
    if (time.monoMs - this.#lastBeatMs >= heartbeatMs) {
      this.#lastBeatMs = time.monoMs;
      this.#beats.beat();
    }
    // A watch is never trusted alone.
    if (time.monoMs - this.#lastReadMs >= 20 * heartbeatMs) {
      this.#lastReadMs = time.monoMs;
      this.#wantsConfiguration = true;
    }
    this.#nextCopy();
    this.#swaps.tick();
    this.#propose();
  }

  drainShards(time: Time): void {
    this.now = time;
    this.#isEnding = true;
    this.#leave();
  }

  diskFailed(time: Time): void {
    this.now = time;
    this.lacksDisk = true;
    this.beatSoon();
    this.#leave();
  }

  #leave(): void {
    this.#swaps.hurry();
    for (const shard of this.#allShards) this.touch(shard.id);
  }

  resumeShards(time: Time): void {
    this.now = time;
    this.lacksDisk = false;
    this.beatSoon();
    this.journaled = 0;
    this.savedItems = 0;
    this.#journal = [];
    for (const shard of this.#allShards) {
      shard.journalAnew();
      this.touch(shard.id);
    }
  }

  transfer(id: ShardId, successor: NodeId, time: Time): string | undefined {
    this.now = time;
    const record = this.#configuration?.shards[id];
    if (record === undefined) return `there is no shard ${id}`;
    const shard = this.#shards[id];
    if (!shard?.isPrimary) {
      return `this node is not the primary of shard ${id}; ask ${record.primary}`;
    }
    if (!shard.isStarted) return `shard ${id} is changing its epoch; try again`;
    if (successor === this.nodeId) return `this node is the primary of shard ${id} already`;
    const member = shard.record.inSync.find(({ node }) => node === successor);
    if (member === undefined) return `${successor} is not an in-sync replica of shard ${id}`;
    if (shard.view(successor).startedEpoch < member.since) {
      return `${successor} has only just become in-sync in shard ${id}; try again`;
    }
    if (shard.view(successor).lacksDisk) return `the disk of ${successor} has failed`;
    if (shard.handover === undefined) this.#beginHandover(shard, { kind: "transfer", successor });
    return undefined;
  }

  split(id: ShardId, asked: number | undefined, time: Time): string | undefined {
    this.now = time;
    const record = this.#configuration?.shards[id];
    if (record === undefined) return `there is no shard ${id}`;
    const shard = this.#shards[id];
    const { firstSlot, lastSlot, primary } = record;
    if (!shard?.isPrimary) return `this node is not the primary of shard ${id}; ask ${primary}`;
    if (!shard.isStartCommitted) return `shard ${id} is changing its epoch; try again`;
    if (firstSlot === lastSlot) return `shard ${id} has one slot only`;
    const at = asked ?? Math.ceil((firstSlot + lastSlot) / 2);
    if (at <= firstSlot || at > lastSlot) {
      return `shard ${id} can be divided at a slot from ${firstSlot + 1} to ${lastSlot}`;
    }
    if ((this.#configuration?.shards.length ?? 0) >= SHARDS_MAX) {
      return `there are ${SHARDS_MAX} shards, and cannot be more`;
    }
    const fed = shard.donor.status().find(({ isFed }) => !isFed);
    if (fed !== undefined) {
      return `shard ${id} is being copied to ${fed.learner}, which would have to begin again; try later`;
    }
    if (shard.handover !== undefined || shard.unsettledSplit !== undefined) {
      return `shard ${id} is being handed over or divided already; try again`;
    }
    this.#beginHandover(shard, { kind: "split", at });
    return undefined;
  }

  // ---------------------------------------------------------------- way out

  drain(): Output {
    this.#copyTurns = COPY_CHUNKS_PER_DRAIN;
    for (let round = 0; this.#touched.length > 0 && round < 8; round += 1) {
      const touched = this.#touched;
      this.#touched = [];
      for (const id of touched) this.#isTouched[id] = false;
      for (const id of touched) this.#shards[id]?.flush();
    }
    for (const [to, acks] of this.#acks) this.send(to, { kind: "acks", acks });
    this.#acks.clear();
    for (const node of this.#beats.take()) this.#sendHeartbeat(node);
    const output: Output = {
      messages: this.#messages,
      answers: this.#answers,
      swaps: this.#swaps.take(),
      wantsConfiguration: this.#wantsConfiguration,
      events: this.#events,
      journal: this.#journal,
    };
    this.#messages = [];
    this.#answers = [];
    this.#wantsConfiguration = false;
    this.#events = [];
    this.#journal = [];
    return output;
  }

  status(time: Time): NodeStatus {
    this.now = time;
    const configuration = this.#configuration;
    return {
      nodeId: this.nodeId,
      incarnation: this.incarnation,
      version: configuration?.version ?? 0,
      isDrained: this.isDraining && this.#isDrained(),
      lacksDisk: this.lacksDisk,
      isReady: configuration?.shards.every((record) => this.#isReadyFor(record)) === true,
      operations: this.#operations,
      shards: (configuration?.shards ?? []).map((record) => this.#shardStatus(record)),
      copiesWaiting: this.#copies.waiting,
      peers: [...this.#peers].map(([node, peer]) => ({
        node,
        connected: peer.linked !== undefined,
        silentMs: peer.heardMs === undefined ? undefined : time.monoMs - peer.heardMs,
      })),
      failovers: this.#failovers,
      counters: { ...this.counters },
    };
  }

  #isReadyFor(record: ShardRecord): boolean {
    const shard = this.#shards[record.id];
    if (shard?.isHolder === true) return shard.serves;
    const primary = record.inSync.find(({ node }) => node === record.primary);
    return primary !== undefined && this.linkedIncarnation(primary.node) === primary.incarnation;
  }

  #shardStatus(record: ShardRecord): ShardStatus {
    const shard = this.#shards[record.id];
    const common = {
      shard: record.id,
      firstSlot: record.firstSlot,
      lastSlot: record.lastSlot,
      epoch: record.epoch,
      primary: record.primary,
      inSync: record.inSync.map((member) => member.node),
    };
    if (shard?.isHolder !== true) return { ...common, ...HOLDS_NOTHING };
    const isLearner = shard.isHolder && !shard.isMember;
    return {
      ...common,
      role: shard.isPrimary
        ? "primary"
        : shard.isMember
          ? "backup"
          : isLearner
            ? "learner"
            : "none",
      serves: shard.serves,
      hasLease: shard.hasLease,
      lastSeq: shard.log.lastSeq,
      commitSeq: shard.commitSeq,
      lag: shard.isMember ? shard.log.lastSeq - shard.commitSeq : 0,
      keys: shard.machine.size,
      logBytes: shard.log.bytes,
      holds: shard.holds,
      waitsFor: shard.isMember ? [] : shard.recovery.missing(),
      feeds: shard.donor.status(),
    };
  }

  // ---------------------------------------------------------------- configurations

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

  /** Takes over a later configuration; an older one than this node has seen is refused (R6). */
  #install(configuration: Configuration): void {
    const current = this.#configuration;
    if (current !== undefined && configuration.clusterId !== current.clusterId) {
      this.emit({ kind: "warning", text: "refused a configuration of another cluster" });
      return;
    }
    // Late answers are common; what is older than what this node has seen is refused whoever says it.
    if (configuration.version <= (current?.version ?? 0)) return;
    if (current === undefined && this.#isOlderThanDisk(configuration)) {
      this.emit({
        kind: "warning",
        text: "refused a configuration older than what the disk holds",
      });
      return;
    }
    this.#configuration = configuration;
    this.#own = configuration.nodes.find((node) => node.id === this.nodeId);
    this.#primaryCounts = undefined;
    this.#beats.installed(configuration);
    this.#swaps.installed(configuration.version);
    for (const node of configuration.nodes) {
      if (node.id !== this.nodeId) this.#peer(node.id);
    }
    const parents = this.#divide(configuration.shards);
    for (const id of this.#beats.held) this.#shardOf(configuration.shards[id] as ShardRecord);
    for (const shard of this.#allShards) {
      const record = configuration.shards[shard.id];
      if (record === undefined) continue;
      const wasMember = shard.isMember;
      if (record.epoch > shard.epoch) this.#installEpoch(shard, record);
      else {
        if (record.replicas.join() !== shard.record.replicas.join()) shard.replicasChanged(record);
        // No swap to an earlier version can take place any more.
        const { unsettledSplit } = shard;
        if (unsettledSplit !== undefined && unsettledSplit.version <= configuration.version) {
          shard.unsettledSplit = undefined;
        }
      }
      for (const child of parents.get(shard) ?? []) {
        const { firstSlot, lastSlot } = child.record;
        const isMeant = (request: Request): boolean | undefined => {
          const slots = child.machine.slotsOf(request);
          if (slots === undefined) return undefined;
          if (slots.firstSlot >= firstSlot && slots.lastSlot <= lastSlot) return true;
          return slots.firstSlot > lastSlot || slots.lastSlot < firstSlot ? false : undefined;
        };
        shard.courier.giveTo(child.courier, isMeant, wasMember && shard.isMember);
      }
    }
    const isKnown = ({ shard, epoch }: ShardMessage): boolean =>
      this.#shards[shard] !== undefined || epoch <= (configuration.shards[shard]?.epoch ?? -1);
    for (const { from, message } of this.#early.take(isKnown)) {
      this.#shards[message.shard]?.receive(from, message);
    }
    this.beatSoon();
  }

  /**
   * R16: shards that are new in the document, in place of slots that a shard here had so far, come out of that one, with all
   * that it holds. Several divisions that this node has missed are made up for at once.
   * @returns the new shards by the one that they came out of.
   */
  #divide(records: readonly ShardRecord[]): ReadonlyMap<Shard, readonly Shard[]> {
    const parents = new Map<Shard, Shard[]>();
    for (const record of records) if (this.#restored.has(record.id)) this.#shardOf(record);
    for (const { id, lastSlot: last } of records) {
      const parent = this.#shards[id];
      if (parent === undefined || parent.record.lastSlot <= last) continue;
      const { firstSlot, lastSlot } = parent.record;
      const children = records
        .filter((record) => this.#shards[record.id] === undefined)
        .filter((record) => record.firstSlot > firstSlot && record.lastSlot <= lastSlot)
        .sort((a, b) => b.firstSlot - a.firstSlot);
      parents.set(
        parent,
        children.map((record) => this.#divideOff(parent, record)),
      );
      if (parent.record.lastSlot > last) parent.discardFrom(last + 1);
    }
    return parents;
  }

  /** A shard on the disk is not what the document's is, nor what that was before it was divided: it was divided since. */
  #isOlderThanDisk({ shards }: Configuration): boolean {
    return [...this.#restored].some(([id, { log }]) => {
      const record = shards[id];
      const { firstSlot, lastSlot } = log.checkpoint;
      return record === undefined || record.firstSlot !== firstSlot || record.lastSlot > lastSlot;
    });
  }

  #divideOff(parent: Shard, record: ShardRecord): Shard {
    // Whatever lies behind has a shard here already.
    if (parent.record.lastSlot > record.lastSlot) parent.discardFrom(record.lastSlot + 1);
    const part = parent.machine.divide(record.firstSlot);
    const isPrefix = parent.learner.isIntact;
    if (!isPrefix) part.clear();
    const child = new Shard(this, record, () =>
      isPrefix ? part : this.#createStateMachine(record),
    );
    this.#add(child);
    parent.giveTo(child);
    return child;
  }

  #shardOf(record: ShardRecord): Shard {
    const known = this.#shards[record.id];
    if (known !== undefined) return known;
    const restored = this.#restored.get(record.id);
    const shard = new Shard(
      this,
      record,
      () => restored?.machine ?? this.#createStateMachine(record),
    );
    if (restored !== undefined) shard.restore(restored.log);
    this.#add(shard);
    return shard;
  }

  /** A shard that this node does not hold, for its clients' commands; undefined if there is none. */
  #routeTo(id: ShardId): Shard | undefined {
    const record = this.#configuration?.shards[id];
    if (record === undefined) return undefined;
    const shard = this.#shardOf(record);
    if (record.epoch > 0) shard.install(record);
    return shard;
  }

  #add(shard: Shard): void {
    this.#shards[shard.id] = shard;
    this.#allShards.push(shard);
  }

  #installEpoch(shard: Shard, record: ShardRecord): void {
    const before = shard.record;
    const isIn = new Set(record.inSync.map((member) => `${member.node}:${member.incarnation}`));
    const removed = before.inSync
      .filter((member) => !isIn.has(`${member.node}:${member.incarnation}`))
      .map((member) => member.node);
    this.#noteFailover(shard, record, removed);
    for (const node of removed) this.#noteRemoval(shard.id, node);
    for (const { node } of record.inSync) {
      if (!before.inSync.some((member) => member.node === node)) {
        this.#inSyncSinceMs.set(keyOf(shard.id, node), this.now.monoMs);
      }
    }
    for (const { node } of before.inSync) this.#suspected.delete(keyOf(shard.id, node));
    this.counters.epochs += 1;
    shard.install(record);
    this.emit({
      kind: "epoch",
      shard: shard.id,
      epoch: record.epoch,
      primary: record.primary,
      inSync: record.inSync.map((member) => member.node),
      removed,
    });
  }

  /** A member that is removed again and again has to wait longer each time (R9). */
  #noteRemoval(shard: ShardId, node: NodeId): void {
    const key = keyOf(shard, node);
    const { monoMs } = this.now;
    const stayedMs = monoMs - (this.#inSyncSinceMs.get(key) ?? Number.NEGATIVE_INFINITY);
    const isSteady = stayedMs > 10 * this.settings.leaseMs;
    const count = isSteady ? 0 : (this.#removals.get(key)?.count ?? 0) + 1;
    this.#removals.set(key, { count, atMs: monoMs });
  }

  #noteFailover(shard: Shard, record: ShardRecord, removed: readonly NodeId[]): void {
    const { monoMs } = this.now;
    // A failover leaves somebody in sync. Who was not may have missed epochs, and a restart of all among them (R12).
    if (removed.length === 0 || removed.includes(this.nodeId) || !shard.isMember) return;
    let heardMs = Number.NEGATIVE_INFINITY;
    let suspected: { readonly atMs: number; readonly silentMs: number } | undefined;
    for (const node of removed) {
      heardMs = Math.max(heardMs, shard.view(node).heardMs);
      suspected = this.#suspected.get(keyOf(shard.id, node)) ?? suspected;
    }
    // A live member that is removed for its lag was not detected by its silence.
    const wasSilent = suspected !== undefined && suspected.silentMs >= this.settings.leaseMs;
    const earlier = this.#failing.get(shard.id);
    this.#failing.set(shard.id, {
      shard: shard.id,
      epoch: record.epoch,
      removed,
      oldPrimary: shard.record.primary,
      newPrimary: record.primary,
      detectionMs: wasSilent ? suspected?.silentMs : undefined,
      reconfigurationMs: suspected === undefined ? 0 : monoMs - suspected.atMs,
      fromMs: earlier?.fromMs ?? Math.max(heardMs, shard.lastCommitMs),
    });
  }

  #noteRecovery(shard: Shard): void {
    const failing = this.#failing.get(shard.id);
    if (failing === undefined || !shard.serves) return;
    this.#failing.delete(shard.id);
    const { fromMs, ...rest } = failing;
    const gapMs = this.now.monoMs - fromMs;
    const failover: Failover = { ...rest, gapMs, atWallMs: this.now.wallMs };
    this.counters.failovers += 1;
    this.#failovers.push(failover);
    if (this.#failovers.length > FAILOVERS_KEPT) this.#failovers.shift();
    this.emit({ kind: "failover", failover });
  }

  // ---------------------------------------------------------------- heartbeats (R5)

  #sendHeartbeat(to: NodeId): void {
    const peer = this.#peer(to);
    if (peer.incarnation === undefined) return;
    const shards: ShardBeat[] = [];
    for (const id of this.#beats.neighbours.get(to) ?? []) {
      const shard = this.#shards[id];
      if (shard !== undefined && shard.epoch > 0) shards.push(shard.beatFor(to));
    }
    this.send(to, {
      kind: "heartbeat",
      fromIncarnation: this.incarnation,
      toIncarnation: peer.incarnation,
      sentAtMs: this.now.monoMs,
      echoMs: peer.newestSentMs,
      wallMs: this.now.wallMs,
      version: this.#configuration?.version ?? 0,
      shards,
    });
  }

  /** Whether the peer has heard this node lately, by how often it hears it at all. */
  #isHeardBy(node: NodeId): boolean {
    const { leaseMs, heartbeatMs } = this.settings;
    const patienceMs = leaseMs + this.beatMs(node) - heartbeatMs;
    return this.now.monoMs - this.#peer(node).echoedMs < patienceMs;
  }

  #onHeartbeat(from: NodeId, beat: Heartbeat): void {
    const peer = this.#peer(from);
    if (beat.toIncarnation !== this.incarnation || beat.fromIncarnation !== peer.incarnation)
      return;
    peer.heardMs = this.now.monoMs;
    const version = this.#configuration?.version ?? 0;
    if (beat.version > version) this.askConfiguration(from);
    // One that is no neighbour would hear of the newer one only later.
    else if (beat.version < version && !this.#beats.neighbours.has(from)) this.beatSoon(from);
    const isNewest = beat.sentAtMs > peer.newestSentMs;
    if (isNewest) peer.newestSentMs = beat.sentAtMs;
    const echoMs = beat.echoMs <= this.now.monoMs ? beat.echoMs : -1;
    peer.echoedMs = Math.max(peer.echoedMs, echoMs);
    const at = { incarnation: beat.fromIncarnation, isNewest, echoMs, wallMs: beat.wallMs };
    for (const shardBeat of beat.shards) {
      const shard = this.#shards[shardBeat.shard];
      if (shard === undefined) continue;
      shard.onBeat(from, shardBeat, at);
      this.#noteRecovery(shard);
    }
  }

  // ---------------------------------------------------------------- proposals (R6, R14)

  #propose(): void {
    const configuration = this.#configuration;
    if (configuration === undefined || !this.#swaps.mayPropose) return;
    const nodes = new Map<NodeId, NodeRecord>();
    const own = this.#own;
    if (own !== undefined && own.incarnation !== this.incarnation) {
      nodes.set(own.id, { ...own, incarnation: this.incarnation });
      this.#swaps.propose(
        withRecords(configuration, new Map(), nodes),
        "registers this node's start",
      );
      return;
    }
    if (canForm(configuration)) {
      const isFirst = configuration.nodes.every((node) => node.id >= this.nodeId);
      if (isFirst)
        this.#swaps.propose(withRecords(configuration, formed(configuration)), "forms the cluster");
      return;
    }
    const reasons = new Set<string>();
    const edited = new Map<ShardId, ShardRecord>();
    let counts: Map<NodeId, number> | undefined;
    this.#fit.clear();
    let addedShards = 0;
    for (const shard of this.#allShards) {
      if (!shard.isHolder) continue;
      const { record } = shard;
      const next = shard.isMember
        ? this.#proposalFor(shard, () => counts ?? this.#countPrimaries(configuration), reasons)
        : this.#recoveryOf(shard, reasons);
      if (next === undefined) continue;
      edited.set(record.id, next);
      const at = next.lastSlot + 1;
      if (at <= record.lastSlot) {
        const added = configuration.shards.length + addedShards;
        addedShards += 1;
        edited.set(added, divided(record, at, added).added);
      }
      counts ??= new Map(this.#countPrimaries(configuration));
      counts.set(record.primary, (counts.get(record.primary) ?? 0) - 1);
      counts.set(next.primary, (counts.get(next.primary) ?? 0) + 1);
    }
    for (const learner of this.#fitSinceMs.keys()) {
      if (!this.#fit.has(learner)) this.#fitSinceMs.delete(learner);
    }
    if (edited.size > 0)
      this.#swaps.propose(withRecords(configuration, edited), [...reasons].join(", "));
    else if (this.#swaps.hasFences) {
      // One that was to be removed is heard again; only another swap tells that the removal will not come late.
      this.#swaps.propose(withRecords(configuration, edited), "settles an earlier proposal");
    }
  }

  #countPrimaries({ shards }: Configuration): ReadonlyMap<NodeId, number> {
    this.#primaryCounts ??= primaryCounts(shards);
    return this.#primaryCounts;
  }

  /** The next epoch that this node wants for a shard, or undefined. @param counts of each node's primaries. */
  #proposalFor(
    shard: Shard,
    counts: () => ReadonlyMap<NodeId, number>,
    reasons: Set<string>,
  ): ShardRecord | undefined {
    const removed = this.#ripeRemovals(shard);
    if (removed.size > 0) {
      const primary = this.#primaryWithout(shard, removed, counts());
      reasons.add(`removes ${[...removed].join(" ")}`);
      return withoutMembers(shard.record, removed, primary);
    }
    if (!shard.isProven && this.mutant !== "unproven-acts") return undefined;
    if (shard.isLeaving) return this.#farewell(shard, counts(), reasons);
    if (!shard.isPrimary || !shard.isStarted) return undefined;
    const promoted = this.#promotion(shard);
    if (promoted !== undefined) {
      reasons.add("promotes a learner");
      return promoted;
    }
    return this.#handoverOf(shard, reasons);
  }

  /** R12: nobody in sync is left; this node goes on with what it holds, if that is the most. */
  #recoveryOf(shard: Shard, reasons: Set<string>): ShardRecord | undefined {
    if (this.isDraining) return undefined;
    const next = shard.recovery.proposal();
    if (next !== undefined) reasons.add("goes on after a restart of all");
    return next;
  }

  /** Who may be removed, once the wait is over that grows with the number of members out of reach (R6). */
  #ripeRemovals(shard: Shard): ReadonlySet<NodeId> {
    const removable = shard.suspicion.removable();
    const { monoMs } = this.now;
    const { heartbeatMs } = this.settings;
    let sinceMs = monoMs;
    let unreachable = 0;
    for (const { node } of shard.otherMembers) {
      const silentMs = monoMs - shard.view(node).heardMs;
      if (removable.has(node) || silentMs > 2.5 * heartbeatMs) unreachable += 1;
      if (!removable.has(node)) {
        if (this.#suspected.size > 0) this.#suspected.delete(keyOf(shard.id, node));
        continue;
      }
      const key = keyOf(shard.id, node);
      const first = this.#suspected.get(key);
      if (first !== undefined) {
        sinceMs = Math.min(sinceMs, first.atMs);
        continue;
      }
      this.#suspected.set(key, { atMs: monoMs, silentMs });
      this.counters.suspicions += 1;
      this.emit({ kind: "suspected", node, shards: [shard.id], silentMs });
    }
    const isHasty = this.mutant === "no-back-off";
    // Who hears none of several is more likely cut off or deaf itself than the last one alive: the others come first.
    const isAlone = unreachable > 1 && unreachable === shard.otherMembers.length;
    const aloneMs = isAlone ? this.settings.leaseMs * (1 + this.settings.driftBound) : 0;
    const waitMs = isHasty ? 0 : Math.max(0, unreachable - 1) * 2 * heartbeatMs + aloneMs;
    return monoMs - sinceMs >= waitMs ? removable : new Set();
  }

  #primaryWithout(
    shard: Shard,
    removed: ReadonlySet<NodeId>,
    counts: ReadonlyMap<NodeId, number>,
  ): NodeId {
    const { record } = shard;
    if (!removed.has(record.primary)) return record.primary;
    const others = shard.provenOthers;
    const proven = shard.holders.filter(
      (node) => !removed.has(node) && (node === this.nodeId || others.includes(node)),
    );
    const saving = proven.filter((node) => !this.#lacksDisk(shard, node));
    return heirAmong(saving.length > 0 ? saving : proven, record, counts) ?? this.nodeId;
  }

  #lacksDisk(shard: Shard, node: NodeId): boolean {
    return node === this.nodeId ? this.lacksDisk : shard.view(node).lacksDisk;
  }

  /** A draining node takes itself out, when the others have all that it ordered and it serves nothing more (R14). */
  #farewell(
    shard: Shard,
    counts: ReadonlyMap<NodeId, number>,
    reasons: Set<string>,
  ): ShardRecord | undefined {
    // Without fresh echoes the others may be dead, and this node the only one that holds anything.
    if (!shard.hasLease) return undefined;
    // Not all of it has to be committed: its own disk may be what failed.
    if (shard.isPrimary && (!shard.isStarted || !shard.othersHaveAll)) return undefined;
    const successors = shard.heirs;
    const { primary } = shard.record;
    const next = primary === this.nodeId ? heirAmong(successors, shard.record, counts) : primary;
    if (next === undefined || successors.length === 0) return undefined;
    reasons.add("drains this node");
    return withoutMembers(shard.record, new Set([this.nodeId]), next);
  }

  /** Nothing is left here, or nobody is there to leave it to. */
  #isDrained(): boolean {
    return this.#allShards.every(
      (shard) =>
        !shard.isMember ||
        shard.holders.every((node) => this.#peers.get(node)?.linked === undefined),
    );
  }

  /** R9: a learner that holds everything, can be heard and can hear every member, and has waited long enough. */
  #promotion(shard: Shard): ShardRecord | undefined {
    const { monoMs } = this.now;
    const { leaseMs } = this.settings;
    // A disk that failed must not keep this node from giving the shard to one whose disk works.
    if (shard.sharedSeq < shard.startSeq || shard.handover !== undefined) return undefined;
    for (const node of shard.record.replicas) {
      if (shard.record.inSync.some((member) => member.node === node) || !shard.donor.isFed(node))
        continue;
      const view = shard.view(node);
      const incarnation = this.linkedIncarnation(node);
      if (incarnation === undefined) continue;
      if (this.mutant !== "flapping-promotion") {
        const removal = this.#removals.get(keyOf(shard.id, node));
        const waitMs = removal === undefined ? 0 : Math.min(30_000, leaseMs * 2 ** removal.count);
        if (removal !== undefined && monoMs - removal.atMs < waitMs) continue;
        if (!view.ready || !view.counted || monoMs - view.echoMs >= leaseMs) continue;
        if (this.#gathers(shard, node)) continue;
      }
      return withMember(shard.record, node, incarnation);
    }
    return undefined;
  }

  /** A learner waits to be promoted in its other shards by the same swap, unless the shard needs it now. */
  #gathers(shard: Shard, learner: NodeId): boolean {
    const { monoMs } = this.now;
    const isHasty = this.mutant === "promotes-uncopied";
    if (isHasty || shard.isBelowMin || shard.record.inSync.length === 1) return false;
    this.#fit.add(learner);
    const sinceMs = this.#fitSinceMs.get(learner) ?? monoMs;
    this.#fitSinceMs.set(learner, sinceMs);
    const isLate = monoMs - sinceMs >= GATHERING_LEASES * this.settings.leaseMs;
    return !isLate && this.#copies.isFilling(learner, monoMs);
  }

  #beginHandover(shard: Shard, aim: Aim): void {
    shard.handover = { aim, startedMs: this.now.monoMs, proposedMs: undefined };
    this.#swaps.hurry();
  }

  /**
   * R14, R16: names the successor, or the new shard, once all members have everything; gives up, and orders on, if that takes
   * too long.
   */
  #handoverOf(shard: Shard, reasons: Set<string>): ShardRecord | undefined {
    const { heartbeatMs } = this.settings;
    const { monoMs } = this.now;
    if (shard.handover === undefined) this.#maybeRebalance(shard);
    const { handover } = shard;
    if (handover === undefined) return undefined;
    const { aim } = handover;
    const hasAll =
      shard.commitSeq === shard.log.lastSeq ||
      (aim.kind === "split" && this.mutant === "split-before-committed");
    const beats = handover.aim.kind === "split" ? SPLIT_BEATS : HANDOVER_BEATS;
    const isLate = monoMs - (handover.proposedMs ?? handover.startedMs) > beats * heartbeatMs;
    if (isLate && this.mutant !== "lost-transfer") {
      shard.handover = undefined;
      this.touch(shard.id);
      return undefined;
    }
    if (handover.proposedMs !== undefined && this.mutant === "lost-transfer") return undefined;
    if (!hasAll) return undefined;
    shard.handover = { ...handover, proposedMs: handover.proposedMs ?? monoMs };
    if (aim.kind === "transfer") {
      reasons.add("transfers a shard");
      return withPrimary(shard.record, aim.successor);
    }
    reasons.add("divides a shard");
    const { version } = this.#configuration ?? { version: 0 };
    shard.unsettledSplit = { at: aim.at, version: version + 1 };
    return divided(shard.record, aim.at, 0).kept;
  }

  /** Gives a shard back to its preferred primary when that has been in sync for a while (R14). */
  #maybeRebalance(shard: Shard): void {
    const { monoMs } = this.now;
    const preferred = shard.record.replicas[0];
    if (preferred === undefined || preferred === this.nodeId) return;
    const member = shard.record.inSync.find(({ node }) => node === preferred);
    if (member === undefined) return;
    const view = shard.view(preferred);
    const sinceMs = this.#inSyncSinceMs.get(keyOf(shard.id, preferred)) ?? Number.NEGATIVE_INFINITY;
    const isSteady = monoMs - sinceMs > 3 * this.settings.leaseMs;
    const isFit = shard.heirs.includes(preferred) && view.evictingSinceMs === undefined;
    if (isSteady && isFit && shard.canOrder) {
      this.#beginHandover(shard, { kind: "transfer", successor: preferred });
    }
  }

  /** Checks what must hold at any time, for tests and the simulator. */
  checkInvariants(): void {
    for (const shard of this.#allShards) {
      assert(shard.commitSeq <= shard.log.lastSeq, "what is committed is in the log");
      assert(!shard.isPrimary || shard.isMember, "a primary is in sync");
      assert(!shard.isStarted || shard.isMember, "only members start epochs");
      assert(shard.uncommittedBytes >= 0, "no entry is committed twice");
    }
  }
}

/** Of what is remembered of a shard's member. */
function keyOf(shard: ShardId, node: NodeId): string {
  return `${shard}:${node}`;
}
