/**
 * The states that a set of keys can be in, each given a small number, so that the search compares and remembers states as
 * numbers whether they are of one key or of several joined by transactions.
 */

import { assert } from "../kit/assert.ts";
import {
  type InitialState,
  type KeyAction,
  type OperationRecord,
  partsOf,
  type Result,
  type Value,
} from "./history.ts";
import { applyAction, sameResult } from "./model.ts";

/** Returned by `step` when the operation cannot give its answer in that state. */
export const ILLEGAL = -1;

/** Numbers the joint states of some keys; the state 0 is the initial one. */
export class StateSpace {
  readonly #keys: readonly string[];
  readonly #indexes = new Map<string, number>();
  readonly #states: (readonly Value[])[] = [];
  readonly #numbers = new Map<string, number>();

  /**
   * @param keys all keys that the operations name, each once.
   * @param initial their values at the beginning; those not listed are missing.
   */
  constructor(keys: readonly string[], initial: InitialState = new Map()) {
    this.#keys = keys;
    for (const [index, key] of keys.entries()) this.#indexes.set(key, index);
    this.#number(keys.map((key) => initial.get(key) ?? null));
  }

  /** @returns the number of the state after an operation, or `ILLEGAL` if its known answer is not what it would give. */
  step(state: number, operation: OperationRecord): number {
    const result = operation.outcome === "ok" ? operation.result : undefined;
    const action = operation.action;
    const values = this.#valuesOf(state);
    if (action.kind !== "multi") {
      const index = this.#indexOf(action);
      const before = values[index] ?? null;
      const applied = applyAction(before, action);
      if (result !== undefined && !sameResult(applied.result, result)) return ILLEGAL;
      return applied.value === before ? state : this.#number(values.with(index, applied.value));
    }
    const after = [...values];
    const results: Result[] = [];
    for (const part of action.actions) {
      const index = this.#indexOf(part);
      const applied = applyAction(after[index] ?? null, part);
      after[index] = applied.value;
      results.push(applied.result);
    }
    if (result !== undefined && !sameResult(results, result)) return ILLEGAL;
    return this.#number(after);
  }

  /** @returns what an operation would answer in a state. */
  answer(state: number, operation: OperationRecord): Result {
    const after = [...this.#valuesOf(state)];
    const results = partsOf(operation.action).map((part) => {
      const index = this.#indexOf(part);
      const applied = applyAction(after[index] ?? null, part);
      after[index] = applied.value;
      return applied.result;
    });
    return operation.action.kind === "multi" ? results : (results[0] ?? null);
  }

  /** @returns each key with its value in a state. */
  describe(state: number): ReadonlyMap<string, Value> {
    const values = this.#valuesOf(state);
    return new Map(this.#keys.map((key, index) => [key, values[index] ?? null]));
  }

  #valuesOf(state: number): readonly Value[] {
    const values = this.#states[state];
    assert(values !== undefined, "a state has a number only once it was reached");
    return values;
  }

  #indexOf(action: KeyAction): number {
    const index = this.#indexes.get(action.key);
    assert(index !== undefined, "a component lists every key of its operations");
    return index;
  }

  #number(values: readonly Value[]): number {
    const only = values[0] ?? null;
    const name = values.length === 1 ? (only === null ? "-" : `=${only}`) : JSON.stringify(values);
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#states.length;
    this.#states.push(values);
    this.#numbers.set(name, number);
    return number;
  }
}
