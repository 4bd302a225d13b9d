/** For tests of the checkers: random histories that are right by construction, and a checker too simple to be wrong. */

import { Prng } from "../kit/prng.ts";
import {
  type Action,
  isResultArray,
  type KeyAction,
  type OperationRecord,
  partsOf,
  type Result,
  type Value,
} from "./history.ts";
import { applyAction, sameResult } from "./model.ts";

/** What a random history looks like. */
export interface GeneratorOptions {
  readonly seed: number;
  readonly clients: number;
  readonly operations: number;
  readonly keys: readonly string[];
  /** Probability that an operation's outcome is unknown. */
  readonly unknown: number;
  /** Probability that an operation is a transaction over several keys. */
  readonly multi: number;
  /** Number of distinct values that SET and its kin write; undefined: every value is unique. */
  readonly values?: number;
  /** Longest time from a client's one operation to its next, against a longest duration of 1. */
  readonly think?: number;
}

/**
 * Simulates clients of an atomic store: each operation takes effect at a random instant of its duration, an unknown one at
 * any time after its invocation or never. So the history is linearizable.
 */
export function generateHistory(options: GeneratorOptions): OperationRecord[] {
  return generateRun(options).history;
}

/** Like `generateHistory`; also gives what the store holds in the end. */
export function generateRun(options: GeneratorOptions): {
  readonly history: OperationRecord[];
  readonly final: ReadonlyMap<string, Value>;
} {
  const prng = new Prng(options.seed);
  interface Plan {
    readonly id: number;
    readonly session: number;
    readonly invokedAt: number;
    readonly answeredAt: number;
    readonly at: number;
    readonly isUnknown: boolean;
    readonly action: Action;
  }
  const plans: Plan[] = [];
  const freeAt = new Array<number>(options.clients).fill(0);
  for (let id = 1; id <= options.operations; id++) {
    const client = prng.below(options.clients);
    const invokedAt = (freeAt[client] ?? 0) + prng.between(0.001, options.think ?? 1);
    const answeredAt = invokedAt + prng.between(0.01, 1);
    const isUnknown = prng.chance(options.unknown);
    const at = isUnknown
      ? prng.chance(0.4)
        ? Number.POSITIVE_INFINITY
        : invokedAt + prng.between(0, prng.chance(0.5) ? 1 : 20)
      : prng.between(invokedAt, answeredAt);
    freeAt[client] = answeredAt;
    const action = randomAction(prng, options, id);
    plans.push({ id, session: client + 1, invokedAt, answeredAt, at, isUnknown, action });
  }
  const store = new Map<string, Value>();
  const history: OperationRecord[] = [];
  for (const plan of plans.toSorted((left, right) => left.at - right.at)) {
    const { id, session, invokedAt, answeredAt, action } = plan;
    const base = { id, session, invokedAt, action };
    if (plan.isUnknown) history.push({ ...base, outcome: "unknown", why: "connection lost" });
    if (plan.at === Number.POSITIVE_INFINITY) continue;
    const result = applyTo(store, action);
    if (!plan.isUnknown) history.push({ ...base, outcome: "ok", answeredAt, result });
  }
  history.sort((left, right) => left.invokedAt - right.invokedAt);
  return { history, final: store };
}

/** Carries out an action on a store. */
export function applyTo(store: Map<string, Value>, action: Action): Result {
  const results = partsOf(action).map((part) => {
    const applied = applyAction(store.get(part.key) ?? null, part);
    store.set(part.key, applied.value);
    return applied.result;
  });
  return action.kind === "multi" ? results : (results[0] ?? null);
}

/**
 * The oracle: tries every order of every choice of operations, with no cleverness at all. For at most 7 operations.
 * @returns whether the history is strictly serializable as one object.
 */
export function isExplainable(history: readonly OperationRecord[]): boolean {
  const operations = history.filter((operation) => operation.outcome !== "failed");
  return extend([], operations, new Map());
}

function extend(
  order: readonly OperationRecord[],
  rest: readonly OperationRecord[],
  store: ReadonlyMap<string, Value>,
): boolean {
  if (rest.every((operation) => operation.outcome === "unknown")) return true;
  return rest.some((operation) => {
    const others = rest.filter((other) => other !== operation);
    if (others.some((other) => mustPrecede(other, operation))) return false;
    const after = new Map(store);
    const result = applyTo(after, operation.action);
    if (operation.outcome === "ok" && !sameResult(result, operation.result)) return false;
    return extend([...order, operation], others, after);
  });
}

function mustPrecede(first: OperationRecord, second: OperationRecord): boolean {
  if (first.outcome !== "ok") return false;
  if (first.answeredAt < second.invokedAt) return true;
  return (
    second.outcome === "ok" &&
    first.session === second.session &&
    first.invokedAt < second.invokedAt
  );
}

/** A deliberate violation: makes one of a history, or returns undefined if it has no place for it. */
export type Corruption = (
  history: readonly OperationRecord[],
  prng: Prng,
) => OperationRecord[] | undefined;

/** @returns the history with the answer of one operation replaced. */
export function withResult(
  history: readonly OperationRecord[],
  id: number,
  result: Result,
): OperationRecord[] {
  return history.map((operation) =>
    operation.id === id && operation.outcome === "ok" ? { ...operation, result } : operation,
  );
}

function randomAction(prng: Prng, options: GeneratorOptions, id: number): Action {
  if (!prng.chance(options.multi)) return randomKeyAction(prng, options, `v${id}`);
  const length = 2 + prng.below(3);
  return {
    kind: "multi",
    actions: Array.from({ length }, (_, index) =>
      randomKeyAction(prng, options, `v${id}.${index}`),
    ),
  };
}

function randomKeyAction(prng: Prng, options: GeneratorOptions, unique: string): KeyAction {
  const key = prng.pick(options.keys);
  const value =
    options.values === undefined ? `<${unique}>` : String(1 + prng.below(options.values));
  const kind = prng.pick([
    "get",
    "get",
    "get",
    "exists",
    "set",
    "set",
    "setnx",
    "getset",
    "getdel",
    "del",
    "append",
    "incr",
  ] as const);
  switch (kind) {
    case "get":
    case "exists":
    case "del":
    case "getdel":
      return { kind, key };
    case "incr":
      return { kind, key, by: 1 + prng.below(2) };
    default:
      return { kind, key, value };
  }
}

/** A random answer for an action: often wrong. */
export function randomResult(prng: Prng, action: Action, seen: readonly Result[]): Result {
  if (action.kind === "multi") return action.actions.map((part) => randomResult(prng, part, seen));
  const flat = seen.flatMap((result) => (isResultArray(result) ? result : [result]));
  switch (action.kind) {
    case "set":
      return "OK";
    case "exists":
    case "del":
    case "setnx":
      return prng.below(2);
    default:
      return flat.length === 0 ? null : prng.pick(flat);
  }
}
