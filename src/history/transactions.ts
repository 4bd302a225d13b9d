/**
 * Divides a history into parts that can be judged apart. Linearizability is local (Herlihy & Wing, "Linearizability", 1990, section
 * 3.3): single keys are judged one by one. A transaction joins its keys: what is strictly serializable is then the joint object,
 * so the keys that transactions connect are judged together, and no others.
 */

import { keysOf, type OperationRecord } from "./history.ts";

/** Keys that transactions connect, with all operations on them. */
export interface Component {
  /** Sorted. */
  readonly keys: readonly string[];
  /** In the order of the history. */
  readonly operations: readonly OperationRecord[];
}

/** @returns the components of a history, ordered by their first key; operations that failed or name no key are left out. */
export function divide(history: Iterable<OperationRecord>): Component[] {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let up = parents.get(root) ?? root; up !== root; up = parents.get(root) ?? root) root = up;
    // Halves later walks; without it a long chain of transactions costs the square of its length.
    for (let at = key; at !== root; ) {
      const up = parents.get(at) ?? root;
      parents.set(at, root);
      at = up;
    }
    return root;
  };

  const judged: { readonly operation: OperationRecord; readonly key: string }[] = [];
  for (const operation of history) {
    if (operation.outcome === "failed") continue;
    const keys = keysOf(operation.action);
    const first = keys[0];
    if (first === undefined) continue;
    judged.push({ operation, key: first });
    for (const key of keys) {
      if (!parents.has(key)) parents.set(key, key);
      parents.set(rootOf(key), rootOf(first));
    }
  }

  const components = new Map<string, { keys: string[]; operations: OperationRecord[] }>();
  for (const key of [...parents.keys()].sort()) {
    const root = rootOf(key);
    const component = components.get(root);
    if (component === undefined) components.set(root, { keys: [key], operations: [] });
    else component.keys.push(key);
  }
  for (const { operation, key } of judged) components.get(rootOf(key))?.operations.push(operation);
  return [...components.values()];
}
