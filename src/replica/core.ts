/**
 * One node's part of the replication protocol, for all of its shards: the ways in, the one way out, and what each shard asks
 * for (`Host`). What concerns the node as a whole has parts of its own: `Peers`, `Holdings`, `Proposals`, `Handovers`, `Swaps`.
 * No I/O, no clock, no randomness: time and messages come in, `drain` hands out what is to be done. The simulator runs this
 * very class.
 */

import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import type {
  Configuration,
  Incarnation,
  NodeId,
  Settings,
  ShardId,
  ShardRecord,
} from "./configuration.ts";
import { CopyTurns } from "./copy-turns.ts";
import { EarlyMessages, type ShardMessage } from "./early-messages.ts";
import { Failovers } from "./failovers.ts";
import { Handovers } from "./handovers.ts";
import { giveCommands, Holdings } from "./holdings.ts";
import { type Counters, type NodeHost, noCounts, type Unwritten } from "./host.ts";
import { Issuers } from "./issuers.ts";
import type { JournalItem } from "./journal.ts";
import { MemberHistory } from "./member-history.ts";
import type { Ack, Message } from "./messages.ts";
import type { Mutant } from "./mutants.ts";
import { isDrained, isReadyFor, shardStatus } from "./node-status.ts";
import { Peers } from "./peers.ts";
import { Promotions } from "./promotions.ts";
import { Proposals } from "./proposals.ts";
import { ReadBalancer } from "./read-balancer.ts";
import { NO_CONFIGURATION, OVERLOADED } from "./refusals.ts";
import type { Shard } from "./shard.ts";
import type {
  CoreEvent,
  CoreOptions,
  CoreSurface,
  Limits,
  NodeStatus,
  Operation,
  Output,
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

export class Core implements CoreSurface, NodeHost {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly limits: Limits;
  readonly mutant: Mutant | undefined;
  now: Time = { monoMs: 0, wallMs: 0 };
  lacksDisk = false;
  readonly counters: Counters = noCounts();

  readonly isFresh: boolean;
  readonly readBalancer: ReadBalancer;
  readonly issuers = new Issuers();
  readonly lost = new Set<NodeId>();
  journaled = 0;
  savedItems = 0;
  /** The node was told to end. */
  #isEnding = false;
  #journal: JournalItem[] = [];
  /** Whose logs have got entries that the journal does not have yet. */
  readonly #unwritten: Unwritten[] = [];
  #filling: ReadonlySet<ShardId> = new Set();
  readonly #copies: CopyTurns;

  #configuration: Configuration | undefined;
  readonly #holdings: Holdings;
  /** Of `#holdings`: by their ids, and in the order in which they came. */
  readonly #shards: Holdings["byId"];
  readonly #allShards: Holdings["all"];
  #operations = 0;

  #messages: { readonly to: NodeId; readonly message: Message }[] = [];
  /** Of this turn, with whom they are for. */
  readonly #acks: { readonly to: NodeId; acks: Ack[] }[] = [];
  #answers: { readonly operation: Operation; readonly reply: Reply }[] = [];
  #wantsConfiguration = true;
  #events: CoreEvent[] = [];
  /** Shards that have something to send or to try again, each once. */
  #touched: ShardId[] = [];
  readonly #isTouched: boolean[] = [];
  #copyTurns = 0;

  #lastTickMs: number | undefined;
  #lastReadMs = Number.NEGATIVE_INFINITY;

  readonly #early = new EarlyMessages();
  readonly #history = new MemberHistory(this);
  readonly #failovers = new Failovers(this, this.#history);
  readonly #peers: Peers;
  readonly #swaps: Swaps;
  readonly #handovers: Handovers;
  readonly #proposals: Proposals;

  constructor(options: CoreOptions) {
    this.nodeId = options.nodeId;
    this.incarnation = options.incarnation;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.mutant = options.mutant;
    this.readBalancer = new ReadBalancer(options.readPolicy ?? "least-outstanding");
    this.#copies = new CopyTurns(this.limits.copyBytesPerSecond, COPY_BURST_BYTES);
    this.isFresh = options.restored === undefined;
    this.#holdings = new Holdings(this, options);
    this.#shards = this.#holdings.byId;
    this.#allShards = this.#holdings.all;
    this.#peers = new Peers(this, this.#shards, this.#failovers);
    this.#swaps = new Swaps(this, {
      linkedPeers: () => this.#peers.linked,
      hears: (peer) => this.#peers.hears(peer),
      install: (configuration) => this.#install(configuration),
      wantConfiguration: () => {
        this.#wantsConfiguration = true;
      },
    });
    this.#handovers = new Handovers(this, this.#shards, this.#history, this.#swaps);
    this.#proposals = new Proposals(this, {
      shards: this.#allShards,
      history: this.#history,
      promotions: new Promotions(this, this.#history, this.#copies),
      handovers: this.#handovers,
      swaps: this.#swaps,
    });
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
    return this.#peers.beatMs(node);
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
    const due = this.#acks.find((each) => each.to === to);
    if (due === undefined) this.#acks.push({ to, acks: [ack] });
    else due.acks.push(ack);
  }

  answer(operation: Operation, reply: Reply): void {
    this.#operations -= 1;
    this.#answers.push({ operation, reply });
  }

  emit(event: CoreEvent): void {
    this.#events.push(event);
  }

  beatSoon(to?: NodeId): void {
    this.#peers.beatSoon(to);
  }

  askConfiguration(from: NodeId): void {
    this.#peers.askConfiguration(from);
  }

  isFenced(shard: ShardId, node: NodeId): boolean {
    return this.#swaps.isFenced(shard, node);
  }

  journal(item: JournalItem): void {
    if (this.settings.durability === "none") return;
    if (item.kind !== "entries") this.#writeEntries();
    this.journaled += 1;
    this.#journal.push(item);
  }

  writeLater(copy: Unwritten): void {
    this.#unwritten.push(copy);
  }

  #writeEntries(): void {
    for (const copy of this.#unwritten) copy.writeEntries();
    this.#unwritten.length = 0;
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
    return this.#peers.linkedIncarnation(peer);
  }

  touch(shard: ShardId): void {
    if (this.#isTouched[shard] === true) return;
    this.#isTouched[shard] = true;
    this.#touched.push(shard);
  }

  // ---------------------------------------------------------------- ways in

  connected(node: NodeId, incarnation: Incarnation, time: Time): void {
    this.now = time;
    this.#peers.connected(node, incarnation);
    for (const shard of this.#allShards) if (shard.epoch > 0) shard.connected(node);
  }

  disconnected(node: NodeId, time: Time): void {
    this.now = time;
    this.#peers.disconnected(node);
    for (const shard of this.#allShards) shard.disconnected(node);
    this.#early.disconnected(node);
    this.#swaps.disconnected(node);
  }

  receive(from: NodeId, message: Message, time: Time): void {
    this.now = time;
    switch (message.kind) {
      case "heartbeat":
        this.#peers.onHeartbeat(from, message);
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
        else if (message.epoch < epoch && !this.#peers.isNeighbour(from)) this.beatSoon(from);
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

  read(shard: ShardId, command: Command, session: number, time: Time): Reply | undefined {
    this.now = time;
    return this.#shards[shard]?.courier.read(command, session);
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
    for (const shard of this.#allShards) shard.views.endLease();
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
      this.#failovers.noteRecovery(shard);
    }
    this.#peers.tick();
    // A watch is never trusted alone.
    if (time.monoMs - this.#lastReadMs >= 20 * heartbeatMs) {
      this.#lastReadMs = time.monoMs;
      this.#wantsConfiguration = true;
    }
    this.#nextCopy();
    this.#swaps.tick();
    this.#proposals.tick();
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
    this.#unwritten.length = 0;
    for (const shard of this.#allShards) {
      shard.ownCopy.storeAnew();
      this.touch(shard.id);
    }
  }

  transfer(id: ShardId, successor: NodeId, time: Time): string | undefined {
    this.now = time;
    return this.#handovers.transfer(id, successor);
  }

  split(id: ShardId, asked: number | undefined, time: Time): string | undefined {
    this.now = time;
    return this.#handovers.split(id, asked);
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
    for (const due of this.#acks) {
      if (due.acks.length === 0) continue;
      this.send(due.to, { kind: "acks", acks: due.acks });
      due.acks = [];
    }
    this.#peers.sendDue();
    this.#writeEntries();
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

  isReady(time: Time): boolean {
    this.now = time;
    const linked = (node: NodeId): Incarnation | undefined => this.linkedIncarnation(node);
    const shards = this.#configuration?.shards;
    return shards?.every((record) => isReadyFor(record, this.#shards[record.id], linked)) ?? false;
  }

  status(time: Time): NodeStatus {
    this.now = time;
    const { version = 0, shards = [] } = this.#configuration ?? {};
    const linked = (node: NodeId): Incarnation | undefined => this.linkedIncarnation(node);
    return {
      nodeId: this.nodeId,
      incarnation: this.incarnation,
      version,
      isDrained: this.isDraining && isDrained(this.#allShards, linked),
      lacksDisk: this.lacksDisk,
      isReady: this.isReady(time),
      operations: this.#operations,
      shards: shards.map((record) => shardStatus(record, this.#shards[record.id])),
      copiesWaiting: this.#copies.waiting,
      peers: this.#peers.status,
      failovers: this.#failovers.kept,
      counters: { ...this.counters },
    };
  }

  // ---------------------------------------------------------------- configurations

  /** Takes over a later configuration; an older one than this node has seen is refused (R6). */
  #install(configuration: Configuration): void {
    const current = this.#configuration;
    if (current !== undefined && configuration.clusterId !== current.clusterId) {
      this.emit({ kind: "warning", text: "refused a configuration of another cluster" });
      return;
    }
    // Late answers are common; what is older than what this node has seen is refused whoever says it.
    if (configuration.version <= (current?.version ?? 0)) return;
    if (current === undefined && this.#holdings.isOlderThanDisk(configuration)) {
      this.emit({
        kind: "warning",
        text: "refused a configuration older than what the disk holds",
      });
      return;
    }
    this.#configuration = configuration;
    this.#proposals.installed(configuration);
    this.#swaps.installed(configuration.version);
    const held = this.#peers.installed(configuration);
    const parents = this.#holdings.divide(configuration.shards);
    for (const id of held) this.#holdings.shardOf(configuration.shards[id] as ShardRecord);
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
        giveCommands(shard, child, wasMember && shard.isMember);
      }
    }
    const isKnown = ({ shard, epoch }: ShardMessage): boolean =>
      this.#shards[shard] !== undefined || epoch <= (configuration.shards[shard]?.epoch ?? -1);
    for (const { from, message } of this.#early.take(isKnown)) {
      this.#shards[message.shard]?.receive(from, message);
    }
    this.beatSoon();
  }

  /** A shard that this node does not hold, for its clients' commands; undefined if there is none. */
  #routeTo(id: ShardId): Shard | undefined {
    const record = this.#configuration?.shards[id];
    if (record === undefined) return undefined;
    const shard = this.#holdings.shardOf(record);
    if (record.epoch > 0) shard.install(record);
    return shard;
  }

  #installEpoch(shard: Shard, record: ShardRecord): void {
    const before = shard.record;
    const isIn = new Set(record.inSync.map((member) => `${member.node}:${member.incarnation}`));
    const removed = before.inSync
      .filter((member) => !isIn.has(`${member.node}:${member.incarnation}`))
      .map((member) => member.node);
    this.#failovers.noteRemovals(shard, record, removed);
    this.#history.epochInstalled(before, record, removed);
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
