/**
 * The sequential specification: what each action does to a key and answers when nothing runs beside it. Kept apart from
 * the product's own command table on purpose: a mistake there must not be repeated here.
 */

import { unreachable } from "../kit/assert.ts";
import {
  type Action,
  isResultArray,
  type KeyAction,
  type OperationRecord,
  type Result,
  type Value,
} from "./history.ts";

/** What INCR answers for a value that is no integer. */
export const NOT_AN_INTEGER = "ERR value is not an integer or out of range";

/** @returns the key's new value and the answer. */
export function applyAction(
  value: Value,
  action: KeyAction,
): { readonly value: Value; readonly result: Result } {
  switch (action.kind) {
    case "get":
      return { value, result: value };
    case "exists":
      return { value, result: value === null ? 0 : 1 };
    case "set":
      return { value: action.value, result: "OK" };
    case "setnx":
      return value === null ? { value: action.value, result: 1 } : { value, result: 0 };
    case "getset":
      return { value: action.value, result: value };
    case "getdel":
      return { value: null, result: value };
    case "del":
      return { value: null, result: value === null ? 0 : 1 };
    case "append": {
      const longer = (value ?? "") + action.value;
      return { value: longer, result: longer.length };
    }
    case "incr": {
      const old = value === null ? 0 : parseInteger(value);
      if (old === undefined) return { value, result: { error: NOT_AN_INTEGER } };
      return { value: String(old + action.by), result: old + action.by };
    }
    default:
      return unreachable(action);
  }
}

/** @returns whether two answers are the same; of errors only the code, their first word, counts. */
export function sameResult(left: Result, right: Result): boolean {
  if (left === right) return true;
  if (left === null || right === null) return false;
  if (typeof left !== "object" || typeof right !== "object") return false;
  if (isResultArray(left)) {
    return (
      isResultArray(right) &&
      left.length === right.length &&
      left.every((item, index) => sameResult(item, right[index] ?? null))
    );
  }
  return !isResultArray(right) && codeOf(left.error) === codeOf(right.error);
}

/**
 * @returns whether an operation changes nothing wherever in the order it stands: it only reads, or its answer says that it
 * found nothing to change.
 */
export function isPure(operation: OperationRecord): boolean {
  if (operation.outcome === "failed") return true;
  const result = operation.outcome === "ok" ? operation.result : undefined;
  return isPureAction(operation.action, result);
}

function isPureAction(action: Action, result: Result | undefined): boolean {
  switch (action.kind) {
    case "get":
    case "exists":
      return true;
    case "setnx":
    case "del":
      return result === 0;
    case "getdel":
      return result === null;
    case "multi":
      return action.actions.every((part, index) => {
        const partResult =
          result !== undefined && result !== null && typeof result === "object"
            ? isResultArray(result)
              ? result[index]
              : undefined
            : undefined;
        return isPureAction(part, partResult);
      });
    default:
      return false;
  }
}

function codeOf(error: string): string {
  const space = error.indexOf(" ");
  return space < 0 ? error : error.slice(0, space);
}

function parseInteger(value: string): number | undefined {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(value)) return undefined;
  const parsed = Number(value);
  return Number.isSafeInteger(parsed) ? parsed : undefined;
}
