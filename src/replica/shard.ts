/**
 * One shard's protocol at one node: ordering, applying, acknowledging, committing, epochs, takeover, and feeding learners.
 * What the clients of this node asked is the courier's part. It must never order in an epoch before it has merged the
 * tail (R7), and never serve in one before it has the epoch start and a lease (R5).
 */

import type { Bytes } from "../data/bytes.ts";
import { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import {
  type Member,
  type NodeId,
  type ShardId,
  type ShardRecord,
  SLOT_COUNT,
} from "./configuration.ts";
import { Courier } from "./courier.ts";
import { Donor } from "./donor.ts";
import type { ShardMessage } from "./early-messages.ts";
import type { EntryBatch } from "./entry-batch.ts";
import type { Host } from "./host.ts";
import { Inbox } from "./inbox.ts";
import type { Checkpoint, JournalItem, RestoredLog } from "./journal.ts";
import { Learner } from "./learner.ts";
import { Log } from "./log.ts";
import type {
  Ack,
  Append,
  CopyStart,
  Entry,
  EpochStart,
  Position,
  ShardBeat,
  Stamp,
  StampRecord,
  Tail,
} from "./messages.ts";
import { PeerView } from "./peer-view.ts";
import type { Outcome, Request, StateMachine } from "./ports.ts";
import { holdersOf } from "./reconfigure.ts";
import { type Held, heldAt, Recovery } from "./recovery.ts";
import { Saving } from "./saving.ts";
import { Stamps } from "./stamps.ts";
import { Suspicion } from "./suspicion.ts";

/** Bytes of entries that one message carries at most; a stream goes on with the next. */
const MESSAGE_BYTES = 1 << 20;
/** Keys that one tick expires at most. */
const EXPIRED_PER_TICK = 64;

/** What a primary stops ordering for, to change its epoch on purpose. */
export type Aim =
  | { readonly kind: "transfer"; readonly successor: NodeId }
  /** R16; `at` is the first slot of the new shard. */
  | { readonly kind: "split"; readonly at: number };

interface Handover {
  readonly aim: Aim;
  readonly startedMs: number;
  /** When the swap was asked for; undefined while the successor is not ready. */
  proposedMs: number | undefined;
}

export class Shard {
  readonly id: ShardId;
  record: ShardRecord;
  /** Nodes that hold a copy, or shall hold one: the replicas, then members that are to go. */
  holders: readonly NodeId[] = [];
  /** This node is one of them. */
  isHolder = false;
  readonly log = new Log();
  readonly courier: Courier;
  readonly donor: Donor;
  readonly learner: Learner;
  readonly recovery: Recovery;
  readonly suspicion: Suspicion;
  readonly #inbox: Inbox;
  readonly #host: Host;
  readonly #createMachine: () => StateMachine;
  #machine: StateMachine | undefined;
  readonly #saving = new Saving();
  readonly #stamps = new Stamps();

  /** In-sync in the installed epoch, with a log that is a prefix of the shard's. */
  isMember = false;
  isPrimary = false;
  /** The epoch start has been received (or, at the primary, sent) and everything before it. */
  isStarted = false;
  /** Last seq before the epoch's own entries; -1 before the epoch start. */
  startSeq = -1;
  /** The last epoch that was started here: proven if not below the membership's `since` (R6). */
  startedEpoch = 0;
  /** Invariant: never shrinks while the state is a prefix of the shard's history. */
  commitSeq = 0;
  /** The lease holds before this own time. */
  leaseUntilMs = Number.NEGATIVE_INFINITY;
  /** Nothing before this own time counts towards a suspicion: the node has only been proven since. */
  provenSinceMs = 0;
  readonly views = new Map<NodeId, PeerView>();
  /** Members that the primary cannot begin with: their log is no prefix, or needs what is cut. */
  readonly unfit = new Set<NodeId>();
  handover: Handover | undefined;
  /** The shard may have been divided at the slot `at`, by the swap to `version`, of which nothing is known yet (R16). */
  unsettledSplit: { readonly at: number; readonly version: number } | undefined;
  lastCommitMs = Number.NEGATIVE_INFINITY;
  uncommittedBytes = 0;

  #otherMembers: readonly Member[] = [];
  #positions = new Map<NodeId, Position>();
  #ackDue = false;
  /** The disk, if there is one, holds the state or is about to; entries go on from there. */
  #isStored = false;
  #installedMs = 0;
  #askedPositionMs = Number.NEGATIVE_INFINITY;
  /** The primary's wall clock as last seen, and when (R11). */
  #wallMs = 0;
  #wallSeenMs = 0;

  /** @param createMachine called once, when there is something to hold: a node that only asks others needs none. */
  constructor(host: Host, record: ShardRecord, createMachine: () => StateMachine) {
    this.#host = host;
    this.#createMachine = createMachine;
    this.id = record.id;
    this.record = { ...record, epoch: 0, inSync: [] };
    this.courier = new Courier(host, this);
    this.#inbox = new Inbox(host, this);
    this.donor = new Donor(host, this);
    this.learner = new Learner(host, this);
    this.recovery = new Recovery(host, this);
    this.suspicion = new Suspicion(host, this);
  }

  /** The shard's state. */
  get machine(): StateMachine {
    this.#machine ??= this.#createMachine();
    return this.#machine;
  }

  get epoch(): number {
    return this.record.epoch;
  }

  get isAsync(): boolean {
    return this.#host.settings.replication === "async";
  }

  /** In-sync members other than this node. */
  get otherMembers(): readonly Member[] {
    return this.#otherMembers;
  }

  /** This node's membership, if it is in sync. */
  get membership(): Member | undefined {
    if (!this.isMember) return undefined;
    return this.record.inSync.find((member) => member.node === this.#host.nodeId);
  }

  /** Whether this node may propose, be named primary and be a source (R6). */
  get isProven(): boolean {
    const { membership } = this;
    if (membership === undefined) return false;
    const since = this.#host.mutant === "proven-anew" ? this.epoch : membership.since;
    return this.startedEpoch >= since;
  }

  /** R5: every other in-sync member has echoed a send time less than a lease ago. */
  get hasLease(): boolean {
    if (this.#host.mutant === "no-lease") return this.isMember;
    return this.isMember && this.#host.now.monoMs < this.leaseUntilMs;
  }

  get isStartCommitted(): boolean {
    return this.isStarted && this.commitSeq >= this.startSeq;
  }

  get serves(): boolean {
    return this.isMember && this.isStartCommitted && this.hasLease && !this.isLeaving;
  }

  /** In-sync members that are known to be proven, this node aside, in the order of the shard's replicas. */
  get provenOthers(): readonly NodeId[] {
    return this.holders.filter((node) => {
      const member = this.#otherMembers.find((candidate) => candidate.node === node);
      return member !== undefined && this.view(node).startedEpoch >= member.since;
    });
  }

  /** Everything up to it is at every in-sync member: committed, but for what this node's own disk may lack. */
  get sharedSeq(): number {
    if (this.#host.mutant === "waits-for-its-disk") return this.commitSeq;
    const acknowledged = this.#otherMembers.map(({ node }) => this.view(node).ackSeq);
    return Math.max(this.commitSeq, Math.min(this.log.lastSeq, ...acknowledged));
  }

  /** Every other in-sync member has acknowledged, in this epoch, all that the log holds. */
  get othersHaveAll(): boolean {
    const { lastSeq } = this.log;
    if (this.#host.mutant === "leaves-when-saved") return this.commitSeq === lastSeq;
    return this.#otherMembers.every(({ node }) => this.view(node).ackSeq >= lastSeq);
  }

  /** Those of the proven members whose disks have not failed: the shard can be left to them. */
  get heirs(): readonly NodeId[] {
    const { mutant } = this.#host;
    return this.provenOthers.filter(
      (node) => !this.view(node).lacksDisk || mutant === "leaves-to-the-diskless",
    );
  }

  /** The node drains, or lags, and has someone to leave the shard to; until then it serves on. */
  get isLeaving(): boolean {
    if (this.#host.mutant === "leaves-to-nobody") return this.#host.isDraining;
    return (this.#host.isDraining || this.suspicion.isLagging) && this.heirs.length > 0;
  }

  /** No in-sync member has a disk that works, so a write would not be what the cluster's durability says. */
  get isDiskless(): boolean {
    const { lacksDisk } = this.#host;
    return lacksDisk && this.#otherMembers.every(({ node }) => this.view(node).lacksDisk);
  }

  /** Whether the primary may order now. */
  get canOrder(): boolean {
    return (
      this.isPrimary &&
      this.isStarted &&
      this.handover === undefined &&
      !this.isLeaving &&
      this.hasLease &&
      (this.uncommittedBytes < this.#host.limits.uncommittedBytesMax ||
        this.#host.mutant === "no-backpressure")
    );
  }

  /** Whether commands can be sent to the primary now: not before this node has its epoch's start (R10). */
  get canForward(): boolean {
    const { primary } = this.record;
    if (this.epoch === 0 || primary === this.#host.nodeId) return false;
    if (this.isMember && !this.isStarted) return false;
    const incarnation = this.#host.linkedIncarnation(primary);
    return incarnation !== undefined && incarnation === this.#incarnationOfMember(primary);
  }

  get readTargets(): readonly NodeId[] {
    if (this.isMember) return [];
    return this.#otherMembers.flatMap(({ node, incarnation }) =>
      this.#host.linkedIncarnation(node) === incarnation ? [node] : [],
    );
  }

  get isBelowMin(): boolean {
    return this.record.inSync.length < this.#host.settings.minInSync;
  }

  /** The primary's wall clock now, as far as this node can tell; a new primary's goes on from the last one's (R11). */
  get wallMs(): number {
    const { now } = this.#host;
    const { mutant } = this.#host;
    if (this.#wallMs === 0 || mutant === "backup-expires") return now.wallMs;
    if (this.isPrimary && mutant === "sets-back-the-clock") return now.wallMs;
    const seenMs = this.#wallMs + (now.monoMs - this.#wallSeenMs);
    return this.isPrimary ? Math.max(now.wallMs, seenMs) : seenMs;
  }

  /** A replica that is not in sync holds all there is, on its disk too if need be, and has a fresh echo of every member. */
  get isReady(): boolean {
    return this.learner.isWhole && this.ownSeq >= 0 && this.#host.now.monoMs < this.leaseUntilMs;
  }

  /** What this node may acknowledge: all that it holds, or under `fsync` what is on its disk. */
  get ownSeq(): number {
    const waits =
      this.#host.settings.durability === "fsync" && this.#host.mutant !== "acks-before-disk";
    return waits ? this.#saving.seq : this.log.lastSeq;
  }

  #incarnationOfMember(node: NodeId): number | undefined {
    return this.record.inSync.find((member) => member.node === node)?.incarnation;
  }

  view(node: NodeId): PeerView {
    let view = this.views.get(node);
    if (view === undefined) {
      view = new PeerView(this.#host.now.monoMs);
      this.views.set(node, view);
    }
    return view;
  }

  // ---------------------------------------------------------------- epochs (R6, R7)

  /** Installs a later epoch: from here on nothing of the one before is accepted. */
  install(record: ShardRecord): void {
    assert(record.epoch > this.epoch, "epochs grow");
    const host = this.#host;
    const wasMember = this.isMember;
    const isListed = record.inSync.some(
      (member) => member.node === host.nodeId && member.incarnation === host.incarnation,
    );
    if (this.isPrimary) this.seeWall(this.wallMs);
    const staysPrimary = host.mutant === "two-primaries" && this.isPrimary;
    this.record = record;
    this.holders = holdersOf(record);
    this.isHolder = this.holders.includes(host.nodeId);
    this.isMember = isListed && this.learner.isIntact;
    this.isPrimary = this.isMember && (record.primary === host.nodeId || staysPrimary);
    this.isStarted = false;
    this.startSeq = -1;
    this.#otherMembers = record.inSync.filter((member) => member.node !== host.nodeId);
    this.unfit.clear();
    this.handover = undefined;
    this.unsettledSplit = undefined;
    this.donor.epochInstalled();
    this.learner.reset();
    this.recovery.epochInstalled();
    this.#saving.reset();
    this.suspicion.epochInstalled();
    this.#ackDue = false;
    this.#installedMs = host.now.monoMs;
    this.#askedPositionMs = host.now.monoMs;
    this.#inbox.epochInstalled();
    for (const [node, position] of this.#positions) {
      if (position.epoch !== record.epoch) this.#positions.delete(node);
    }
    const views = new Map(this.views);
    this.views.clear();
    for (const node of this.holders) {
      if (node === host.nodeId) continue;
      const view = this.view(node);
      view.startedEpoch = views.get(node)?.startedEpoch ?? 0;
      view.lacksDisk = views.get(node)?.lacksDisk ?? false;
      if (host.mutant === "acks-of-any-epoch") view.ackSeq = views.get(node)?.ackSeq ?? 0;
      if (host.mutant === "echo-of-any-epoch") {
        view.echoMs = views.get(node)?.echoMs ?? Number.NEGATIVE_INFINITY;
        view.echoes = true;
      }
    }
    this.#updateLease();
    if (this.isHolder) host.beatSoon();
    else this.#forget();
    host.touch(this.id);
    this.courier.epochInstalled(wasMember && this.isMember);
    if (this.isPrimary) this.maybeBegin();
    else if (isListed) this.sendPosition(record.primary);
    if (host.mutant === "skips-epoch-start" && this.isMember && !this.isStarted) {
      this.startSeq = this.log.lastSeq;
      this.#becomeStarted();
    }
  }

  /**
   * Gives a shard that this one is divided into all that is known of its slots: their state, and a log of its own, which is
   * this one's so far (R16). To be called before the next epoch of this one is installed.
   */
  giveTo(child: Shard): void {
    const at = child.record.firstSlot;
    this.record = { ...this.record, lastSlot: at - 1 };
    if (this.isPrimary) this.seeWall(this.wallMs);
    child.#wallMs = this.#wallMs;
    child.#wallSeenMs = this.#wallSeenMs;
    if (!this.learner.isIntact) return;
    child.log.inherit(this.log);
    const { mutant } = this.#host;
    child.#stamps.reset(mutant === "split-forgets-stamps" ? [] : this.#stamps.records());
    child.isMember = this.isMember;
    child.startedEpoch = this.startedEpoch;
    child.provenSinceMs = this.provenSinceMs;
    child.commitSeq = this.commitSeq;
    child.lastCommitMs = this.lastCommitMs;
    child.uncommittedBytes = this.uncommittedBytes;
    for (const [node, { startedEpoch }] of this.views) child.view(node).startedEpoch = startedEpoch;
    if (!this.#isStored) return;
    child.#isStored = true;
    this.#host.journal({ kind: "divided", shard: this.id, into: child.id, at });
  }

  /** Forgets the slots from `at` on, which are another shard's that this node has by itself. */
  discardFrom(at: number): void {
    this.machine.divide(at).clear();
    this.record = { ...this.record, lastSlot: at - 1 };
  }

  /** Takes over other replicas of the same epoch, which an administrator has named: who is in sync changes later. */
  replicasChanged(record: ShardRecord): void {
    assert(record.epoch === this.epoch, "another epoch has to be installed");
    const before = this.holders;
    this.record = record;
    this.holders = holdersOf(record);
    this.isHolder = this.holders.includes(this.#host.nodeId);
    for (const node of before) {
      if (this.holders.includes(node)) continue;
      this.views.delete(node);
      this.donor.drop(node);
    }
    if (!this.isHolder) this.#forget();
    this.#host.beatSoon();
    this.#host.touch(this.id);
  }

  /** What a node holds of a shard that is none of its business is of no use to anyone. */
  #forget(): void {
    if (this.log.lastSeq === 0 && this.learner.isIntact) return;
    this.#clear();
    this.learner.isIntact = true;
    this.learner.reset();
    this.#journalVoid();
  }

  #clear(): void {
    this.machine.clear();
    this.log.reset(0, []);
    this.commitSeq = 0;
    this.uncommittedBytes = 0;
    this.startedEpoch = 0;
    this.#stamps.reset([]);
  }

  /** Tells another replica where this one stands. A member that tells its primary has the stream (re)begun from there. */
  sendPosition(to: NodeId): void {
    if (to === this.record.primary) this.#askedPositionMs = this.#host.now.monoMs;
    this.#host.send(to, this.position());
  }

  /** Where this replica stands. */
  position(): Position {
    return {
      kind: "position",
      shard: this.id,
      epoch: this.epoch,
      isListed: this.#isListedNow(),
      isUsable: this.learner.isIntact,
      isFresh: this.#host.isFresh,
      lastSeq: this.log.lastSeq,
      lastEpoch: this.log.lastEpoch,
      startedEpoch: this.startedEpoch,
    };
  }

  #onPosition(from: NodeId, position: Position): void {
    if (position.epoch < this.epoch) return;
    if (position.epoch === this.epoch) this.recovery.heard(from, position);
    if (!position.isListed) {
      const isMember = this.#otherMembers.some((member) => member.node === from);
      if (position.epoch > this.epoch || !this.isPrimary || !this.isStarted || isMember) return;
      this.donor.offer(from, position);
      return;
    }
    this.#positions.set(from, position);
    if (position.epoch > this.epoch || !this.isPrimary) return;
    if (this.isStarted) this.#beginStream(from, position);
    else this.maybeBegin();
  }

  /** At the primary of a new epoch: merges the tail of the members' logs, then begins to order. */
  maybeBegin(): boolean {
    if (!this.isPrimary || this.isStarted || this.unfit.size > 0) return false;
    let highest: Position | undefined;
    let source: NodeId = "";
    for (const member of this.#otherMembers) {
      const position = this.#positions.get(member.node);
      if (position === undefined) {
        if (this.#host.mutant === "two-primaries") continue;
        return false;
      }
      const isProven =
        position.startedEpoch >= member.since || this.#host.mutant === "unproven-acts";
      if (isProven && position.lastSeq > (highest?.lastSeq ?? this.log.lastSeq)) {
        highest = position;
        source = member.node;
      }
    }
    if (highest !== undefined && this.#host.mutant !== "skips-tail") {
      this.#host.send(source, {
        kind: "fetch",
        shard: this.id,
        epoch: this.epoch,
        fromSeq: this.log.lastSeq,
      });
      return false;
    }
    for (const member of this.#otherMembers) {
      const position = this.#positions.get(member.node);
      if (position !== undefined && !this.canFeed(position)) this.unfit.add(member.node);
    }
    if (this.unfit.size > 0 && this.#host.mutant !== "skips-tail") return false;
    this.startSeq = this.log.lastSeq;
    this.#becomeStarted();
    for (const member of this.#otherMembers) {
      const position = this.#positions.get(member.node);
      if (position !== undefined) this.#beginStream(member.node, position);
    }
    return true;
  }

  /** What this replica holds, for comparison with others; undefined while a copy is under way. */
  get holds(): Held | undefined {
    return heldAt(this.position());
  }

  /** The other's log is a prefix of this one's (R8), and what follows it is still held. */
  canFeed(position: Position): boolean {
    return (
      position.isUsable &&
      position.lastSeq + 1 >= this.log.firstSeq &&
      (this.log.epochAt(position.lastSeq) === position.lastEpoch ||
        (this.#host.mutant === "trusts-old-logs" && position.lastSeq <= this.log.lastSeq))
    );
  }

  #beginStream(to: NodeId, position: Position): void {
    if (!this.#otherMembers.some((member) => member.node === to)) return;
    const view = this.view(to);
    // It may have acknowledged more since it told its position, and what it lacked then may be cut by now.
    const fromSeq = Math.max(position.lastSeq, view.ackSeq);
    const canGoOn = fromSeq > position.lastSeq || this.canFeed(position);
    if (!canGoOn && this.#host.mutant !== "skips-tail") {
      this.unfit.add(to);
      return;
    }
    this.unfit.delete(to);
    this.#host.send(to, {
      kind: "epoch-start",
      shard: this.id,
      epoch: this.epoch,
      startSeq: this.startSeq,
      fromSeq,
      wallMs: this.wallMs,
    });
    view.sentSeq = fromSeq;
    view.ackMovedMs = this.#host.now.monoMs;
    this.#host.touch(this.id);
  }

  #becomeStarted(): void {
    const { membership } = this;
    assert(membership !== undefined, "only a member can start an epoch");
    if (this.startedEpoch < membership.since) this.provenSinceMs = this.#host.now.monoMs;
    this.isStarted = true;
    this.startedEpoch = this.epoch;
    this.#journal({ kind: "started", shard: this.id, epoch: this.epoch });
    this.expectSaved();
    this.#ackDue = true;
    this.#host.beatSoon();
    this.#host.touch(this.id);
    if (this.#host.mutant === "start-is-committed") this.#advance(this.startSeq);
    this.maybeCommit();
  }

  #onEpochStart(from: NodeId, start: EpochStart): void {
    if (start.epoch !== this.epoch || from !== this.record.primary || !this.isMember) return;
    if (this.isPrimary) return;
    this.seeWall(start.wallMs);
    if (start.fromSeq > this.log.lastSeq) {
      this.sendPosition(from);
      return;
    }
    if (this.startSeq < 0) {
      if (this.#host.mutant === undefined) {
        assert(this.log.lastSeq <= start.startSeq, "a member's log is a prefix of its primary's");
      }
      this.startSeq = start.startSeq;
    }
    this.#maybeStarted();
  }

  #maybeStarted(): void {
    if (!this.isStarted && this.startSeq >= 0 && this.log.lastSeq >= this.startSeq) {
      this.#becomeStarted();
    }
  }

  #onTail(tail: Tail): void {
    if (tail.epoch !== this.epoch || !this.isPrimary || this.isStarted) return;
    const { entries } = tail;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries.entry(index);
      if (entry.seq === this.log.lastSeq + 1) this.#apply(entry, entries.bytes(index), SLOT_COUNT);
    }
    this.maybeBegin();
  }

  // ---------------------------------------------------------------- ordering and applying (R1, R2)

  /**
   * Runs a request at the primary. It becomes an entry if it changed something. A write that changed nothing becomes an
   * entry without effects if it cannot be answered at once: then the log remembers that it ran, and where. A read that
   * found a key past its time deletes it, and is not remembered: asked again, it has to see what its session's earlier
   * reads see then.
   * @param stamp a write's, or a forwarded read's; undefined for a read of this node.
   * @param answersAfter what else has to be committed before an answer; undefined for another node's command, which is
   *   never answered at once.
   * @returns the entry's seq, or 0 if there is none.
   */
  execute(
    request: Request,
    stamp: Stamp | undefined,
    answersAfter: number | undefined,
  ): Outcome & { readonly seq: number } {
    const seq = this.log.lastSeq + 1;
    const outcome = this.machine.run(request, seq, this.wallMs);
    if (outcome.effects.length === 0) {
      const isAnswered =
        answersAfter !== undefined &&
        Math.max(this.waitSeq(outcome.readSeq), answersAfter) <= this.commitSeq;
      if (!request.isWrite || isAnswered) return ordered(outcome, 0);
    }
    if (request.isWrite || this.#host.mutant === "remembers-reads") {
      this.#order(stamp, outcome.reply, outcome.effects);
    } else {
      this.#order(undefined, null, outcome.effects);
    }
    return ordered(outcome, seq);
  }

  /** Whether the log already holds the stamp. */
  findStamp(stamp: Stamp): ReturnType<Stamps["find"]> {
    return this.#host.mutant === "no-stamp-check" ? undefined : this.#stamps.find(stamp);
  }

  #order(stamp: Stamp | undefined, reply: Reply, effects: Effects): void {
    assert(this.isPrimary && this.isStarted, "only the primary of a started epoch orders");
    const seq = this.log.lastSeq + 1;
    this.#append({ seq, epoch: this.epoch, stamp, reply, effects });
    this.#host.counters.ordered += 1;
    this.#host.touch(this.id);
  }

  /** @param encoded the entry's bytes, if it came as such. */
  #append(entry: Entry, encoded?: Bytes): void {
    this.log.append(entry, encoded);
    this.uncommittedBytes += this.log.bytesAt(entry.seq);
    if (entry.stamp !== undefined) this.#stamps.record(entry.stamp, entry.seq, entry.reply);
    if (this.learner.isIntact && this.#host.settings.durability !== "none") {
      this.#journal({ kind: "entries", shard: this.id, entries: this.log.slice(entry.seq, 1) });
      if (this.isStarted || this.learner.isWhole) this.expectSaved();
    }
    this.#ackDue = true;
  }

  /** What the journal has by now is to be on disk before it is acknowledged. */
  expectSaved(): void {
    const { journaled, savedItems, settings } = this.#host;
    if (settings.durability !== "fsync") return;
    const saved = this.#host.isFilling(this.id) ? -1 : savedItems;
    this.#saving.expect(journaled, saved, this.log.lastSeq);
  }

  /** So many items of the journal are on disk. */
  saved(items: number): void {
    if (this.#host.isFilling(this.id) || !this.#saving.saved(items)) return;
    this.#ackDue = true;
    this.maybeCommit();
    this.#host.touch(this.id);
  }

  /** Forgets a state that is no prefix of anything, and begins empty. */
  discardUnlessIntact(): void {
    if (this.learner.isIntact) return;
    this.#clear();
    this.learner.isIntact = true;
    this.copyEnded();
  }

  /** Takes an entry that another node ordered. */
  #apply(entry: Entry, encoded: Bytes, below: number): void {
    const effects =
      below >= SLOT_COUNT || entry.effects.length === 0
        ? entry.effects
        : this.machine.effectsBelow(entry.effects, below);
    this.machine.apply(effects, entry.seq);
    this.#append(entry, encoded);
    const { stamp } = entry;
    if (
      stamp !== undefined &&
      this.isMember &&
      stamp.node === this.#host.nodeId &&
      stamp.incarnation === this.#host.incarnation
    ) {
      this.courier.ordered(stamp.counter, entry.seq, entry.reply);
    }
    this.#host.touch(this.id);
  }

  #onAppend(from: NodeId, append: Append): void {
    const { mutant } = this.#host;
    const isOfEpoch =
      append.epoch === this.epoch ||
      (append.epoch < this.epoch &&
        (mutant === "accepts-any-epoch" || (mutant === "late-answer" && !this.isStarted)));
    if (!isOfEpoch || this.isPrimary) return;
    if (append.epoch === this.epoch && from !== this.record.primary) return;
    const isFed = this.isMember
      ? this.startSeq >= 0 || append.epoch < this.epoch
      : this.learner.isFeeding;
    if (!isFed) return;
    if (append.epoch === this.epoch) {
      this.seeWall(append.wallMs);
      this.#acknowledged(this.view(from), append.ackSeq);
    }
    const { entries } = append;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries.entry(index);
      if (entry.seq <= this.log.lastSeq) continue;
      if (entry.seq > this.log.lastSeq + 1) {
        if (this.#host.mutant === "accepts-gaps") {
          this.log.reset(entry.seq - 1, this.log.epochs);
        } else {
          if (this.isMember) this.sendPosition(from);
          break;
        }
      }
      this.#apply(entry, entries.bytes(index), append.appliesBelow);
    }
    this.#maybeStarted();
    if (this.isStarted || !this.isMember)
      this.#advance(Math.min(append.commitSeq, this.log.lastSeq));
  }

  // ---------------------------------------------------------------- acknowledging and committing (R3)

  onAck(from: NodeId, { epoch, seq }: Ack): void {
    if (epoch !== this.epoch && this.#host.mutant !== "acks-of-any-epoch") return;
    this.#acknowledged(this.view(from), seq);
    // What is ordered and acknowledged in one turn is committed at its end.
    this.#host.touch(this.id);
  }

  #acknowledged(view: PeerView, seq: number): void {
    if (seq <= view.ackSeq) return;
    view.ackSeq = seq;
    view.ackMovedMs = this.#host.now.monoMs;
  }

  /** Commits what every in-sync member has acknowledged in this epoch; returns whether anything was. */
  maybeCommit(): boolean {
    if (!this.isStarted || !this.isMember) return false;
    let seq = this.ownSeq;
    const { mutant } = this.#host;
    if (mutant === "commits-by-majority") {
      const acks = this.#otherMembers.map((member) => this.view(member.node).ackSeq);
      acks.push(seq);
      acks.sort((a, b) => b - a);
      seq = acks[Math.floor(acks.length / 2)] ?? seq;
    } else if (mutant !== "commits-alone" || !this.isPrimary) {
      for (const member of this.#otherMembers) {
        const view = this.view(member.node);
        const ack =
          mutant === "arrival-is-ack" && this.isPrimary
            ? Math.max(view.ackSeq, view.sentSeq ?? 0)
            : view.ackSeq;
        if (ack < seq) seq = ack;
      }
    }
    return this.#advance(Math.min(seq, this.log.lastSeq));
  }

  #advance(seq: number): boolean {
    if (seq <= this.commitSeq) return false;
    assert(seq <= this.log.lastSeq, "only what is here can be known as committed");
    const from = this.commitSeq;
    this.commitSeq = seq;
    this.lastCommitMs = this.#host.now.monoMs;
    this.#host.counters.committed += seq - from;
    for (let at = from + 1; at <= seq; at += 1) {
      this.uncommittedBytes -= this.log.bytesAt(at);
      this.#inbox.committed(at);
      if (this.isMember) this.courier.committed(at, this.isBelowMin);
    }
    this.machine.committed(seq);
    this.#cutLog();
    this.#host.touch(this.id);
    return true;
  }

  /** Drops what nobody will ask for any more; a learner may yet ask for what it has not acknowledged. */
  #cutLog(): void {
    const { retainedBytesMax, uncommittedBytesMax } = this.#host.limits;
    const isTooMuch = this.log.bytes > retainedBytesMax + 2 * uncommittedBytesMax;
    const cut = this.donor.keptAfter(this.commitSeq, isTooMuch);
    this.log.cut(cut, retainedBytesMax);
  }

  // ---------------------------------------------------------------- what commands ask of the shard (R4, R10)

  /** The seq whose commit a read has to wait for that saw `readSeq` (R4, R7); 0 if none. */
  waitSeq(readSeq: number): number {
    if (this.isAsync) return 0;
    const { mutant } = this.#host;
    const dirty = mutant === "dirty-reads" ? 0 : readSeq;
    return Math.max(dirty, mutant === "dirty-snapshot" ? 0 : this.startSeq);
  }

  /** Whether a write concerns both sides of a slot at which the shard may be divided by now (R16). */
  wouldTear(request: Request): boolean {
    if (this.unsettledSplit === undefined || this.#host.mutant === "split-tears") return false;
    const { at } = this.unsettledSplit;
    const slots = this.machine.slotsOf(request);
    return slots === undefined || (slots.firstSlot < at && slots.lastSlot >= at);
  }

  /** A read at this replica; undefined if a key seems to be past its time and only the primary may tell (R11). */
  read(request: Request): Outcome | undefined {
    const outcome = this.machine.read(request, this.wallMs);
    if (outcome === undefined && !this.isPrimary && this.#host.mutant === "backup-expires") {
      return { reply: null, effects: Effects.NONE, readSeq: 0 };
    }
    return outcome;
  }

  /** A read of what the log says, whatever the time is: a key has not ended before its deletion is ordered. */
  readAsLogged(request: Request): Outcome | undefined {
    return this.machine.read(request, 0);
  }

  // ---------------------------------------------------------------- learners and disks (R8, R9, R12)

  /** Stamps that the log holds and that may be asked for again. */
  stampRecords(): readonly StampRecord[] {
    return this.#stamps.records();
  }

  /** At a learner: a copy begins, and nothing of what was here before is left. */
  beginCopy(start: CopyStart): void {
    this.machine.clear();
    this.log.reset(start.seq, start.epochs);
    this.commitSeq = Math.min(start.commitSeq, start.seq);
    if (this.#host.mutant === "dirty-snapshot") this.commitSeq = start.seq;
    this.uncommittedBytes = 0;
    this.startedEpoch = 0;
    this.#stamps.reset(start.stamps);
    this.seeWall(start.wallMs);
    this.#journalVoid();
  }

  /** The state is a prefix again. */
  copyEnded(): void {
    this.#isStored = true;
    this.#host.journal({ kind: "whole", shard: this.id });
    this.expectSaved();
  }

  /** What goes on from the present state; a disk that has nothing of it gets all of it first. */
  #journal(item: JournalItem): void {
    if (!this.#isStored) this.copyEnded();
    this.#host.journal(item);
  }

  #journalVoid(): void {
    if (this.#isStored) this.#host.journal({ kind: "void", shard: this.id });
    this.#isStored = false;
  }

  /** A disk in place of a broken one knows nothing of what this node holds. */
  journalAnew(): void {
    this.#saving.reset();
    if (this.learner.isIntact && this.isHolder && this.epoch > 0) this.copyEnded();
  }

  /** What goes to disk beside the keys, as of now. */
  checkpoint(): Checkpoint {
    return {
      shard: this.id,
      firstSlot: this.record.firstSlot,
      lastSlot: this.record.lastSlot,
      seq: this.log.lastSeq,
      epochs: [...this.log.epochs],
      startedEpoch: this.startedEpoch,
      stamps: this.#stamps.records(),
    };
  }

  /** Goes on from what a disk gave back; the machine holds the state as of the last entry already. */
  restore({ checkpoint, entries, startedEpoch }: RestoredLog): void {
    assert(this.epoch === 0, "a disk is read before the first epoch is installed");
    const { firstSlot, lastSlot } = checkpoint;
    this.record = { ...this.record, firstSlot, lastSlot };
    this.#isStored = true;
    this.#stamps.reset(checkpoint.stamps);
    this.startedEpoch = startedEpoch;
    const [first] = entries;
    if (first === undefined) this.log.reset(checkpoint.seq, checkpoint.epochs);
    else {
      const before = checkpoint.epochs.filter((row) => row.firstSeq < first.seq);
      this.log.reset(first.seq - 1, before);
    }
    for (const entry of entries) {
      this.log.append(entry);
      if (entry.stamp !== undefined && entry.seq > checkpoint.seq) {
        this.#stamps.record(entry.stamp, entry.seq, entry.reply);
      }
    }
    // What was committed is not known: all of it counts as dirty until the next epoch has it at all its members.
    this.commitSeq = this.log.firstSeq - 1;
    this.uncommittedBytes = this.log.bytes;
  }

  // ---------------------------------------------------------------- heartbeats (R5)

  beatFor(peer: NodeId): ShardBeat {
    const view = this.view(peer);
    return {
      shard: this.id,
      epoch: this.epoch,
      echoes:
        view.echoes &&
        view.evictingSinceMs === undefined &&
        view.deafSinceMs === undefined &&
        !this.#host.isFenced(this.id, peer),
      ackSeq: this.isStarted || this.learner.isWhole ? Math.max(0, this.ownSeq) : 0,
      commitSeq: this.commitSeq,
      startedEpoch: this.startedEpoch,
      ready: this.isReady,
      lacksDisk: this.#host.lacksDisk,
    };
  }

  /**
   * @param isNewest no heartbeat with a later send time has come from the peer.
   * @param echoMs own send time that the heartbeat echoes, already known not to be in the future; -1 if none.
   */
  onBeat(
    from: NodeId,
    beat: ShardBeat,
    at: {
      readonly incarnation: number;
      readonly isNewest: boolean;
      readonly echoMs: number;
      readonly wallMs: number;
    },
  ): void {
    if (beat.epoch > this.epoch) this.#host.askConfiguration(from);
    const memberIncarnation = this.#incarnationOfMember(from);
    const { mutant } = this.#host;
    const counts =
      (beat.epoch === this.epoch ||
        (mutant === "echo-of-any-epoch" && beat.epoch > 0 && this.epoch > 0)) &&
      (memberIncarnation === undefined ||
        memberIncarnation === at.incarnation ||
        mutant === "counts-predecessors");
    const view = this.view(from);
    if (at.isNewest) view.echoes = counts;
    if (!counts) return;
    view.heardMs = this.#host.now.monoMs;
    if (!view.counted) {
      view.counted = true;
      // The peer's lease in the new epoch waits for an echo of this very heartbeat.
      this.#host.beatSoon(from);
    }
    if (at.echoMs > view.hearsMs) {
      view.hearsMs = at.echoMs;
      view.hearsAtMs = this.#host.now.monoMs;
      view.deafSinceMs = undefined;
    }
    if (beat.echoes && at.echoMs > view.echoMs) {
      view.echoMs = at.echoMs;
      this.#updateLease();
    }
    view.startedEpoch = Math.max(view.startedEpoch, beat.startedEpoch);
    view.ready = beat.ready;
    if (at.isNewest && view.lacksDisk !== beat.lacksDisk) {
      view.lacksDisk = beat.lacksDisk;
      this.#host.touch(this.id);
    }
    if (beat.epoch === this.epoch) this.#acknowledged(view, beat.ackSeq);
    if (memberIncarnation === undefined) return;
    if (from === this.record.primary) this.seeWall(at.wallMs);
    if (beat.epoch === this.epoch) {
      if (this.isStarted) this.#advance(Math.min(beat.commitSeq, this.log.lastSeq));
      this.maybeCommit();
    }
    this.#maybeRestream(view, beat);
    this.#host.touch(this.id);
  }

  /** A member whose acknowledgements stand still behind what was sent gets the stream again from there (R7). */
  #maybeRestream(view: PeerView, beat: ShardBeat): void {
    const { now, settings } = this.#host;
    if (!this.isPrimary || !this.isStarted || view.sentSeq === undefined) return;
    if (beat.startedEpoch !== this.epoch || view.ackSeq >= view.sentSeq) return;
    if (now.monoMs - view.ackMovedMs < 4 * settings.heartbeatMs) return;
    if (view.ackSeq + 1 < this.log.firstSeq) return;
    view.sentSeq = Math.max(view.ackSeq, this.startSeq);
    view.ackMovedMs = now.monoMs;
    this.#host.counters.resent += 1;
  }

  #updateLease(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const member of this.#otherMembers) {
      oldest = Math.min(oldest, this.view(member.node).echoMs);
    }
    this.leaseUntilMs = oldest + this.#host.settings.leaseMs;
  }

  /** Ends the lease at once: the clock cannot be trusted for the time before now (R5). */
  endLease(): void {
    for (const view of this.views.values()) view.echoMs = Number.NEGATIVE_INFINITY;
    this.#updateLease();
  }

  /** Takes in the primary's wall clock (R11). */
  seeWall(wallMs: number): void {
    if (wallMs < this.#wallMs) return;
    this.#wallMs = wallMs;
    this.#wallSeenMs = this.#host.now.monoMs;
  }

  // ---------------------------------------------------------------- links, ticks, streams

  receive(from: NodeId, message: ShardMessage): void {
    switch (message.kind) {
      case "append":
        this.#onAppend(from, message);
        break;
      case "forward":
        this.#inbox.receive(from, message);
        break;
      case "answer":
        if (message.epoch === this.epoch) {
          this.courier.answered(from, message.counter, message.reply);
        }
        break;
      case "redirect":
        if (message.epoch === this.epoch) this.courier.redirected(from, message.counter);
        break;
      case "epoch-start":
        this.#onEpochStart(from, message);
        break;
      case "position":
        this.#onPosition(from, message);
        break;
      case "fetch":
        this.#onFetch(from, message.epoch, message.fromSeq);
        break;
      case "tail":
        this.#onTail(message);
        break;
      case "feed-start":
        this.learner.onFeedStart(from, message);
        break;
      case "copy-start":
        this.learner.onCopyStart(from, message);
        break;
      case "copy-chunk":
        this.learner.onCopyChunk(from, message);
        break;
      case "copy-ack":
        if (message.epoch === this.epoch)
          this.donor.acknowledged(from, message.copyId, message.index);
        break;
      default:
        break;
    }
  }

  #onFetch(from: NodeId, epoch: number, fromSeq: number): void {
    if (epoch !== this.epoch || !this.isMember || fromSeq + 1 < this.log.firstSeq) return;
    const entries = this.log.slice(fromSeq + 1, MESSAGE_BYTES);
    this.#host.send(from, { kind: "tail", shard: this.id, epoch, entries });
  }

  connected(peer: NodeId): void {
    this.courier.linkUp(peer);
    if (peer !== this.record.primary) return;
    if (this.record.inSync.some((member) => member.node === this.#host.nodeId)) {
      if (!this.isPrimary && this.#isListedNow()) this.sendPosition(peer);
    }
    this.#host.touch(this.id);
  }

  #isListedNow(): boolean {
    return this.#incarnationOfMember(this.#host.nodeId) === this.#host.incarnation;
  }

  disconnected(peer: NodeId): void {
    if (this.#host.mutant !== "accepts-gaps") this.view(peer).sentSeq = undefined;
    this.donor.drop(peer);
    this.recovery.disconnected(peer);
    this.#inbox.disconnected(peer);
    this.courier.linkDown(peer);
    if (peer === this.record.primary && !this.isMember) this.learner.reset();
  }

  tick(): void {
    const { now, settings } = this.#host;
    const patienceMs = 2 * settings.heartbeatMs;
    if (this.isPrimary && !this.isStarted && !this.maybeBegin()) {
      this.suspicion.watchStart(this.#positions, this.#installedMs);
    }
    if (
      !this.isStarted &&
      !this.isPrimary &&
      this.#isListedNow() &&
      now.monoMs - this.#askedPositionMs >= patienceMs
    ) {
      // To all: if every proven member has restarted, they have to know that this one is none (R12).
      for (const node of this.holders) this.sendPosition(node);
    }
    if (this.isHolder && !this.#host.isDraining && !this.#isListedNow() && this.epoch > 0) {
      this.learner.tick();
    }
    this.suspicion.tick();
    if (this.canOrder && !this.isDiskless) {
      const effects = this.machine.expire(this.log.lastSeq + 1, this.wallMs, EXPIRED_PER_TICK);
      if (effects.length > 0) this.#order(undefined, null, effects);
    }
    if (this.isPrimary && this.isStarted) this.donor.tick();
    this.courier.tick();
    this.#machine?.sweep();
  }

  /** Commits and sends what is due: the stream to every member and learner, and the acknowledgement to all members. */
  flush(): void {
    this.maybeCommit();
    this.#inbox.run();
    this.courier.pump();
    const isAckDue = this.#ackDue && this.isStarted && this.isMember && this.ownSeq >= 0;
    if (isAckDue) this.#ackDue = false;
    const ack = { shard: this.id, epoch: this.epoch, seq: this.ownSeq };
    for (const { node } of this.#otherMembers) {
      const isTold = this.isPrimary && this.isStarted && this.#streamTo(node);
      if (isAckDue && !isTold) this.#host.acknowledge(node, ack);
    }
    if (this.isPrimary && this.isStarted) this.donor.flush();
  }

  /** @returns whether entries were sent, and with them what this node acknowledges. */
  #streamTo(node: NodeId): boolean {
    const view = this.view(node);
    // What is cut is committed, so the member has it, whatever its last word was.
    if (view.sentSeq !== undefined) view.sentSeq = Math.max(view.sentSeq, this.log.firstSeq - 1);
    if (view.sentSeq === view.ackSeq) view.ackMovedMs = this.#host.now.monoMs;
    let isSent = false;
    while (view.sentSeq !== undefined && view.sentSeq < this.log.lastSeq) {
      const entries = this.nextEntries(view.sentSeq);
      this.sendEntries(node, entries);
      view.sentSeq += entries.length;
      isSent = true;
    }
    return isSent;
  }

  /** Entries after `seq`, as many as one message may carry. */
  nextEntries(seq: number): EntryBatch {
    return this.log.slice(seq + 1, MESSAGE_BYTES);
  }

  /** @param appliesBelow the first slot whose effects a learner is to leave out. */
  sendEntries(to: NodeId, entries: EntryBatch, appliesBelow = SLOT_COUNT): void {
    const { commitSeq, wallMs, epoch, id: shard } = this;
    const ackSeq = Math.max(0, this.ownSeq);
    this.#host.send(to, {
      kind: "append",
      shard,
      epoch,
      entries,
      appliesBelow,
      commitSeq,
      ackSeq,
      wallMs,
    });
  }
}

function ordered({ reply, effects, readSeq }: Outcome, seq: number): Outcome & { seq: number } {
  return { reply, effects, readSeq, seq };
}
