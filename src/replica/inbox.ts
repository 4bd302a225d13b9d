/**
 * Commands that other nodes forwarded to this one, the shard's primary: each is run in the epoch that it names, once, and
 * answered by message where the forwarder does not see its stamp in a log of its own (R10).
 */

import type { Reply } from "../data/reply.ts";
import { Window } from "../kit/window.ts";
import type { NodeId } from "./configuration.ts";
import type { Stamp } from "./entry.ts";
import type { Host } from "./host.ts";
import type { Forward } from "./messages.ts";
import type { Outcome, Request } from "./ports.ts";
import { NO_DISK, NO_REPLICAS, TRY_AGAIN_LATER, UNCERTAIN_BELOW_MIN } from "./refusals.ts";
import type { ShardView } from "./shard-view.ts";

/** Forwards of an epoch that is not installed here yet; what is over is lost and sent again. */
const EARLY_FORWARDS_MAX = 10_000;

interface Waiting {
  readonly stamp: Stamp;
  readonly reply: Reply;
  readonly isWrite: boolean;
}

interface Incoming {
  readonly stamp: Stamp;
  readonly message: Forward;
}

export class Inbox {
  readonly #host: Host;
  readonly #shard: ShardView;
  /** What cannot be run yet, in the order of arrival. */
  #waiting: Incoming[] = [];
  /** Answers that wait for a commit, by its seq. */
  readonly #answers = new Window<Waiting[]>();
  /** A forwarder's reads are answered in order: the seq that its last one waits for. */
  readonly #readAfter = new Map<NodeId, number>();

  constructor(host: Host, shard: ShardView) {
    this.#host = host;
    this.#shard = shard;
  }

  /** Copies of other epochs than the new one are dropped: their forwarders send them again. */
  epochInstalled(): void {
    this.#answers.clear();
    this.#readAfter.clear();
    this.#waiting = this.#waiting.filter(({ message }) => message.epoch === this.#shard.epoch);
  }

  /** What came over a link that is gone is sent again; answers to the old copies would overtake those to the new. */
  disconnected(peer: NodeId): void {
    this.#waiting = this.#waiting.filter(({ stamp }) => stamp.node !== peer);
    this.#readAfter.delete(peer);
    for (const [seq, answers] of this.#answers.entries()) {
      const others = answers.filter(({ stamp }) => stamp.node !== peer);
      if (others.length > 0) this.#answers.set(seq, others);
      else this.#answers.delete(seq);
    }
  }

  receive(from: NodeId, message: Forward): void {
    const { epoch, isPrimary, isMember } = this.#shard;
    if (message.epoch < epoch) return;
    const incarnation = this.#host.linkedIncarnation(from);
    if (incarnation === undefined) return;
    const { counter, doneBelow } = message;
    const stamp = { node: from, incarnation, counter, doneBelow };
    if (message.epoch > epoch) {
      if (this.#waiting.length < EARLY_FORWARDS_MAX) this.#waiting.push({ stamp, message });
      return;
    }
    if (!isPrimary && (message.request.isWrite || !isMember)) return;
    if (this.#waiting.length === 0 && this.#canRun) this.#runOne(stamp, message.request);
    else this.#waiting.push({ stamp, message });
  }

  /** Runs what has waited, as far as the shard can order now. */
  run(): void {
    let done = 0;
    for (const { stamp, message } of this.#waiting) {
      if (!this.#canRun || message.epoch > this.#shard.epoch) break;
      this.#runOne(stamp, message.request);
      done += 1;
    }
    if (done > 0) this.#waiting.splice(0, done);
  }

  /** The primary runs all commands, another in-sync replica reads. */
  get #canRun(): boolean {
    return this.#shard.isPrimary ? this.#shard.canOrder : this.#shard.serves;
  }

  #runOne(stamp: Stamp, request: Request): void {
    const shard = this.#shard;
    if (!shard.isPrimary) {
      this.#readForOther(stamp, request);
      return;
    }
    const found = shard.findStamp(stamp);
    if (found === "done") return;
    if (found !== undefined) {
      this.#answerAt(stamp, found.seq, found.reply, request.isWrite);
      return;
    }
    if (request.isWrite && shard.isBelowMin) {
      this.#answer(stamp, NO_REPLICAS);
      return;
    }
    if (request.isWrite && shard.isDiskless) {
      this.#answer(stamp, NO_DISK);
      return;
    }
    if (request.isWrite && shard.wouldTear(request)) {
      this.#answer(stamp, TRY_AGAIN_LATER);
      return;
    }
    if (!request.isWrite) {
      const outcome = shard.read(request);
      if (outcome !== undefined) {
        this.#answerRead(stamp, outcome, 0);
        return;
      }
    }
    const outcome = shard.execute(request, stamp, undefined);
    if (!request.isWrite) this.#answerRead(stamp, outcome, outcome.seq);
    // An in-sync member sees its own stamp in the log.
    else if (!this.#isMember(stamp.node)) this.#answerAt(stamp, outcome.seq, outcome.reply, true);
  }

  #readForOther(stamp: Stamp, request: Request): void {
    const { id: shard, epoch } = this.#shard;
    const outcome = this.#shard.read(request);
    if (outcome !== undefined) this.#answerRead(stamp, outcome, 0);
    else this.#host.send(stamp.node, { kind: "redirect", shard, epoch, counter: stamp.counter });
  }

  /** An entry is committed: tells those who wait for it. */
  committed(seq: number): void {
    const answers = this.#answers.get(seq);
    if (answers === undefined) return;
    this.#answers.delete(seq);
    for (const { stamp, reply, isWrite } of answers) {
      this.#answer(stamp, isWrite ? this.#finalReply(reply) : reply);
    }
  }

  #isMember(node: NodeId): boolean {
    return this.#shard.otherMembers.some((member) => member.node === node);
  }

  /** R13: a write that commits below the minimum is not answered OK. */
  #finalReply(reply: Reply): Reply {
    const { isBelowMin, isAsync } = this.#shard;
    return isBelowMin && !isAsync && this.#host.mutant !== "below-min-answers-ok"
      ? UNCERTAIN_BELOW_MIN
      : reply;
  }

  /** @param seq of the entry that deleted what the read found past its time; 0 if there is none. */
  #answerRead(stamp: Stamp, outcome: Outcome, seq: number): void {
    const { node } = stamp;
    const sawSeq = Math.max(this.#shard.waitSeq(outcome.readSeq), seq);
    const after = Math.max(sawSeq, this.#readAfter.get(node) ?? 0);
    this.#readAfter.set(node, after);
    this.#answerAt(stamp, after, outcome.reply, false);
  }

  #answerAt(stamp: Stamp, seq: number, reply: Reply, isWrite: boolean): void {
    if (seq <= this.#shard.commitSeq || this.#shard.isAsync) {
      this.#answer(stamp, isWrite ? this.#finalReply(reply) : reply);
      return;
    }
    const waiting = this.#answers.get(seq);
    if (waiting === undefined) this.#answers.set(seq, [{ stamp, reply, isWrite }]);
    else waiting.push({ stamp, reply, isWrite });
  }

  /** Answers the process that asked, and not its successor, whose counters begin anew. */
  #answer(stamp: Stamp, reply: Reply): void {
    const { node, incarnation, counter } = stamp;
    if (this.#host.linkedIncarnation(node) !== incarnation) return;
    const { id: shard, epoch } = this.#shard;
    this.#host.send(node, { kind: "answer", shard, epoch, counter, reply });
  }
}
