/**
 * One shard's protocol at one node: ordering, applying, acknowledging, committing, and what every command has to look at. What
 * the clients of this node asked is the courier's part; how an epoch begins, what the other replicas told, what goes to disk
 * and how learners are fed are parts of their own, which say here what comes of it. It must never order in an epoch before
 * it has merged the tail (R7), and never serve in one before it has the epoch start and a lease (R5).
 */

import type { Bytes } from "../data/bytes.ts";
import type { Command } from "../data/command.ts";
import { Effects } from "../data/effects.ts";
import { OK, type Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import {
  type Incarnation,
  type Member,
  type NodeId,
  type ShardId,
  type ShardRecord,
  SLOT_COUNT,
} from "./configuration.ts";
import { Courier } from "./courier.ts";
import { Donor } from "./donor.ts";
import type { ShardMessage } from "./early-messages.ts";
import type { Entry, Stamp } from "./entry.ts";
import type { EntryBatch } from "./entry-batch.ts";
import type { Handover } from "./handovers.ts";
import type { Host } from "./host.ts";
import { Inbox } from "./inbox.ts";
import type { Checkpoint } from "./journal.ts";
import { Learner } from "./learner.ts";
import { Log, type Stubs } from "./log.ts";
import type { Ack, Append } from "./messages.ts";
import { OwnCopy } from "./own-copy.ts";
import type { PeerView } from "./peer-view.ts";
import { PeerViews } from "./peer-views.ts";
import type { Outcome, Request, StateMachine } from "./ports.ts";
import { PrimaryClock } from "./primary-clock.ts";
import { holdersOf } from "./reconfigure.ts";
import { Recovery } from "./recovery.ts";
import { Stamps } from "./stamps.ts";
import { Suspicion } from "./suspicion.ts";
import { Takeover } from "./takeover.ts";

/** Bytes of entries that one message carries at most; a stream goes on with the next. */
const MESSAGE_BYTES = 1 << 20;
/** Keys that one tick expires at most. */
const EXPIRED_PER_TICK = 64;

export class Shard {
  readonly id: ShardId;
  record: ShardRecord;
  /** Nodes that hold a copy, or shall hold one: the replicas, then members that are to go. */
  holders: readonly NodeId[] = [];
  /** This node is one of them. */
  isHolder = false;
  /** In-sync members other than this node. */
  otherMembers: readonly Member[] = [];
  readonly log: Log;
  readonly stamps = new Stamps();
  readonly clock: PrimaryClock;
  readonly views: PeerViews;
  readonly takeover: Takeover;
  readonly ownCopy: OwnCopy;
  readonly courier: Courier;
  readonly donor: Donor;
  readonly learner: Learner;
  readonly recovery: Recovery;
  readonly suspicion: Suspicion;
  readonly #inbox: Inbox;
  readonly #host: Host;
  readonly #createMachine: () => StateMachine;
  #machine: StateMachine | undefined;

  /** In-sync in the installed epoch, with a log that is a prefix of the shard's. */
  isMember = false;
  isPrimary = false;
  /** The epoch start has been received (or, at the primary, sent) and everything before it. */
  isStarted = false;
  /** Last seq before the epoch's own entries; -1 before the epoch start. Its takeover tells. */
  startSeq = -1;
  /** The last epoch that was started here: proven if not below the membership's `since` (R6). */
  startedEpoch = 0;
  /** Invariant: never shrinks while the state is a prefix of the shard's history. */
  commitSeq = 0;
  handover: Handover | undefined;
  /** The shard may have been divided at the slot `at`, by the swap to `version`, of which nothing is known yet (R16). */
  unsettledSplit: { readonly at: number; readonly version: number } | undefined;
  lastCommitMs = Number.NEGATIVE_INFINITY;
  uncommittedBytes = 0;
  #ackDue = false;

  /** @param createMachine called once, when there is something to hold: a node that only asks others needs none. */
  constructor(host: Host, record: ShardRecord, createMachine: () => StateMachine) {
    this.#host = host;
    this.#createMachine = createMachine;
    this.id = record.id;
    this.record = { ...record, epoch: 0, inSync: [] };
    this.log = new Log(host.issuers);
    this.clock = new PrimaryClock(host, this);
    this.views = new PeerViews(host, this);
    this.takeover = new Takeover(host, this);
    this.ownCopy = new OwnCopy(host, this);
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
    return this.isMember && this.#host.now.monoMs < this.views.leaseUntilMs;
  }

  get isStartCommitted(): boolean {
    return this.isStarted && this.commitSeq >= this.startSeq;
  }

  get serves(): boolean {
    return this.isMember && this.isStartCommitted && this.hasLease && !this.isLeaving;
  }

  /** The node drains, or lags, and has someone to leave the shard to; until then it serves on. */
  get isLeaving(): boolean {
    if (this.#host.mutant === "leaves-to-nobody") return this.#host.isDraining;
    return (this.#host.isDraining || this.suspicion.isLagging) && this.views.heirs.length > 0;
  }

  /** No in-sync member has a disk that works, so a write would not be what the cluster's durability says. */
  get isDiskless(): boolean {
    return this.#host.lacksDisk && this.views.members.every(({ lacksDisk }) => lacksDisk);
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
    return incarnation !== undefined && incarnation === this.incarnationOf(primary);
  }

  get readTargets(): readonly NodeId[] {
    if (this.isMember) return [];
    return this.otherMembers.flatMap(({ node, incarnation }) =>
      this.#host.linkedIncarnation(node) === incarnation ? [node] : [],
    );
  }

  get isBelowMin(): boolean {
    return this.record.inSync.length < this.#host.settings.minInSync;
  }

  /** What this node may acknowledge: all that it holds, or under `fsync` what is on its disk. */
  get ownSeq(): number {
    const waits =
      this.#host.settings.durability === "fsync" && this.#host.mutant !== "acks-before-disk";
    return waits ? this.ownCopy.savedSeq : this.log.lastSeq;
  }

  /** Of the process that is in sync, if that node has one. */
  incarnationOf(member: NodeId): Incarnation | undefined {
    return this.record.inSync.find(({ node }) => node === member)?.incarnation;
  }

  /** This process is in sync by the record, whatever it holds. */
  get isListed(): boolean {
    return this.incarnationOf(this.#host.nodeId) === this.#host.incarnation;
  }

  // ---------------------------------------------------------------- epochs (R6, R7)

  /** Installs a later epoch: from here on nothing of the one before is accepted. */
  install(record: ShardRecord): void {
    assert(record.epoch > this.epoch, "epochs grow");
    const host = this.#host;
    const wasMember = this.isMember;
    this.clock.epochEnds();
    const staysPrimary = host.mutant === "two-primaries" && this.isPrimary;
    this.record = record;
    this.holders = holdersOf(record);
    this.isHolder = this.holders.includes(host.nodeId);
    this.isMember = this.isListed && this.learner.isIntact;
    this.isPrimary = this.isMember && (record.primary === host.nodeId || staysPrimary);
    this.isStarted = false;
    this.startSeq = -1;
    this.otherMembers = record.inSync.filter((member) => member.node !== host.nodeId);
    this.handover = undefined;
    this.unsettledSplit = undefined;
    this.donor.epochInstalled();
    this.learner.reset();
    this.recovery.epochInstalled();
    this.ownCopy.epochInstalled();
    this.suspicion.epochInstalled();
    this.#ackDue = false;
    this.#inbox.epochInstalled();
    this.takeover.epochInstalled();
    this.views.epochInstalled();
    if (this.isHolder) host.beatSoon();
    else this.ownCopy.forget();
    host.touch(this.id);
    this.courier.epochInstalled(wasMember && this.isMember);
    if (this.isPrimary) this.takeover.maybeBegin();
    else if (this.isListed) this.takeover.sendPosition(record.primary);
    if (host.mutant === "skips-epoch-start" && this.isMember) {
      this.takeover.startAfter(this.log.lastSeq);
    }
  }

  /**
   * Gives a shard that this one is divided into all that is known of its slots: their state, and a log of its own, which is
   * this one's so far (R16). To be called before the next epoch of this one is installed.
   */
  giveTo(child: Shard): void {
    this.record = { ...this.record, lastSlot: child.record.firstSlot - 1 };
    this.clock.epochEnds();
    child.clock.inherit(this.clock);
    if (!this.learner.isIntact) return;
    child.isMember = this.isMember;
    child.lastCommitMs = this.lastCommitMs;
    child.views.inherit(this.views);
    child.takeover.inherit(this.takeover);
    this.ownCopy.giveTo(child);
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
      this.views.forget(node);
      this.donor.drop(node);
    }
    if (!this.isHolder) this.ownCopy.forget();
    this.#host.beatSoon();
    this.#host.touch(this.id);
  }

  /** What this node holds is another state from here on, which is known to be committed up to `commitSeq`. */
  standAt(state: Pick<Shard, "commitSeq" | "uncommittedBytes" | "startedEpoch">): void {
    this.commitSeq = state.commitSeq;
    this.uncommittedBytes = state.uncommittedBytes;
    this.startedEpoch = state.startedEpoch;
  }

  /** From here on this member takes part in the epoch, and acknowledges what it holds. */
  becomeStarted(): void {
    this.isStarted = true;
    this.startedEpoch = this.epoch;
    this.#ackDue = true;
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
    const outcome = this.machine.run(request, seq, this.clock.wallMs);
    if (outcome.effects.length === 0) {
      const isAnswered =
        answersAfter !== undefined &&
        Math.max(this.waitSeq(outcome.readSeq), answersAfter) <= this.commitSeq;
      if (!request.isWrite || isAnswered) return ordered(outcome, 0);
    }
    if (request.isWrite || this.#host.mutant === "remembers-reads") {
      const isPlain =
        stamp !== undefined &&
        outcome.reply === OK &&
        outcome.effects.length === 1 &&
        this.machine.isPlain(request);
      this.#order(stamp, outcome.reply, outcome.effects, isPlain ? "plain" : undefined);
    } else {
      this.#order(undefined, null, outcome.effects, undefined);
    }
    return ordered(outcome, seq);
  }

  /** Whether the log already holds the stamp. */
  findStamp(stamp: Stamp): ReturnType<Stamps["find"]> {
    return this.#host.mutant === "no-stamp-check" ? undefined : this.stamps.find(stamp);
  }

  #order(stamp: Stamp | undefined, reply: Reply, effects: Effects, form: Entry["form"]): void {
    assert(this.isPrimary && this.isStarted, "only the primary of a started epoch orders");
    const seq = this.log.lastSeq + 1;
    this.#append({ seq, epoch: this.epoch, stamp, reply, effects, form });
    this.#host.counters.ordered += 1;
    this.#host.touch(this.id);
  }

  /** @param encoded the entry's bytes, if it came as such. */
  #append(entry: Entry, encoded?: Bytes): void {
    this.log.append(entry, encoded);
    this.uncommittedBytes += this.log.bytesAt(entry.seq);
    if (entry.stamp !== undefined) this.stamps.record(entry.stamp, entry.seq, entry.reply);
    if (this.learner.isIntact && this.#host.settings.durability !== "none") {
      this.ownCopy.appended(entry.seq, this.isStarted || this.learner.isWhole);
    }
    this.#ackDue = true;
  }

  /** So many items of the journal are on disk. */
  saved(items: number): void {
    if (!this.ownCopy.saved(items)) return;
    this.#ackDue = true;
    this.maybeCommit();
    this.#host.touch(this.id);
  }

  /**
   * Takes an entry that another node ordered: the next one.
   * @param encoded the entry's bytes, if it came as such.
   * @param below the first slot whose effects are to be left out.
   */
  apply(entry: Entry, encoded: Bytes | undefined, below: number): void {
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
      this.clock.see(append.wallMs);
      this.views.of(from).acknowledged(append.ackSeq, this.#host.now.monoMs);
    }
    const { entries } = append;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries.entry(index);
      if (entry.seq <= this.log.lastSeq) continue;
      if (entry.seq > this.log.lastSeq + 1) {
        if (this.#host.mutant === "accepts-gaps") {
          this.ownCopy.writeEntries();
          this.log.reset(entry.seq - 1, this.log.epochs);
        } else {
          if (this.isMember) this.takeover.askStream(from);
          break;
        }
      }
      if (entry.form !== "stub") {
        this.apply(entry, entries.bytes(index), append.appliesBelow);
        continue;
      }
      const whole = this.courier.wholeOf(entry);
      if (whole === undefined) {
        // The stream begins again then, and what the primary has by then comes whole.
        if (this.isMember) this.takeover.askStream(from);
        break;
      }
      this.apply(whole, undefined, append.appliesBelow);
    }
    if (!this.isStarted) this.takeover.maybeStarted();
    if (this.isStarted || !this.isMember)
      this.#advance(Math.min(append.commitSeq, this.log.lastSeq));
  }

  // ---------------------------------------------------------------- acknowledging and committing (R3)

  onAck(from: NodeId, { epoch, seq }: Ack): void {
    if (epoch !== this.epoch && this.#host.mutant !== "acks-of-any-epoch") return;
    this.views.of(from).acknowledged(seq, this.#host.now.monoMs);
    // What is ordered and acknowledged in one turn is committed at its end.
    this.#host.touch(this.id);
  }

  /** Commits what every in-sync member has acknowledged in this epoch; returns whether anything was. */
  maybeCommit(): boolean {
    if (!this.isStarted || !this.isMember) return false;
    let seq = this.ownSeq;
    const { mutant } = this.#host;
    if (mutant === "commits-by-majority") {
      const acks = this.views.members.map(({ ackSeq }) => ackSeq);
      acks.push(seq);
      acks.sort((a, b) => b - a);
      seq = acks[Math.floor(acks.length / 2)] ?? seq;
    } else if (mutant !== "commits-alone" || !this.isPrimary) {
      for (const view of this.views.members) {
        const ack =
          mutant === "arrival-is-ack" && this.isPrimary
            ? Math.max(view.ackSeq, view.sentSeq ?? 0)
            : view.ackSeq;
        if (ack < seq) seq = ack;
      }
    }
    return this.#advance(Math.min(seq, this.log.lastSeq));
  }

  /** A member of the same epoch says that everything up to `seq` is committed. */
  heardCommitted(seq: number): void {
    if (this.isStarted) this.#advance(Math.min(seq, this.log.lastSeq));
    this.maybeCommit();
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
    this.ownCopy.writeEntries(cut);
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

  /** As the state machine has it. */
  plainEffect(request: Request): Effects | undefined {
    return this.machine.plainEffect(request);
  }

  /** A read at this replica; undefined if a key seems to be past its time and only the primary may tell (R11). */
  read(request: Request): Outcome | undefined {
    const outcome = this.machine.read(request, this.clock.wallMs);
    if (outcome === undefined && !this.isPrimary && this.#host.mutant === "backup-expires") {
      return { reply: null, effects: Effects.NONE, readSeq: 0 };
    }
    return outcome;
  }

  /** A read of one command; undefined also if not all that it saw is committed. */
  readCommitted(command: Command): Reply | undefined {
    const { machine } = this;
    const reply = machine.readOne(command, this.clock.wallMs);
    return this.waitSeq(machine.readSeq) <= this.commitSeq ? reply : undefined;
  }

  /** A read of what the log says, whatever the time is: a key has not ended before its deletion is ordered. */
  readAsLogged(request: Request): Outcome | undefined {
    return this.machine.read(request, 0);
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
      stamps: this.stamps.records(),
    };
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
      case "position":
      case "fetch":
      case "tail":
        this.takeover.receive(from, message);
        break;
      case "feed-start":
      case "copy-start":
      case "copy-chunk":
        this.learner.receive(from, message);
        break;
      case "copy-ack":
        if (message.epoch === this.epoch)
          this.donor.acknowledged(from, message.copyId, message.index);
        break;
      default:
        break;
    }
  }

  connected(peer: NodeId): void {
    this.courier.linkUp(peer);
    if (peer !== this.record.primary) return;
    if (!this.isPrimary && this.isListed) this.takeover.sendPosition(peer);
    this.#host.touch(this.id);
  }

  disconnected(peer: NodeId): void {
    if (this.#host.mutant !== "accepts-gaps") this.views.of(peer).sentSeq = undefined;
    this.donor.drop(peer);
    this.recovery.disconnected(peer);
    this.#inbox.disconnected(peer);
    this.courier.linkDown(peer);
    if (peer === this.record.primary && !this.isMember) this.learner.reset();
  }

  tick(): void {
    this.takeover.tick();
    if (this.isHolder && !this.#host.isDraining && !this.isListed && this.epoch > 0) {
      this.learner.tick();
    }
    this.suspicion.tick();
    if (this.canOrder && !this.isDiskless) {
      const { wallMs } = this.clock;
      const effects = this.machine.expire(this.log.lastSeq + 1, wallMs, EXPIRED_PER_TICK);
      if (effects.length > 0) this.#order(undefined, null, effects, undefined);
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
    for (const view of this.views.members) {
      const isTold = this.isPrimary && this.isStarted && this.#streamTo(view);
      if (isAckDue && !isTold) this.#host.acknowledge(view.node, ack);
    }
    if (this.isPrimary && this.isStarted) this.donor.flush();
  }

  /** @returns whether entries were sent, and with them what this node acknowledges. */
  #streamTo(view: PeerView): boolean {
    // What is cut is committed, so the member has it, whatever its last word was.
    if (view.sentSeq !== undefined) view.sentSeq = Math.max(view.sentSeq, this.log.firstSeq - 1);
    if (view.sentSeq === view.ackSeq) view.ackMovedMs = this.#host.now.monoMs;
    let isSent = false;
    while (view.sentSeq !== undefined && view.sentSeq < this.log.lastSeq) {
      const entries = this.nextEntries(view.sentSeq, this.#stubsFor(view));
      this.sendEntries(view.node, entries);
      view.sentSeq += entries.length;
      isSent = true;
    }
    return isSent;
  }

  /**
   * A member knows what it asked for itself, as long as it waits for the answer. If it has given up meanwhile it says where it
   * stands, so its stream begins again.
   */
  #stubsFor({ node, stubsAfterSeq }: PeerView): Stubs | undefined {
    const incarnation = this.#host.linkedIncarnation(node);
    const issuer =
      incarnation === undefined ? undefined : this.#host.issuers.find(node, incarnation);
    if (issuer === undefined) return undefined;
    return { issuer, afterSeq: this.#host.mutant === "stubs-all" ? 0 : stubsAfterSeq };
  }

  /**
   * Entries after `seq`, as many as one message may carry.
   * @param stubs of which of them a stub is enough.
   */
  nextEntries(seq: number, stubs?: Stubs): EntryBatch {
    return this.log.slice(seq + 1, MESSAGE_BYTES, stubs);
  }

  /** @param appliesBelow the first slot whose effects a learner is to leave out. */
  sendEntries(to: NodeId, entries: EntryBatch, appliesBelow = SLOT_COUNT): void {
    const { commitSeq, epoch, id: shard } = this;
    const { wallMs } = this.clock;
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
