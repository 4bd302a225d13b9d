/**
 * What the clients of this node have asked of one shard and have no answer to yet: read here, order here or forward, in
 * each session's order (R4), each command once (R10). It must never answer what could still be lost.
 */

import type { Command } from "../data/command.ts";
import { OK, type Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { Window } from "../kit/window.ts";
import type { NodeId } from "./configuration.ts";
import type { Entry, Stamp } from "./entry.ts";
import type { Host } from "./host.ts";
import { hasEarlierWrite, hasLaterWrite, NONE, Pending, Session, waitingFrom } from "./pending.ts";
import type { Outcome, Request } from "./ports.ts";
import {
  NO_DISK,
  NO_REPLICAS,
  TRY_AGAIN_LATER,
  UNCERTAIN_BELOW_MIN,
  UNCERTAIN_LATE,
} from "./refusals.ts";
import type { ShardView } from "./shard-view.ts";
import type { Operation } from "./surface.ts";

/** Sessions that are remembered at least. */
const SESSIONS_KEPT = 1_024;
const SWEEP_MS = 1_000;
/** An operation waits for so many leases at least: one until a suspicion, one until its outcome, and one to spare. */
const LEASES_WAITED = 3;

export class Courier {
  readonly #host: Host;
  readonly #shard: ShardView;
  /** By their indexes. */
  readonly #undecided = new Window<Pending>();
  /** By their counters. */
  readonly #stamped = new Window<Pending>();
  #submitted = 0;
  #nextCounter = 1;
  /** By their ids; also such as have nothing undecided, for most go on. */
  readonly #sessions = new Map<number, Session>();
  #sessionsSweptMs = 0;
  #held: Pending[] = [];
  /** Sessions of which something had to be held (again) since the last pumping began. */
  readonly #blocked = new Set<number>();
  /** The first of those that wait for a seq, by that seq. */
  readonly #committing = new Window<Pending>();
  #leaseWaiters: Pending[] = [];

  constructor(host: Host, shard: ShardView) {
    this.#host = host;
    this.#shard = shard;
  }

  submit(operation: Operation): void {
    if (!operation.request.isWrite && this.#answersAtOnce(operation)) return;
    this.#submitted += 1;
    const session = this.#session(operation.session);
    const pending = new Pending(operation, session, this.#submitted, this.#host.now.monoMs);
    this.#undecided.set(pending.index, pending);
    session.add(pending);
    if (session.held > 0 || !this.#dispatch(pending, session)) this.#hold(pending, session);
  }

  /**
   * Reads at once if that is all there is to it: the common case.
   * @returns undefined if the command has to be submitted.
   */
  read(command: Command, session: number): Reply | undefined {
    if (!this.#readsAtOnce(session)) return undefined;
    const reply = this.#shard.readCommitted(command);
    if (reply !== undefined) this.#host.counters.localReads += 1;
    return reply;
  }

  /** Whether nothing of the session is undecided, and the shard can be read here. */
  #readsAtOnce(session: number): boolean {
    const shard = this.#shard;
    const isAlone = this.#undecided.size === 0;
    if (!isAlone && (this.#sessions.get(session)?.undecided ?? 0) > 0) return false;
    return shard.isMember && shard.isStarted && !shard.isLeaving && shard.hasLease;
  }

  #answersAtOnce(operation: Operation): boolean {
    const shard = this.#shard;
    if (!this.#readsAtOnce(operation.session)) return false;
    const outcome = shard.read(operation.request);
    if (outcome === undefined || shard.waitSeq(outcome.readSeq) > shard.commitSeq) return false;
    this.#host.counters.localReads += 1;
    this.#host.answer(operation, outcome.reply);
    return true;
  }

  #session(id: number): Session {
    // Operations without a session have no order among them, so nothing is remembered of them.
    if (id === 0) return new Session(0);
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = new Session(id);
      this.#sessions.set(id, session);
    }
    return session;
  }

  #sessionIdle(session: Session): void {
    session.lastSeq = 0;
    if (this.#sessions.size > SESSIONS_KEPT) this.#sessions.delete(session.id);
  }

  /** Forgets sessions with nothing undecided, when there are many: their clients may be gone. */
  #sweepSessions(): void {
    const { monoMs } = this.#host.now;
    if (this.#sessions.size < SESSIONS_KEPT || monoMs - this.#sessionsSweptMs < SWEEP_MS) return;
    this.#sessionsSweptMs = monoMs;
    for (const [id, { undecided }] of this.#sessions) {
      if (undecided === 0) this.#sessions.delete(id);
    }
  }

  /** Keeps it until it can be dispatched, in the order of submission. */
  #hold(pending: Pending, session: Session): void {
    pending.state = "held";
    session.held += 1;
    if (session.id !== 0) this.#blocked.add(session.id);
    let index = this.#held.length;
    while (index > 0 && (this.#held[index - 1]?.index ?? 0) > pending.index) index -= 1;
    if (index === this.#held.length) this.#held.push(pending);
    else this.#held.splice(index, 0, pending);
  }

  /** Starts an operation on its way; returns false if it has to be held. */
  #dispatch(pending: Pending, session: Session): boolean {
    const { request } = pending.operation;
    if (request.isWrite) return this.#dispatchWrite(pending, session);
    const shard = this.#shard;
    if (!shard.isMember) return this.#forward(pending, session);
    if (!shard.isStarted) return false;
    if (session.lastSent !== undefined && this.#host.mutant !== "reads-overtake") {
      if (session.lastSent.wasSentBlind) return false;
      pending.state = "attached";
      session.lastSent.attached ??= [];
      session.lastSent.attached.push(pending);
      return true;
    }
    // A read that was forwarded is not to be overtaken by a later one of its session.
    if (session.sentReads > 0 && shard.canForward) return this.#forward(pending, session);
    if (shard.isLeaving) return false;
    if (!shard.hasLease) {
      return !shard.isPrimary && session.undecided === 1 && this.#forward(pending, session);
    }
    const outcome = shard.read(request);
    if (outcome !== undefined) {
      this.#wait(pending, outcome.reply, shard.waitSeq(outcome.readSeq));
      return true;
    }
    if (!shard.isPrimary) return this.#forward(pending, session);
    if (!shard.canOrder) return false;
    this.#readAndDelete(pending);
    return true;
  }

  #dispatchWrite(pending: Pending, session: Session): boolean {
    const shard = this.#shard;
    if (!shard.isPrimary) {
      // A read that was forwarded could be sent again after an epoch change, and must not see this write then.
      return session.sentReads === 0 && this.#forward(pending, session);
    }
    if (!shard.canOrder) return false;
    if (shard.isBelowMin) this.#refuseBelowMin(pending);
    else if (shard.isDiskless && !this.#wasOrdered(pending)) this.#finish(pending, NO_DISK);
    else if (shard.wouldTear(pending.operation.request) && !this.#wasOrdered(pending)) {
      this.#finish(pending, TRY_AGAIN_LATER);
    } else this.#order(pending);
    return true;
  }

  /** What was sent before may be in the log. */
  #wasOrdered(pending: Pending): boolean {
    return pending.mayHaveRun && this.#shard.findStamp(this.#stamp(pending)) !== undefined;
  }

  /** R13. */
  #refuseBelowMin(pending: Pending): void {
    this.#finish(pending, this.#wasOrdered(pending) ? UNCERTAIN_BELOW_MIN : NO_REPLICAS);
  }

  /** Runs a write as the primary, unless the log already holds it; then the reads that are to follow it. */
  #order(pending: Pending): void {
    const shard = this.#shard;
    const stamp = this.#stamp(pending);
    const reads = pending.attached;
    pending.attached = undefined;
    const found = shard.findStamp(stamp);
    if (found !== undefined) {
      assert(found !== "done", "what is undecided was not told to be done");
      this.#wait(pending, found.reply, shard.isAsync ? 0 : found.seq);
    } else {
      const after = shard.isAsync ? 0 : pending.session.lastSeq;
      const outcome = shard.execute(pending.operation.request, stamp, after);
      pending.mayHaveRun = pending.mayHaveRun || outcome.seq > 0;
      this.#wait(pending, outcome.reply, this.#waitSeq(outcome));
    }
    this.#readAll(reads ?? NONE);
  }

  /** A read at the primary that finds a key past its time, which it deletes first. */
  #readAndDelete(pending: Pending): void {
    const outcome = this.#shard.execute(pending.operation.request, undefined, undefined);
    this.#wait(pending, outcome.reply, this.#waitSeq(outcome));
  }

  #waitSeq(outcome: Outcome & { readonly seq: number }): number {
    if (this.#shard.isAsync) return 0;
    return outcome.seq > 0 ? outcome.seq : this.#shard.waitSeq(outcome.readSeq);
  }

  #stamp(pending: Pending): Stamp {
    if (pending.counter === 0) {
      pending.counter = this.#nextCounter;
      this.#nextCounter += 1;
      this.#stamped.set(pending.counter, pending);
    }
    return {
      node: this.#host.nodeId,
      incarnation: this.#host.incarnation,
      counter: pending.counter,
      doneBelow: this.#stamped.first ?? pending.counter,
    };
  }

  #forward(pending: Pending, session: Session): boolean {
    const target = this.#targetOf(pending, session);
    if (target === undefined) return false;
    pending.target = target;
    if (pending.isWrite) session.lastSent = pending;
    else {
      session.sentReads += 1;
      session.readTarget = target;
      this.#host.readBalancer.began(target);
    }
    this.#sendForward(pending);
    return true;
  }

  /** Whom to ask; undefined if nobody can be asked now. */
  #targetOf(pending: Pending, session: Session): NodeId | undefined {
    const shard = this.#shard;
    const { primary } = shard.record;
    const reachable = shard.canForward ? primary : undefined;
    // Only the primary has what the session wrote last.
    if (pending.isWrite || pending.isForPrimary || session.firstWrite !== undefined) {
      return reachable;
    }
    if (session.sentReads === 0 || this.#host.mutant === "scatters-reads") {
      return this.#host.readBalancer.choose(shard.readTargets) ?? reachable;
    }
    if (session.readTarget === primary) return reachable;
    return shard.readTargets.includes(session.readTarget) ? session.readTarget : undefined;
  }

  #sendForward(pending: Pending): void {
    pending.state = "sent";
    pending.mayHaveRun = true;
    if (!this.#shard.isMember) pending.wasSentBlind = true;
    this.#host.counters.forwarded += 1;
    const { counter, doneBelow } = this.#stamp(pending);
    this.#host.send(pending.target, {
      kind: "forward",
      shard: this.#shard.id,
      epoch: this.#shard.epoch,
      counter,
      doneBelow,
      request: pending.operation.request,
    });
  }

  /** Keeps the reply until `waitSeq` is committed; at once if it is. */
  #wait(pending: Pending, reply: Reply, waitSeq: number): void {
    pending.reply = reply;
    pending.waitSeq = waitSeq;
    pending.state = "ordered";
    const { session, isWrite } = pending;
    if (!isWrite) {
      this.#host.counters.localReads += 1;
      pending.waitSeq = Math.max(waitSeq, session.lastSeq);
    }
    session.lastSeq = Math.max(session.lastSeq, pending.waitSeq);
    if (pending.waitSeq <= this.#shard.commitSeq) {
      this.#release(pending);
      return;
    }
    if (!isWrite) this.#host.counters.waitingReads += 1;
    this.#waitForCommit(pending);
  }

  #waitForCommit(pending: Pending): void {
    pending.nextWaiting = undefined;
    const first = this.#committing.get(pending.waitSeq);
    if (first === undefined) this.#committing.set(pending.waitSeq, pending);
    else if (first.lastWaiting !== undefined) first.lastWaiting.nextWaiting = pending;
    (first ?? pending).lastWaiting = pending;
  }

  #release(pending: Pending): void {
    if (pending.needsLease && !this.#shard.serves && this.#host.mutant !== "no-lease") {
      this.#leaseWaiters.push(pending);
      return;
    }
    this.#finish(pending, pending.reply);
  }

  #finish(pending: Pending, reply: Reply): void {
    const { session } = pending;
    if (pending.state === "held") session.held -= 1;
    this.#leaveSent(pending, session);
    pending.state = "done";
    this.#undecided.delete(pending.index);
    if (pending.counter > 0) this.#stamped.delete(pending.counter);
    session.remove(pending);
    if (session.undecided === 0) this.#sessionIdle(session);
    else if (session.held > 0) this.#host.touch(this.#shard.id);
    this.#host.answer(pending.operation, reply);
    if (session.answered.length > 0) this.#releaseAnswered(session);
    const reads = pending.attached ?? NONE;
    pending.attached = undefined;
    // With later writes of the session on their way, only the state as it is now comes before them.
    if (session.lastSent !== undefined) this.#readAll(reads);
    else for (const read of reads) this.#redispatch(read);
  }

  /** The forwarded operation is decided, or in this node's log, or about to be sent again. */
  #leaveSent(pending: Pending, session: Session): void {
    if (session.lastSent === pending) session.lastSent = undefined;
    if (pending.state === "sent" && !pending.isWrite) {
      session.sentReads -= 1;
      this.#host.readBalancer.ended(pending.target);
      this.#host.touch(this.#shard.id);
    }
  }

  /** A read that cannot follow its session's write goes its own way, behind what is held of its session from before. */
  #redispatch(pending: Pending): void {
    if (pending.state !== "attached") return;
    pending.state = "new";
    const { session } = pending;
    const isBehind =
      session.id !== 0 &&
      this.#held.some(
        (held) => held.state === "held" && held.session === session && held.index < pending.index,
      );
    if (isBehind || !this.#dispatch(pending, session)) this.#hold(pending, session);
  }

  // ---------------------------------------------------------------- what the shard tells

  /**
   * What a stub stands for. A stamp names one command for ever (R10), so it is the same whatever has happened since.
   * @returns undefined if this node waits for no answer to it any more.
   */
  wholeOf(stub: Entry): Entry | undefined {
    const { seq, epoch, stamp } = stub;
    const isOwn = stamp?.node === this.#host.nodeId && stamp.incarnation === this.#host.incarnation;
    const pending = isOwn ? this.#stamped.get(stamp.counter) : undefined;
    if (pending === undefined) return undefined;
    const effects = this.#shard.plainEffect(pending.operation.request);
    return effects && { seq, epoch, stamp, reply: OK, effects, form: "plain" };
  }

  /** An entry with one of this node's stamps has come with the log. */
  ordered(counter: number, seq: number, reply: Reply): void {
    const pending = this.#stamped.get(counter);
    if (pending === undefined || (pending.state !== "sent" && pending.state !== "held")) return;
    const { session } = pending;
    if (pending.state === "held") {
      session.held -= 1;
      this.#held = this.#held.filter((held) => held !== pending);
    }
    this.#leaveSent(pending, session);
    const reads = pending.attached;
    pending.attached = undefined;
    this.#wait(pending, reply, this.#shard.isAsync ? 0 : seq);
    this.#readAll(reads ?? NONE);
  }

  /** Reads the state as the session's write has just left it, in order: none before one that has to go elsewhere. */
  #readAll(reads: readonly Pending[]): void {
    let isLocal = true;
    for (const read of reads) {
      if (read.state !== "attached") continue;
      isLocal = isLocal && this.#readNow(read);
      if (!isLocal) this.#redispatch(read);
    }
  }

  /** Reads here, unless only the primary can tell whether a key has ended; the lease may be proven later, for it holds backwards. */
  #readNow(pending: Pending): boolean {
    const shard = this.#shard;
    const { request } = pending.operation;
    let outcome = shard.read(request);
    if (outcome === undefined && shard.isPrimary && shard.canOrder) {
      this.#readAndDelete(pending);
      return true;
    }
    // What is forwarded now, or later, would come behind the session's later writes.
    if (outcome === undefined && hasLaterWrite(pending.session, pending)) {
      outcome = shard.readAsLogged(request);
    }
    if (outcome === undefined) return false;
    pending.needsLease = true;
    this.#wait(pending, outcome.reply, shard.waitSeq(outcome.readSeq));
    return true;
  }

  committed(seq: number, isBelowMin: boolean): void {
    const first = this.#committing.get(seq);
    if (first === undefined) return;
    this.#committing.delete(seq);
    for (let pending: Pending | undefined = first; pending !== undefined; ) {
      const next: Pending | undefined = pending.nextWaiting;
      if (pending.state === "ordered") this.#becameCommitted(pending, isBelowMin);
      pending = next;
    }
  }

  #becameCommitted(pending: Pending, isBelowMin: boolean): void {
    const isDoubtful =
      isBelowMin &&
      pending.isWrite &&
      !this.#shard.isAsync &&
      this.#host.mutant !== "below-min-answers-ok";
    if (isDoubtful) this.#finish(pending, UNCERTAIN_BELOW_MIN);
    else this.#release(pending);
  }

  /** A replica's answer by message, in the present epoch. */
  answered(from: NodeId, counter: number, reply: Reply): void {
    const pending = this.#stamped.get(counter);
    if (pending?.state !== "sent" || pending.target !== from) return;
    const { session } = pending;
    if (pending.isWrite || !hasEarlierWrite(session, pending)) {
      this.#finish(pending, reply);
      return;
    }
    pending.reply = reply;
    if (!session.answered.includes(pending)) session.answered = [...session.answered, pending];
  }

  #releaseAnswered(session: Session): void {
    const sent = session.answered.filter((read) => read.state === "sent");
    const ready = sent.filter((read) => !hasEarlierWrite(session, read));
    session.answered = sent.filter((read) => !ready.includes(read));
    for (const read of ready) if (read.state === "sent") this.#finish(read, read.reply);
  }

  /**
   * A new epoch is installed. What is in the log of a node that stays a member will be in the log of all; everything
   * else has to be asked for again, in order, once this node has the epoch start.
   * @param stays the node was and is a member.
   */
  epochInstalled(stays: boolean): void {
    if (!stays) this.#refuseOvertakenReads();
    for (const [, pending] of this.#undecided.entries()) {
      const isLost = pending.state === "sent" || (!stays && pending.state !== "done");
      if (!isLost || pending.state === "held") continue;
      const { session } = pending;
      this.#leaveSent(pending, session);
      if (!stays) pending.attached = undefined;
      if (this.#host.mutant === "blind-resend" && pending.counter > 0) {
        this.#stamped.delete(pending.counter);
        pending.counter = 0;
      }
      pending.state = "held";
      pending.isForPrimary = false;
      session.held += 1;
    }
    for (const [, { session }] of this.#undecided.entries()) {
      session.answered = NONE;
      if (!stays) session.lastSeq = 0;
    }
    if (!stays) {
      this.#committing.clear();
      this.#leaseWaiters = [];
    }
    this.#held = [...this.#undecided.entries()]
      .map(([, pending]) => pending)
      .filter((pending) => pending.state === "held");
    this.#host.touch(this.#shard.id);
  }

  /**
   * Gives the courier of a shard that this one was divided into what is its business now (R16), after the new epoch of this
   * one and before the first of that one is installed: so nothing is under way. Nothing is sent under another stamp than
   * before, and each session's operations keep their order.
   * @param isMeant whether a request lies in the other shard: undefined if neither has all of it.
   * @param stays this node was and is a member, so that its log has whatever was ordered on both sides at once.
   */
  giveTo(other: Courier, isMeant: (request: Request) => boolean | undefined, stays: boolean): void {
    other.#submitted = this.#submitted;
    other.#nextCounter = this.#nextCounter;
    for (const [, pending] of this.#undecided.entries()) {
      for (const read of pending.attached ?? NONE) this.#hold(read, read.session);
      pending.attached = undefined;
    }
    const given = new Set<Pending>();
    for (const [, pending] of this.#undecided.entries()) {
      const { request } = pending.operation;
      const side = isMeant(request);
      if (side === true) given.add(pending);
      // What was ordered on both sides is committed on both, only the word of it has not come yet.
      if (side !== undefined || (request.isWrite && pending.state === "ordered")) continue;
      const isKnown = !request.isWrite || !pending.mayHaveRun || (stays && !pending.wasSentBlind);
      this.#finish(pending, isKnown ? TRY_AGAIN_LATER : UNCERTAIN_LATE);
    }
    for (const pending of given) this.#give(other, pending);
    for (const [counter, pending] of this.#stamped.entries()) {
      if (!given.has(pending)) continue;
      this.#stamped.delete(counter);
      other.#stamped.set(counter, pending);
    }
    const waiting = [...this.#committing.entries()].flatMap(([, first]) => waitingFrom(first));
    this.#committing.clear();
    for (const pending of waiting) {
      if (pending.state === "ordered") (given.has(pending) ? other : this).#waitForCommit(pending);
    }
    other.#leaseWaiters = this.#leaseWaiters.filter((pending) => given.has(pending));
    this.#leaseWaiters = this.#leaseWaiters.filter((pending) => !given.has(pending));
    other.#held = this.#held.filter((pending) => given.has(pending));
    this.#held = this.#held.filter((pending) => !given.has(pending));
  }

  #give(other: Courier, pending: Pending): void {
    const from = pending.session;
    const to = other.#session(from.id);
    this.#undecided.delete(pending.index);
    other.#undecided.set(pending.index, pending);
    if (pending.state === "held") {
      from.held -= 1;
      to.held += 1;
    }
    from.remove(pending);
    to.add(pending);
    pending.session = to;
    to.lastSeq = Math.max(to.lastSeq, from.lastSeq);
    if (from.undecided === 0) this.#sessionIdle(from);
  }

  /**
   * A node that is removed has to ask the new primary what it has read itself and not answered yet. That comes too late
   * for a read that a later write of its own session may have overtaken.
   */
  #refuseOvertakenReads(): void {
    const written = new Set<Session>();
    for (const [, pending] of [...this.#undecided.entries()].reverse()) {
      const { session } = pending;
      if (session.id === 0) continue;
      if (pending.isWrite) {
        if (pending.mayHaveRun) written.add(session);
        continue;
      }
      // One that waits for a lease has let the session's later writes be answered already.
      const isOvertaken = pending.needsLease || written.has(session);
      if (pending.state !== "sent" && isOvertaken) this.#finish(pending, TRY_AGAIN_LATER);
    }
  }

  /** A replica cannot answer a read: the primary is asked, also for what the session asked after it. */
  redirected(from: NodeId, counter: number): void {
    const first = this.#stamped.get(counter);
    if (first?.state !== "sent" || first.target !== from) return;
    const { session } = first;
    this.#holdForPrimary(
      (read) =>
        read === first ||
        (read.session === session && read.index > first.index && read.target === from),
    );
  }

  /** The link to a replica is gone: the primary is asked what that one was to answer. */
  linkDown(peer: NodeId): void {
    if (peer === this.#shard.record.primary) return;
    this.#holdForPrimary((read) => read.target === peer);
  }

  #holdForPrimary(isMeant: (read: Pending) => boolean): void {
    const meant = [...this.#stamped.entries()]
      .map(([, read]) => read)
      .filter((read) => read.state === "sent" && !read.isWrite && isMeant(read));
    for (const read of meant.sort((a, b) => a.index - b.index)) {
      const { session } = read;
      this.#leaveSent(read, session);
      read.isForPrimary = true;
      this.#hold(read, session);
    }
    if (meant.length > 0) this.#host.touch(this.#shard.id);
  }

  /** A new link: what was sent over the old one may have been lost with it. */
  linkUp(peer: NodeId): void {
    const { canForward, record } = this.#shard;
    if (peer !== record.primary || !canForward || this.#host.mutant === "never-resends") return;
    for (const [, pending] of this.#stamped.entries()) {
      if (pending.state !== "sent" || pending.target !== peer) continue;
      this.#host.counters.resent += 1;
      this.#sendForward(pending);
    }
  }

  /** Tries again what was held, in order, and answers what waited for a lease. */
  pump(): void {
    if (this.#leaseWaiters.length > 0 && this.#shard.serves) {
      const waiters = this.#leaseWaiters;
      this.#leaseWaiters = [];
      for (const pending of waiters) if (pending.state === "ordered") this.#release(pending);
    }
    // An old set's table is made anew in old memory when it is cleared.
    if (this.#blocked.size > 0) this.#blocked.clear();
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    for (const pending of held) {
      if (pending.state !== "held") continue;
      const { session } = pending;
      session.held -= 1;
      pending.state = "new";
      if (this.#blocked.has(session.id) || !this.#dispatch(pending, session))
        this.#hold(pending, session);
    }
  }

  /** Gives up on what has waited for too long. */
  tick(): void {
    const { now, limits, settings } = this.#host;
    // With long leases a failover takes longer than operations usually have.
    const patienceMs = Math.max(limits.operationMsMax, LEASES_WAITED * settings.leaseMs);
    this.#sweepSessions();
    for (const [, pending] of this.#undecided.entries()) {
      if (now.monoMs - pending.submittedMs < patienceMs) break;
      const isUnknown = pending.mayHaveRun && pending.isWrite;
      const reads = pending.attached ?? NONE;
      pending.attached = undefined;
      this.#finish(pending, isUnknown ? UNCERTAIN_LATE : TRY_AGAIN_LATER);
      // Their place was behind it, and later writes may have gone ahead.
      for (const read of reads) if (read.state === "attached") this.#finish(read, TRY_AGAIN_LATER);
    }
  }
}
