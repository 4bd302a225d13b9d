/** What the courier keeps of an operation that has no answer yet, and of a client's session with such operations. */

import type { Reply } from "../data/reply.ts";
import type { NodeId } from "./configuration.ts";
import type { Operation } from "./surface.ts";

/** No operation. */
export const NONE: readonly Pending[] = [];

/**
 * One operation's way:
 *
 *     held ──▶ sent ──▶ ordered ──▶ done          a write forwarded to the primary
 *      │ ▲      │  ╰──────────────▶ done          answered by message
 *      │ ╰──────╯ epoch change                    it is sent again under its old stamp
 *      ├─────▶ attached ──▶ ordered ──▶ done      a read behind its session's forwarded write
 *      ╰─────────────────▶ ordered ──▶ done       run here: waits for the commit of what it wrote or saw
 */
export class Pending {
  readonly operation: Operation;
  session: Session;
  /** Grows with every submission. */
  readonly index: number;
  readonly submittedMs: number;
  /** `new` while it is being dispatched. */
  state: "new" | "held" | "attached" | "sent" | "ordered" | "done" = "new";
  /** Of its stamp; 0 while it has none. */
  counter = 0;
  /** Whom it was sent to last. */
  target: NodeId = "";
  /** A read that another replica could not answer, or one behind such a read. */
  isForPrimary = false;
  /** It was sent while this node was no member, so that its entry may stand where this node has only the copied state. */
  wasSentBlind = false;
  /** It was sent or run, so that without an answer its outcome is unknown. */
  mayHaveRun = false;
  reply: Reply = null;
  /** Seq whose commit the answer waits for. */
  waitSeq = 0;
  /** The answer waits for a valid lease too: the state was read without one. */
  needsLease = false;
  /** Reads of the same session that are to see this write and nothing later of the session. */
  attached: Pending[] | undefined = undefined;
  /** The next that waits for the same seq; at the first of them, also the last. */
  nextWaiting: Pending | undefined = undefined;
  lastWaiting: Pending | undefined = undefined;
  /** Of a write, the session's other undecided writes beside it. */
  previousWrite: Pending | undefined = undefined;
  nextWrite: Pending | undefined = undefined;

  constructor(operation: Operation, session: Session, index: number, submittedMs: number) {
    this.operation = operation;
    this.session = session;
    this.index = index;
    this.submittedMs = submittedMs;
  }

  get isWrite(): boolean {
    return this.operation.request.isWrite;
  }
}

/** What a session has undecided on this shard. */
export class Session {
  /** 0 for operations that have no order among them: each has a session of its own. */
  readonly id: number;
  undecided = 0;
  held = 0;
  sentReads = 0;
  /** Whom the session's reads under way were sent to: the later ones go there too, so that none overtakes another. */
  readTarget: NodeId = "";
  /** Undecided writes, in the order of submission. */
  firstWrite: Pending | undefined = undefined;
  lastWrite: Pending | undefined = undefined;
  /** Forwarded reads that have their answer, and are to be asked again if a write before them has to be. */
  answered: readonly Pending[] = NONE;
  /** The last write that was forwarded and is not in this node's log yet. */
  lastSent: Pending | undefined = undefined;
  /** Seq that its operations so far wait for. No later one outruns them, for they could yet have to be run again. */
  lastSeq = 0;

  constructor(id: number) {
    this.id = id;
  }

  /** @param pending later than those that are here. */
  add(pending: Pending): void {
    this.undecided += 1;
    if (!pending.isWrite) return;
    pending.previousWrite = this.lastWrite;
    if (this.lastWrite === undefined) this.firstWrite = pending;
    else this.lastWrite.nextWrite = pending;
    this.lastWrite = pending;
  }

  remove(pending: Pending): void {
    this.undecided -= 1;
    if (!pending.isWrite) return;
    const { previousWrite, nextWrite } = pending;
    if (previousWrite === undefined) this.firstWrite = nextWrite;
    else previousWrite.nextWrite = nextWrite;
    if (nextWrite === undefined) this.lastWrite = previousWrite;
    else nextWrite.previousWrite = previousWrite;
    pending.previousWrite = undefined;
    pending.nextWrite = undefined;
  }
}

/** Whether the session has an undecided write from before the read. */
export function hasEarlierWrite(session: Session, read: Pending): boolean {
  return session.firstWrite !== undefined && session.firstWrite.index < read.index;
}

/** Whether the session has an undecided write from after the read. */
export function hasLaterWrite(session: Session, read: Pending): boolean {
  return session.lastWrite !== undefined && session.lastWrite.index > read.index;
}

/** All that wait for the seq of the first of them, in the order in which they came. */
export function waitingFrom(first: Pending): readonly Pending[] {
  const waiting: Pending[] = [];
  for (let each: Pending | undefined = first; each !== undefined; each = each.nextWaiting) {
    waiting.push(each);
  }
  return waiting;
}
