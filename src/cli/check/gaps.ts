/** How long nothing succeeded: the pauses that clients felt. Pure. */

import { type OperationRecord, partsOf } from "../../history/history.ts";
import { isPure } from "../../history/model.ts";

/** Times at which something succeeded, ascending, ms since the run began. */
export interface Successes {
  /** Of writes, by the key's group (a shard, or a slot where shards are unknown). */
  readonly byGroup: ReadonlyMap<string, readonly number[]>;
  /** Of all operations, by the node that was asked. */
  readonly byNode: ReadonlyMap<string, readonly number[]>;
}

/**
 * Sorts out the successes of a history.
 * @param groupOf the group of a key; undefined for keys that do not count.
 */
export function successesOf(
  history: readonly OperationRecord[],
  groupOf: (key: string) => string | undefined,
): Successes {
  const byGroup = new Map<string, number[]>();
  const byNode = new Map<string, number[]>();
  for (const operation of history) {
    if (operation.outcome !== "ok") continue;
    if (operation.node !== undefined) push(byNode, operation.node, operation.answeredAt);
    if (isPure(operation)) continue;
    const group = groupOf(partsOf(operation.action)[0]?.key ?? "");
    if (group !== undefined) push(byGroup, group, operation.answeredAt);
  }
  for (const times of [...byGroup.values(), ...byNode.values()]) {
    times.sort((left, right) => left - right);
  }
  return { byGroup, byNode };
}

/**
 * The longest time without a success that begins in a span. A pause that was there before does not count until the span begins,
 * so that of a fault's gap nothing is due to clients that happened to ask for nothing; it counts until the next success, also past
 * the end of the span.
 * @param times ascending, ms.
 * @param from begin of the span, ms.
 * @param to end of the span, ms; where no success follows, the gap ends here.
 */
export function longestGap(times: readonly number[], from: number, to: number): number {
  let index = firstAtLeast(times, from);
  let last = from;
  let longest = 0;
  while (last < to) {
    const next = times[index] ?? to;
    longest = Math.max(longest, next - last);
    last = next;
    index++;
    if (index > times.length) break;
  }
  return longest;
}

/** @returns the middle value, the mean of the two middle ones if their number is even; undefined of none. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function firstAtLeast(times: readonly number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function push(map: Map<string, number[]>, name: string, time: number): void {
  const times = map.get(name);
  if (times === undefined) map.set(name, [time]);
  else times.push(time);
}
