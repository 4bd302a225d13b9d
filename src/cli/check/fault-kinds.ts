/** The names of all faults that `hothot check` knows. */

import { NET_FAULT_KINDS } from "./net-faults.ts";

/** Of processes and of the links between nodes; these need no bed. */
export const PROCESS_FAULT_KINDS = ["kill", "pause", "partition", "transfer"] as const;

export const FAULT_KINDS = [...PROCESS_FAULT_KINDS, ...NET_FAULT_KINDS] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** On the command line, all faults of the network together. */
export const ALL_OF_NETWORK = "net";

/** @returns whether it is a fault of the network. */
export function isOfNetwork(kind: FaultKind): kind is (typeof NET_FAULT_KINDS)[number] {
  return NET_FAULT_KINDS.some((each) => each === kind);
}
