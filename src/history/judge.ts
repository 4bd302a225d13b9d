/** The verdict on a whole history: every checker, one answer. */

import {
  describeOperation,
  describeResult,
  type InitialState,
  type OperationRecord,
} from "./history.ts";
import { type Budget, findOrder, type Stuck } from "./linearizability.ts";
import { type FinalState, findLostWrites, type LostWrite } from "./lost-writes.ts";
import { StateSpace } from "./state-space.ts";
import { type Component, divide } from "./transactions.ts";

/** What there is besides the history; everything has a default. */
export interface JudgeOptions {
  /** Values at the beginning; default: every key is missing. */
  readonly initial?: InitialState;
  /** What each node holds at the end; default: not judged apart from the reads in the history. */
  readonly finals?: readonly FinalState[];
  /** Bound on the search, for the whole history; default `STEPS_MAX`. One step is about a microsecond. */
  readonly stepsMax?: number;
}

/** Keys whose operations have no order that explains their answers. */
export interface Violation {
  readonly keys: readonly string[];
  readonly stuck: Stuck;
  /** Lines for people. */
  readonly explanation: readonly string[];
}

/** What was found. Only `ok` is a pass. */
export interface Judgement {
  /** `illegal` if anything is wrong, else `unknown` if the bound was reached, else `ok`. */
  readonly verdict: "ok" | "illegal" | "unknown";
  /** Operations that were judged: those that failed are not. */
  readonly operations: number;
  /** Keys, or groups of keys that transactions connect, that were judged apart. */
  readonly components: number;
  readonly steps: number;
  readonly violations: readonly Violation[];
  readonly lostWrites: readonly LostWrite[];
  /** Keys whose search reached the bound. */
  readonly undecided: readonly (readonly string[])[];
}

/** Bound on the steps of a judgement: some minutes of search. */
export const STEPS_MAX = 200_000_000;

/** Judges a history: linearizability of each key, strict serializability where transactions join keys, lost writes. */
export function judge(history: readonly OperationRecord[], options: JudgeOptions = {}): Judgement {
  const stepsMax = options.stepsMax ?? STEPS_MAX;
  const components = divide(history);
  const violations: Violation[] = [];
  const undecided: (readonly string[])[] = [];
  let operations = 0;
  let steps = 0;
  for (const component of components) {
    operations += component.operations.length;
    const space = new StateSpace(component.keys, options.initial);
    const budget: Budget = { stepsLeft: stepsMax - steps };
    const found = findOrder(component.operations, space, budget);
    steps = stepsMax - Math.max(budget.stepsLeft, 0);
    if (found.verdict === "unknown") undecided.push(component.keys);
    if (found.verdict === "illegal") {
      const explanation = explain(component, space, found.stuck);
      violations.push({ keys: component.keys, stuck: found.stuck, explanation });
    }
  }
  const lostWrites = findLostWrites(history, options.finals ?? []);
  const isIllegal = violations.length > 0 || lostWrites.length > 0;
  return {
    verdict: isIllegal ? "illegal" : undecided.length > 0 ? "unknown" : "ok",
    operations,
    components: components.length,
    steps,
    violations,
    lostWrites,
    undecided,
  };
}

/** @returns a judgement as lines for people. */
export function describeJudgement(judgement: Judgement): string[] {
  const lines: string[] = [];
  for (const violation of judgement.violations) lines.push(...violation.explanation);
  const shown = judgement.lostWrites.slice(0, LOST_SHOWN);
  for (const lost of shown) {
    lines.push(`acknowledged write missing at ${lost.node}, key ${lost.key}: ${lost.why}:`);
    lines.push(`  ${describeOperation(lost.operation)}`);
  }
  const more = judgement.lostWrites.length - shown.length;
  if (more > 0) lines.push(`… and ${more} more acknowledged writes missing`);
  for (const keys of judgement.undecided) {
    lines.push(`undecided: the search for ${keys.join(" ")} reached its bound; this is no pass`);
  }
  return lines;
}

const LOST_SHOWN = 8;
const NEXT_SHOWN = 12;

function explain(component: Component, space: StateSpace, stuck: Stuck): string[] {
  const isJoint = component.keys.length > 1;
  const what = isJoint
    ? `keys ${component.keys.join(" ")} (joined by transactions) are not strictly serializable`
    : `key ${component.keys[0] ?? ""} is not linearizable`;
  const lines = [
    `${what}: no order of its ${component.operations.length} operations explains all answers.`,
    `The longest order that works contains ${stuck.ordered} answered operations and ends with`,
    ...(stuck.last.length === 0 ? ["  (nothing)"] : stuck.last.map(indented)),
  ];
  for (const state of stuck.states) lines.push(`  leaving ${describeState(space, state)}`);
  lines.push("One of these has to come next, and none fits:");
  for (const operation of stuck.next.slice(0, NEXT_SHOWN)) {
    const expected = [
      ...new Set(stuck.states.map((state) => describeResult(space.answer(state, operation)))),
    ];
    lines.push(`${indented(operation)}   (expected ${expected.join(" or ")})`);
  }
  const more = stuck.next.length - NEXT_SHOWN;
  if (more > 0) lines.push(`  … and ${more} more`);
  return lines;
}

function indented(operation: OperationRecord): string {
  return `  ${describeOperation(operation)}`;
}

function describeState(space: StateSpace, state: number): string {
  return [...space.describe(state)]
    .map(([key, value]) => `${key} = ${describeResult(value)}`)
    .join(", ");
}
