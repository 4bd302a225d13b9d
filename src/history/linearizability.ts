/**
 * Is there an order of the operations, each at one instant between its invocation and its answer, that explains every
 * answer? The search is that of Wing & Gong ("Testing and Verifying Concurrent Objects", 1993) as improved by Lowe ("Testing
 * for Linearizability", 2017, section 4): depth first over a doubly linked list of invocations and answers, remembering each
 * (set of operations ordered, state) so that none is explored twice. It is iterative, and it works on the joint state of
 * any number of keys, so that strict serializability of transactions is the same question.
 *
 * Added here, each without losing an order that exists:
 * - An operation that changes nothing and fits the present state is ordered at once, with no alternative tried: moved to the
 *   front of any order that works from here, it leaves an order that works.
 * - An operation of unknown outcome stays available for ever and may be left out. It is ordered only directly before an
 *   operation that needs it (see `#isIdle`), because it could as well stand after one that does not.
 * - If a set and state failed with some unknown operations used, it fails with more of them used (fewer are left).
 * - The set of ordered operations is written as the first one that is not in it, and those beyond that are: the length
 *   of what overlaps, not of the history. Where nothing is pending only the state remains.
 */

import { assert } from "../kit/assert.ts";
import { type OperationRecord, partsOf } from "./history.ts";
import { isPure } from "./model.ts";
import { ILLEGAL, type StateSpace } from "./state-space.ts";

/** How much work a search may do; shared by all searches of one judgement. */
export interface Budget {
  /** Steps of the search that are left. One step tries one operation in one state: about a microsecond. */
  stepsLeft: number;
}

/** Why no order was found: how far the best attempt came and where it was stuck. */
export interface Stuck {
  /** Operations with a known answer that the longest order found contains. */
  readonly ordered: number;
  /** The last of that order, at most 12. */
  readonly last: readonly OperationRecord[];
  /** The states, by their number, in which such orders end; at most 4. */
  readonly states: readonly number[];
  /** The operations of which one has to come next, none of which fits in any of the states. */
  readonly next: readonly OperationRecord[];
}

/** `unknown`: the budget ran out; that is no pass. */
export type SearchResult =
  | { readonly verdict: "ok" }
  | { readonly verdict: "illegal"; readonly stuck: Stuck }
  | { readonly verdict: "unknown" };

/**
 * Searches for an order of operations that share keys.
 * @param operations in any order; those that failed are left out.
 * @param space the states of the keys that they name.
 */
export function findOrder(
  operations: readonly OperationRecord[],
  space: StateSpace,
  budget: Budget,
): SearchResult {
  return new Search(operations, space, budget).run();
}

const LAST_SHOWN = 12;
const STATES_SHOWN = 4;
/** Bound on remembered configurations, some 200 bytes each; past it the verdict is unknown. */
const REMEMBERED_MAX = 2_000_000;
const NONE = -1;

/**
 * The order in which operations are tried: those that change nothing; those whose answers tell what the state was, so
 * that it is hardly ever wrong to order one that fits; those that fit anywhere; those of unknown outcome.
 */
type Phase = number;
const PURE = 0;
const TELLING = 1;
const BLIND = 2;
const UNKNOWN = 3;

type Known = Extract<OperationRecord, { outcome: "ok" }>;
type Unknown = Extract<OperationRecord, { outcome: "unknown" }>;

/** One decision of the search. */
interface Frame {
  /** Index among the known operations, or NONE. */
  readonly known: number;
  /** Index among the unknown operations, or NONE. */
  readonly unknown: number;
  /** No alternative needs to be tried when this one fails. */
  readonly isForced: boolean;
  readonly state: number;
  readonly pushed: number;
  readonly stateBefore: number;
  readonly lastOrdered: number;
}

class Search {
  readonly #space: StateSpace;
  readonly #budget: Budget;
  /** In the order of invocation. */
  readonly #known: readonly Known[];
  readonly #unknown: readonly Unknown[];
  readonly #phaseOf: readonly Phase[];
  /** The operation of the same session before it, or NONE. */
  readonly #earlier: Int32Array;
  /** The unknown operation before it that does the same, or NONE. */
  readonly #twin: readonly number[];

  // The list of events: event 0 is the head; links go to 0 at the end.
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Operation of an event. */
  readonly #operationOf: Int32Array;
  readonly #isAnswer: Uint8Array;
  readonly #invocation: Int32Array;
  readonly #answer: Int32Array;

  // The configuration.
  readonly #isOrdered: Uint8Array;
  #orderedCount = 0;
  /** The highest index of an ordered operation. */
  #lastOrdered = NONE;
  #usedUnknown = 0n;
  #state = 0;
  /** If the last decision was to use an unknown operation: which, and the state before it; else NONE. */
  #pushed = NONE;
  #stateBefore = NONE;

  readonly #frames: Frame[] = [];
  /** Configurations that were visited, each with the smallest sets of unknown operations that it was visited with. */
  readonly #visited = new Map<string, bigint | bigint[]>();

  #bestOrdered = NONE;
  #bestLast: readonly OperationRecord[] = [];
  #bestNext: readonly OperationRecord[] = [];
  readonly #bestStates = new Set<number>();

  constructor(operations: readonly OperationRecord[], space: StateSpace, budget: Budget) {
    this.#space = space;
    this.#budget = budget;
    const known: Known[] = [];
    const unknown: Unknown[] = [];
    for (const operation of operations) {
      if (operation.outcome === "ok") known.push(operation);
      // An unknown read explains nothing and is explained by anything.
      else if (operation.outcome === "unknown" && !isPure(operation)) unknown.push(operation);
    }
    known.sort((left, right) => left.invokedAt - right.invokedAt);
    unknown.sort((left, right) => left.invokedAt - right.invokedAt);
    this.#known = known;
    this.#unknown = unknown;
    this.#phaseOf = known.map(phaseOf);
    this.#isOrdered = new Uint8Array(known.length);
    this.#earlier = earlierOfSession(known);
    this.#twin = twins(unknown);

    const size = known.length * 2 + 1;
    this.#next = new Int32Array(size);
    this.#previous = new Int32Array(size);
    this.#operationOf = new Int32Array(size);
    this.#isAnswer = new Uint8Array(size);
    this.#invocation = new Int32Array(known.length);
    this.#answer = new Int32Array(known.length);
    this.#link();
  }

  run(): SearchResult {
    const total = this.#known.length;
    while (this.#orderedCount < total) {
      const attempt = this.#descend(PURE, this.#following(0));
      if (attempt === "spent") return { verdict: "unknown" };
      if (attempt === "ordered") continue;
      // Nothing fits here: take decisions back until one has an alternative.
      for (;;) {
        const frame = this.#takeBack();
        if (frame === undefined) return { verdict: "illegal", stuck: this.#stuck() };
        if (frame.isForced) continue;
        const next =
          frame.known !== NONE
            ? this.#descend(
                this.#phaseOf[frame.known] ?? PURE,
                this.#following(this.#invocation[frame.known] ?? 0),
              )
            : this.#descend(UNKNOWN, frame.unknown + 1);
        if (next === "spent") return { verdict: "unknown" };
        if (next === "ordered") break;
      }
    }
    return { verdict: "ok" };
  }

  /**
   * Orders one more operation.
   * @param phase which operations to try first; those of later phases follow.
   * @param from the event to go on from within that phase; in the phase `UNKNOWN` the index of the operation.
   */
  #descend(phase: Phase, from: number): "ordered" | "stuck" | "spent" {
    let event = from;
    for (let now = phase; now < UNKNOWN; now++) {
      for (; this.#isAnswer[event] === 0; event = this.#following(event)) {
        const index = this.#operationOf[event] ?? 0;
        if (this.#phaseOf[index] !== now || !this.#isAvailable(index)) continue;
        if (--this.#budget.stepsLeft < 0) return "spent";
        const operation = this.#knownAt(index);
        const state = this.#space.step(this.#state, operation);
        if (state === ILLEGAL) continue;
        const isForced = now === PURE;
        if (!isForced && this.#isIdle(operation, state, NONE)) continue;
        if (this.#order(index, state, isForced)) {
          return this.#remembersTooMuch() ? "spent" : "ordered";
        }
        if (isForced) return "stuck";
      }
      event = this.#following(0);
    }
    return this.#orderUnknown(phase === UNKNOWN ? from : 0);
  }

  #orderUnknown(from: number): "ordered" | "stuck" | "spent" {
    if (this.#unknown.length > 0) {
      const deadline = this.#firstAnswerTime();
      for (let index = from; index < this.#unknown.length; index++) {
        const operation = this.#unknown[index];
        assert(operation !== undefined, "the index is in range");
        if (operation.invokedAt > deadline) break;
        if (this.#isUsed(index)) continue;
        const twin = this.#twin[index] ?? NONE;
        // Of operations that do the same, the earliest is available whenever a later one is.
        if (twin !== NONE && !this.#isUsed(twin)) continue;
        if (--this.#budget.stepsLeft < 0) return "spent";
        const state = this.#space.step(this.#state, operation);
        if (state === this.#state || this.#isIdle(operation, state, index)) continue;
        if (this.#use(index, state)) return this.#remembersTooMuch() ? "spent" : "ordered";
      }
    }
    this.#noteStuck();
    return "stuck";
  }

  /**
   * Tells whether the unknown operation that was ordered last need not stand before this one: the state after this one would
   * be the same without it, or with the two exchanged. Then an order without it, or with it later, works as well.
   * Of two unknown operations that can be exchanged, the one with the lower index stands first.
   */
  #isIdle(operation: OperationRecord, state: number, unknown: number): boolean {
    if (this.#pushed === NONE) return false;
    const alone = this.#space.step(this.#stateBefore, operation);
    if (alone === ILLEGAL) return false;
    if (alone === state) return true;
    if (unknown !== NONE && unknown > this.#pushed) return false;
    const pushed = this.#unknown[this.#pushed];
    return pushed !== undefined && this.#space.step(alone, pushed) === state;
  }

  /** @returns false if that leads to a configuration that was visited. */
  #order(index: number, state: number, isForced: boolean): boolean {
    this.#push(index, NONE, isForced);
    this.#unlink(this.#invocation[index] ?? 0);
    this.#unlink(this.#answer[index] ?? 0);
    this.#isOrdered[index] = 1;
    this.#orderedCount++;
    if (index > this.#lastOrdered) this.#lastOrdered = index;
    this.#state = state;
    this.#pushed = NONE;
    this.#stateBefore = NONE;
    return this.#visit();
  }

  /** Orders an unknown operation; false as for `#order`. */
  #use(unknown: number, state: number): boolean {
    this.#push(NONE, unknown, false);
    this.#usedUnknown |= 1n << BigInt(unknown);
    this.#stateBefore = this.#state;
    this.#pushed = unknown;
    this.#state = state;
    return this.#visit();
  }

  #push(known: number, unknown: number, isForced: boolean): void {
    this.#frames.push({
      known,
      unknown,
      isForced,
      state: this.#state,
      pushed: this.#pushed,
      stateBefore: this.#stateBefore,
      lastOrdered: this.#lastOrdered,
    });
  }

  #takeBack(): Frame | undefined {
    const frame = this.#frames.pop();
    if (frame === undefined) return undefined;
    if (frame.known !== NONE) {
      this.#isOrdered[frame.known] = 0;
      this.#orderedCount--;
      this.#relink(this.#answer[frame.known] ?? 0);
      this.#relink(this.#invocation[frame.known] ?? 0);
    } else {
      this.#usedUnknown &= ~(1n << BigInt(frame.unknown));
    }
    this.#state = frame.state;
    this.#pushed = frame.pushed;
    this.#stateBefore = frame.stateBefore;
    this.#lastOrdered = frame.lastOrdered;
    return frame;
  }

  /** Remembers the configuration; takes the last decision back and returns false if it was visited with no more used. */
  #visit(): boolean {
    const name = this.#configuration();
    const used = this.#usedUnknown;
    const before = this.#visited.get(name);
    if (before === undefined) {
      this.#visited.set(name, used);
      return true;
    }
    const sets = typeof before === "bigint" ? [before] : before;
    if (sets.some((set) => (set & used) === set)) {
      this.#takeBack();
      return false;
    }
    this.#visited.set(name, [...sets.filter((set) => (set & used) !== used), used]);
    return true;
  }

  /** The set of ordered operations, the state, and what restricts the next decision. */
  #configuration(): string {
    const head = this.#following(0);
    const first = head === 0 ? this.#known.length : (this.#operationOf[head] ?? 0);
    let name = `${first}|${this.#state}`;
    let bits = 0;
    let count = 0;
    for (let index = first + 1; index <= this.#lastOrdered; index++) {
      bits = bits * 2 + (this.#isOrdered[index] ?? 0);
      if (++count % 30 !== 0 && index !== this.#lastOrdered) continue;
      name += `|${bits.toString(36)}`;
      bits = 0;
    }
    if (count > 0) name += `|${count}`;
    return this.#pushed === NONE ? name : `${name}<${this.#pushed},${this.#stateBefore}`;
  }

  #remembersTooMuch(): boolean {
    return this.#visited.size > REMEMBERED_MAX;
  }

  #isAvailable(index: number): boolean {
    const earlier = this.#earlier[index] ?? NONE;
    return earlier === NONE || this.#isOrdered[earlier] === 1;
  }

  #isUsed(unknown: number): boolean {
    return ((this.#usedUnknown >> BigInt(unknown)) & 1n) === 1n;
  }

  #knownAt(index: number): Known {
    const operation = this.#known[index];
    assert(operation !== undefined, "an event names an operation");
    return operation;
  }

  #following(event: number): number {
    return this.#next[event] ?? 0;
  }

  /** Time of the first answer among the operations that are not ordered. */
  #firstAnswerTime(): number {
    let event = this.#following(0);
    while (this.#isAnswer[event] === 0) event = this.#following(event);
    return this.#knownAt(this.#operationOf[event] ?? 0).answeredAt;
  }

  #noteStuck(): void {
    if (this.#orderedCount < this.#bestOrdered) return;
    if (this.#orderedCount === this.#bestOrdered) {
      if (this.#bestStates.size < STATES_SHOWN) this.#bestStates.add(this.#state);
      return;
    }
    this.#bestOrdered = this.#orderedCount;
    this.#bestStates.clear();
    this.#bestStates.add(this.#state);
    this.#bestLast = this.#frames.slice(-LAST_SHOWN).map((frame) => {
      const operation =
        frame.known !== NONE ? this.#known[frame.known] : this.#unknown[frame.unknown];
      assert(operation !== undefined, "a frame names an operation");
      return operation;
    });
    const next: OperationRecord[] = [];
    for (
      let event = this.#following(0);
      this.#isAnswer[event] === 0;
      event = this.#following(event)
    ) {
      next.push(this.#knownAt(this.#operationOf[event] ?? 0));
    }
    this.#bestNext = next;
  }

  #stuck(): Stuck {
    return {
      ordered: Math.max(this.#bestOrdered, 0),
      last: this.#bestLast,
      states: [...this.#bestStates],
      next: this.#bestNext,
    };
  }

  #unlink(event: number): void {
    const next = this.#next[event] ?? 0;
    const previous = this.#previous[event] ?? 0;
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }

  /** The opposite of the latest `#unlink` that was not taken back. */
  #relink(event: number): void {
    this.#next[this.#previous[event] ?? 0] = event;
    this.#previous[this.#next[event] ?? 0] = event;
  }

  /** Makes the list of events: by time, invocations before answers of the same time, so that those overlap. */
  #link(): void {
    const count = this.#known.length;
    const byAnswer = Array.from(this.#known.keys()).sort(
      (left, right) => this.#knownAt(left).answeredAt - this.#knownAt(right).answeredAt,
    );
    let event = 0;
    let invoked = 0;
    let answered = 0;
    const append = (operation: number, isAnswer: boolean): void => {
      const previous = event++;
      this.#operationOf[event] = operation;
      this.#isAnswer[event] = isAnswer ? 1 : 0;
      this.#next[previous] = event;
      this.#previous[event] = previous;
      if (isAnswer) this.#answer[operation] = event;
      else this.#invocation[operation] = event;
    };
    while (answered < count) {
      const index = byAnswer[answered] ?? 0;
      const operation = this.#knownAt(index);
      assert(operation.answeredAt >= operation.invokedAt, "no answer comes before its question");
      if (invoked < count && this.#knownAt(invoked).invokedAt <= operation.answeredAt) {
        append(invoked, false);
        invoked++;
      } else {
        append(index, true);
        answered++;
      }
    }
    this.#next[event] = 0;
    this.#previous[0] = event;
    // The head ends every scan, as an answer does.
    this.#isAnswer[0] = 1;
  }
}

function phaseOf(operation: OperationRecord): Phase {
  if (isPure(operation)) return PURE;
  return partsOf(operation.action).every((part) => part.kind === "set") ? BLIND : TELLING;
}

function earlierOfSession(known: readonly Known[]): Int32Array {
  const earlier = new Int32Array(known.length).fill(NONE);
  const latest = new Map<number, number>();
  for (const [index, operation] of known.entries()) {
    earlier[index] = latest.get(operation.session) ?? NONE;
    latest.set(operation.session, index);
  }
  return earlier;
}

function twins(unknown: readonly Unknown[]): readonly number[] {
  const latest = new Map<string, number>();
  return unknown.map((operation, index) => {
    const name = JSON.stringify(operation.action);
    const twin = latest.get(name) ?? NONE;
    latest.set(name, index);
    return twin;
  });
}
