/**
 * Names the acknowledged writes that the final state does not hold. It needs no search, so it also works where the
 * search gives up, and it says which write is gone where the search can only say that nothing explains the answers. It
 * accuses no write that something else could have erased: what it finds is lost.
 */

import {
  isResultArray,
  type KeyAction,
  type OperationRecord,
  partsOf,
  type Result,
  type Value,
} from "./history.ts";
import { isPure } from "./model.ts";

/** What one node held when everything was quiet again. */
export interface FinalState {
  readonly node: string;
  readonly values: ReadonlyMap<string, Value>;
}

/** An acknowledged write that a node does not hold. */
export interface LostWrite {
  readonly key: string;
  readonly node: string;
  readonly operation: OperationRecord;
  /** A sentence for people. */
  readonly why: string;
}

/** One key's part of an operation that was or may have been carried out and may have changed something. */
interface Write {
  readonly operation: OperationRecord;
  readonly action: KeyAction;
  readonly result: Result | undefined;
}

/**
 * @param history all operations, the final reads included or not.
 * @param finals what each node holds after the last operation; keys that a node's map lacks are not judged at that node.
 * Values that APPEND adds must be unique, none part of another.
 * @returns the writes that are certainly lost, at most one record for each write and node.
 */
export function findLostWrites(
  history: Iterable<OperationRecord>,
  finals: readonly FinalState[],
): LostWrite[] {
  const lost: LostWrite[] = [];
  for (const [key, writes] of writesByKey(history)) {
    const held = finals.flatMap((final) => {
      const value = final.values.get(key);
      return value === undefined ? [] : [{ node: final.node, value }];
    });
    if (held.length === 0) continue;
    if (writes.every((write) => write.action.kind === "incr")) {
      for (const at of held) lost.push(...lostIncrements(key, writes, at));
      continue;
    }
    const overwriting = latestAnswer(writes.filter(isOverwriting));
    const changing = latestAnswer(writes);
    for (const write of writes) {
      if (write.operation.outcome !== "ok") continue;
      const since = write.operation.invokedAt;
      // Something that is not over before this write began may have erased it.
      const mayBeErased = overwriting.after(write, since);
      const mayBeChanged = changing.after(write, since);
      for (const at of held) {
        const why = missing(write, at.value, mayBeErased, mayBeChanged);
        if (why !== undefined) lost.push({ key, node: at.node, operation: write.operation, why });
      }
    }
  }
  return lost;
}

function missing(
  write: Write,
  final: Value,
  mayBeErased: boolean,
  mayBeChanged: boolean,
): string | undefined {
  if (mayBeErased) return undefined;
  switch (write.action.kind) {
    case "append":
      return final?.includes(write.action.value) === true
        ? undefined
        : "what it appended is not in the final value, and nothing overwrote it";
    case "set":
    case "getset":
    case "setnx":
      if (final?.startsWith(write.action.value) === true) return undefined;
      return "the final value does not begin with what it wrote, and nothing overwrote it";
    case "del":
    case "getdel":
      if (mayBeChanged || final === null) return undefined;
      return "the key is there again although nothing wrote it after the deletion";
    default:
      return undefined;
  }
}

function lostIncrements(
  key: string,
  writes: readonly Write[],
  at: { readonly node: string; readonly value: Value },
): LostWrite[] {
  const final = at.value === null ? 0 : Number(at.value);
  let lowest = 0;
  let highest = 0;
  let onlyUp = true;
  for (const { operation, action } of writes) {
    if (action.kind !== "incr") continue;
    if (action.by < 0) onlyUp = false;
    if (operation.outcome === "ok" || action.by < 0) lowest += action.by;
    if (operation.outcome === "ok" || action.by > 0) highest += action.by;
  }
  if (final >= lowest && final <= highest) return [];
  const acknowledged = writes.filter((write) => write.operation.outcome === "ok");
  const above = acknowledged.filter(
    (write) => onlyUp && typeof write.result === "number" && write.result > final,
  );
  // Where no single increment can be named, the latest stands for them.
  const named = above.length > 0 ? above : acknowledged.slice(-1);
  const range = lowest === highest ? String(lowest) : `between ${lowest} and ${highest}`;
  return named.map((write) => ({
    key,
    node: at.node,
    operation: write.operation,
    why: `the increments add up to ${range}, the final value is ${at.value ?? "nil"}`,
  }));
}

function isOverwriting(write: Write): boolean {
  const kind = write.action.kind;
  return kind !== "append" && kind !== "setnx";
}

/** Answers quickly whether another write may have taken effect after a given one. */
function latestAnswer(writes: readonly Write[]): {
  after(write: Write, since: number): boolean;
} {
  let latest: Write | undefined;
  let latestEnd = Number.NEGATIVE_INFINITY;
  let secondEnd = Number.NEGATIVE_INFINITY;
  for (const write of writes) {
    const end =
      write.operation.outcome === "unknown" ? Number.POSITIVE_INFINITY : write.operation.answeredAt;
    if (end >= latestEnd) {
      secondEnd = latestEnd;
      latestEnd = end;
      latest = write;
    } else if (end > secondEnd) {
      secondEnd = end;
    }
  }
  return {
    after: (write, since) => (latest === write ? secondEnd : latestEnd) >= since,
  };
}

function writesByKey(history: Iterable<OperationRecord>): Map<string, Write[]> {
  const byKey = new Map<string, Write[]>();
  for (const operation of history) {
    if (operation.outcome === "failed" || isPure(operation)) continue;
    const isMulti = operation.action.kind === "multi";
    for (const [index, action] of partsOf(operation.action).entries()) {
      const result = operation.outcome === "ok" ? operation.result : undefined;
      const part = isMulti ? (isArray(result) ? result[index] : undefined) : result;
      const write: Write = { operation, action, result: part };
      if (!changes(write)) continue;
      const writes = byKey.get(action.key);
      if (writes === undefined) byKey.set(action.key, [write]);
      else writes.push(write);
    }
  }
  return byKey;
}

/** Tells whether the part may have changed its key, going by its own answer. */
function changes({ action, result }: Write): boolean {
  switch (action.kind) {
    case "get":
    case "exists":
      return false;
    case "setnx":
    case "del":
      return result !== 0;
    case "getdel":
      return result !== null;
    default:
      return true;
  }
}

function isArray(result: Result | undefined): result is readonly Result[] {
  return result !== undefined && isResultArray(result);
}
