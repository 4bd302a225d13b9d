/**
 * How an epoch of a shard begins (R7): each member tells where it stands, the new primary merges the tail of their logs and
 * begins a stream to each, and who has everything before the epoch's own entries starts. It must never let a primary start
 * before it has all that a proven member holds.
 */

import { assert, unreachable } from "../kit/assert.ts";
import { type Member, type NodeId, SLOT_COUNT } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { EpochStart, Fetch, Position, Tail } from "./messages.ts";
import type { Shard } from "./shard.ts";

export class Takeover {
  readonly #host: Host;
  readonly #shard: Shard;
  /** What members have said in this epoch, or in one that is not installed here yet. */
  readonly #positions = new Map<NodeId, Position>();
  readonly #unfit = new Set<NodeId>();
  #installedMs = 0;
  /** When the primary was last told where this node stands: it is to begin its stream from there. */
  #askedMs = Number.NEGATIVE_INFINITY;
  /** Since then nothing has come that begins a stream, in answer to `askStream`. */
  #isAsked = false;
  #provenSinceMs = 0;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  epochInstalled(): void {
    const { monoMs } = this.#host.now;
    this.#unfit.clear();
    this.#installedMs = monoMs;
    this.#askedMs = monoMs;
    this.#isAsked = false;
    for (const [node, position] of this.#positions) {
      if (position.epoch !== this.#shard.epoch) this.#positions.delete(node);
    }
  }

  /** The primary cannot begin with this member: its log is no prefix, or needs what is cut. */
  isUnfit(member: NodeId): boolean {
    return this.#unfit.has(member);
  }

  /** Nothing before this own time counts towards a suspicion: the node has only been proven since. */
  get provenSinceMs(): number {
    return this.#provenSinceMs;
  }

  /** Goes on from where the shard stood that this one comes out of (R16). */
  inherit(takeover: Takeover): void {
    this.#provenSinceMs = takeover.#provenSinceMs;
  }

  receive(from: NodeId, message: EpochStart | Position | Fetch | Tail): void {
    switch (message.kind) {
      case "epoch-start":
        this.#onEpochStart(from, message);
        break;
      case "position":
        this.#onPosition(from, message);
        break;
      case "fetch":
        this.#onFetch(from, message);
        break;
      case "tail":
        this.#onTail(message);
        break;
      default:
        unreachable(message);
    }
  }

  tick(): void {
    const shard = this.#shard;
    const { now, settings } = this.#host;
    if (shard.isStarted) return;
    if (shard.isPrimary) {
      if (!this.maybeBegin()) shard.suspicion.watchStart(this.#positions, this.#installedMs);
      return;
    }
    if (!shard.isListed || now.monoMs - this.#askedMs < 2 * settings.heartbeatMs) return;
    // To all: if every proven member has restarted, they have to know that this one is none (R12).
    for (const node of shard.holders) this.sendPosition(node);
  }

  // ---------------------------------------------------------------- where replicas stand

  /** Tells another replica where this one stands. A member that tells its primary has the stream (re)begun from there. */
  sendPosition(to: NodeId): void {
    if (to === this.#shard.record.primary) this.#askedMs = this.#host.now.monoMs;
    this.#host.send(to, this.position());
  }

  /** Something is missing in the primary's stream: has it begin again, once for all that is under way and of no use. */
  askStream(primary: NodeId): void {
    const { now, settings } = this.#host;
    if (this.#isAsked && now.monoMs - this.#askedMs < 2 * settings.heartbeatMs) return;
    this.sendPosition(primary);
    this.#isAsked = true;
  }

  /** Where this replica stands. */
  position(): Position {
    const { id, epoch, isListed, learner, log, startedEpoch } = this.#shard;
    return {
      kind: "position",
      shard: id,
      epoch,
      isListed,
      isUsable: learner.isIntact,
      isFresh: this.#host.isFresh,
      lastSeq: log.lastSeq,
      lastEpoch: log.lastEpoch,
      startedEpoch,
    };
  }

  #onPosition(from: NodeId, position: Position): void {
    const shard = this.#shard;
    if (position.epoch < shard.epoch) return;
    if (position.epoch === shard.epoch) shard.recovery.heard(from, position);
    if (!position.isListed) {
      const isMember = this.#isMember(from);
      if (position.epoch > shard.epoch || !shard.isPrimary || !shard.isStarted || isMember) return;
      shard.donor.offer(from, position);
      return;
    }
    this.#positions.set(from, position);
    if (position.epoch > shard.epoch || !shard.isPrimary) return;
    if (shard.isStarted) this.#beginStream(from, position);
    else this.maybeBegin();
  }

  #isMember(node: NodeId): boolean {
    return this.#shard.otherMembers.some((member) => member.node === node);
  }

  /** The other's log is a prefix of this one's (R8), and what follows it is still held. */
  canFeed(position: Position): boolean {
    const { log } = this.#shard;
    return (
      position.isUsable &&
      position.lastSeq + 1 >= log.firstSeq &&
      (log.epochAt(position.lastSeq) === position.lastEpoch ||
        (this.#host.mutant === "trusts-old-logs" && position.lastSeq <= log.lastSeq))
    );
  }

  // ---------------------------------------------------------------- at the primary

  /** At the primary of a new epoch: merges the tail of the members' logs, then begins to order. Returns whether it did. */
  maybeBegin(): boolean {
    const shard = this.#shard;
    const { mutant } = this.#host;
    if (!shard.isPrimary || shard.isStarted || this.#unfit.size > 0) return false;
    let highest: Position | undefined;
    let source: NodeId = "";
    for (const member of shard.otherMembers) {
      const position = this.#positions.get(member.node);
      if (position === undefined) {
        if (mutant === "two-primaries") continue;
        return false;
      }
      const isProven = position.startedEpoch >= member.since || mutant === "unproven-acts";
      if (isProven && position.lastSeq > (highest?.lastSeq ?? shard.log.lastSeq)) {
        highest = position;
        source = member.node;
      }
    }
    if (highest !== undefined && mutant !== "skips-tail") {
      const { id, epoch, log } = shard;
      this.#host.send(source, { kind: "fetch", shard: id, epoch, fromSeq: log.lastSeq });
      return false;
    }
    this.#eachPosition(({ node }, position) => {
      if (!this.canFeed(position)) this.#unfit.add(node);
    });
    if (this.#unfit.size > 0 && mutant !== "skips-tail") return false;
    this.startAfter(shard.log.lastSeq);
    this.#eachPosition(({ node }, position) => this.#beginStream(node, position));
    return true;
  }

  #eachPosition(use: (member: Member, position: Position) => void): void {
    for (const member of this.#shard.otherMembers) {
      const position = this.#positions.get(member.node);
      if (position !== undefined) use(member, position);
    }
  }

  #onTail({ epoch, entries }: Tail): void {
    const shard = this.#shard;
    if (epoch !== shard.epoch || !shard.isPrimary || shard.isStarted) return;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries.entry(index);
      if (entry.seq === shard.log.lastSeq + 1) {
        shard.apply(entry, entries.bytes(index), SLOT_COUNT);
      }
    }
    this.maybeBegin();
  }

  #beginStream(to: NodeId, position: Position): void {
    if (!this.#isMember(to)) return;
    const { id, epoch, startSeq, clock, views } = this.#shard;
    const view = views.of(to);
    // It may have acknowledged more since it told its position, and what it lacked then may be cut by now.
    const fromSeq = Math.max(position.lastSeq, view.ackSeq);
    const canGoOn = fromSeq > position.lastSeq || this.canFeed(position);
    if (!canGoOn && this.#host.mutant !== "skips-tail") {
      this.#unfit.add(to);
      return;
    }
    this.#unfit.delete(to);
    const { wallMs } = clock;
    this.#host.send(to, { kind: "epoch-start", shard: id, epoch, startSeq, fromSeq, wallMs });
    view.beginStream(fromSeq, this.#shard.log.lastSeq, this.#host.now.monoMs);
    this.#host.touch(id);
  }

  // ---------------------------------------------------------------- at a member

  #onFetch(from: NodeId, { epoch, fromSeq }: Fetch): void {
    const shard = this.#shard;
    if (epoch !== shard.epoch || !shard.isMember || fromSeq + 1 < shard.log.firstSeq) return;
    const entries = shard.nextEntries(fromSeq);
    this.#host.send(from, { kind: "tail", shard: shard.id, epoch, entries });
  }

  #onEpochStart(from: NodeId, start: EpochStart): void {
    const shard = this.#shard;
    if (start.epoch !== shard.epoch || from !== shard.record.primary || !shard.isMember) return;
    if (shard.isPrimary) return;
    this.#isAsked = false;
    shard.clock.see(start.wallMs);
    if (start.fromSeq > shard.log.lastSeq) {
      this.sendPosition(from);
      return;
    }
    if (shard.startSeq < 0 && this.#host.mutant === undefined) {
      const isPrefix = shard.log.lastSeq <= start.startSeq;
      assert(isPrefix, "a member's log is a prefix of its primary's");
    }
    this.startAfter(start.startSeq);
  }

  // ---------------------------------------------------------------- the start

  /** The epoch's own entries come after `seq`: with everything up to there this member starts. */
  startAfter(seq: number): void {
    if (this.#shard.startSeq < 0) this.#shard.startSeq = seq;
    this.maybeStarted();
  }

  /** Starts the epoch here, if everything before its own entries has come. */
  maybeStarted(): void {
    const { isStarted, startSeq, log } = this.#shard;
    if (!isStarted && startSeq >= 0 && log.lastSeq >= startSeq) this.#start();
  }

  #start(): void {
    const shard = this.#shard;
    const { id, epoch, membership, startSeq, ownCopy } = shard;
    assert(membership !== undefined, "only a member can start an epoch");
    if (shard.startedEpoch < membership.since) this.#provenSinceMs = this.#host.now.monoMs;
    shard.becomeStarted();
    ownCopy.writeStart(epoch);
    this.#host.beatSoon();
    this.#host.touch(id);
    if (this.#host.mutant === "start-is-committed") shard.heardCommitted(startSeq);
    shard.maybeCommit();
  }
}
