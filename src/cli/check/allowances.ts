/** Which errors a fault explains, exactly: for clients of the nodes that it hits, and for those of all others. Pure. */

import type { FaultKind } from "./fault-kinds.ts";

/**
 * How an operation can fail. `refused`: certainly not done, try again; `uncertain`: the node says that it does not know;
 * `silent`: no answer in time; `lost`: the connection broke; `other`: no fault explains it, ever.
 */
export type ErrorKind = "refused" | "uncertain" | "silent" | "lost" | "other";

/** Beginnings of what clients are told, or tell themselves, with what it means. */
const MEANINGS: readonly (readonly [RegExp, ErrorKind])[] = [
  [/^(TRYAGAIN|NOREPLICAS|MISCONF|CLUSTERDOWN|LOADING|EXECABORT|EXEC answered null)\b/, "refused"],
  [/^UNCERTAIN\b/, "uncertain"],
  [/^no answer within /, "silent"],
  [/^(Socket closed unexpectedly|The client is closed|not connected|Disconnects client)/, "lost"],
  [/\b(ECONNRESET|EPIPE|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/, "lost"],
];

/** @returns what kind of error it is, by its text. */
export function errorKindOf(why: string): ErrorKind {
  return MEANINGS.find(([pattern]) => pattern.test(why))?.[1] ?? "other";
}

/** What clients may see while a fault lasts and until the cluster is whole again. */
export interface Allowance {
  /** At the nodes that it hits. */
  readonly hit: readonly ErrorKind[];
  /** At all others. */
  readonly elsewhere: readonly ErrorKind[];
}

const ANY: readonly ErrorKind[] = ["refused", "uncertain", "silent", "lost", "other"];
/** Answers of a node that lives, can be asked and has lost the others; it has to give one in its own time, so no silence. */
const CUT_OFF: readonly ErrorKind[] = ["refused", "uncertain"];

/** By the kind of fault. */
export const ALLOWANCES: Readonly<Record<FaultKind, Allowance>> = {
  kill: { hit: ANY, elsewhere: [] },
  pause: { hit: ANY, elsewhere: ANY },
  partition: { hit: ANY, elsewhere: ANY },
  transfer: { hit: ANY, elsewhere: [] },
  cut: { hit: CUT_OFF, elsewhere: [] },
  mute: { hit: CUT_OFF, elsewhere: [] },
  deaf: { hit: CUT_OFF, elsewhere: [] },
  "cut-pair": { hit: CUT_OFF, elsewhere: [] },
  "cut-witness": { hit: [], elsewhere: [] },
  loss: { hit: [], elsewhere: [] },
  delay: { hit: [], elsewhere: [] },
  "slow-link": { hit: [], elsewhere: [] },
  // What the node said last did not arrive, and what it says first after its start is that it is not ready.
  "power-off": { hit: ["silent", "lost", "refused"], elsewhere: [] },
  // What the node said meanwhile arrives when the cable is plugged in again.
  "link-down": { hit: ["silent", "refused", "uncertain"], elsewhere: [] },
  "slow-node": { hit: [], elsewhere: [] },
  "stop-and-go": { hit: CUT_OFF, elsewhere: [] },
  "slow-disk": { hit: [], elsewhere: [] },
  "stuck-disk": { hit: CUT_OFF, elsewhere: [] },
  "failing-disk": { hit: CUT_OFF, elsewhere: [] },
};

/** @returns whether a fault of this kind explains an error at a node that it hits, or does not hit. */
export function explains(kind: FaultKind, isHit: boolean, why: string): boolean {
  const allowance = ALLOWANCES[kind];
  return (isHit ? allowance.hit : allowance.elsewhere).includes(errorKindOf(why));
}
