/** The names of all faults that `hothot check` knows. */

import { MACHINE_FAULT_KINDS } from "./machine-faults.ts";
import { NET_FAULT_KINDS } from "./net-faults.ts";

/** Of processes and of the links between nodes; these need no bed. */
export const PROCESS_FAULT_KINDS = ["kill", "pause", "partition", "transfer"] as const;

export const FAULT_KINDS = [
  ...PROCESS_FAULT_KINDS,
  ...NET_FAULT_KINDS,
  ...MACHINE_FAULT_KINDS,
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Faults by which a node is lost to all at once, so that a failover is all that clients wait for. */
export const FAILOVER_KINDS: readonly FaultKind[] = ["kill", "cut", "power-off", "link-down"];

/** On the command line, all faults of the network and of machines together. */
export const ALL_OF_NETWORK = "net";

/** Faults as the command line names them. */
export interface FaultChoice {
  /** In the order of `FAULT_KINDS`. */
  readonly kinds: readonly FaultKind[];
  /** Of these, those that were not named themselves: they are left out where the machine cannot make them. */
  readonly optional: readonly FaultKind[];
}

/** @returns the choice; undefined if a word is no fault's name, nor `net`. */
export function chooseFaults(words: readonly string[]): FaultChoice | undefined {
  const isKnown = (word: string): boolean => FAULT_KINDS.some((kind) => kind === word);
  if (!words.every((word) => word === ALL_OF_NETWORK || isKnown(word))) return undefined;
  const isInGroup = (kind: FaultKind): boolean =>
    words.includes(ALL_OF_NETWORK) && !PROCESS_FAULT_KINDS.some((each) => each === kind);
  return {
    kinds: FAULT_KINDS.filter((kind) => words.includes(kind) || isInGroup(kind)),
    optional: MACHINE_FAULT_KINDS.filter((kind) => !words.includes(kind) && isInGroup(kind)),
  };
}

/** @returns whether it is a fault of the network. */
export function isOfNetwork(kind: FaultKind): kind is (typeof NET_FAULT_KINDS)[number] {
  return NET_FAULT_KINDS.some((each) => each === kind);
}

/** @returns whether it is a fault of a single machine. */
export function isOfMachine(kind: FaultKind): kind is (typeof MACHINE_FAULT_KINDS)[number] {
  return MACHINE_FAULT_KINDS.some((each) => each === kind);
}
