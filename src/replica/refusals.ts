/** What the core itself refuses with. The first word says what a client may conclude. */

import { Refusal } from "../data/reply.ts";

/** Certainly not executed. */
export const TRY_AGAIN_LATER = new Refusal(
  "TRYAGAIN",
  "The shard could not serve in time; the command was not executed, send it again",
);
export const NO_CONFIGURATION = new Refusal(
  "TRYAGAIN",
  "The node has no configuration of the cluster yet; the command was not executed",
);
export const OVERLOADED = new Refusal(
  "TRYAGAIN",
  "Too many commands are waiting at this node; the command was not executed",
);

/** Certainly not executed, as long as there are too few in-sync replicas (R13). */
export const NO_REPLICAS = new Refusal("NOREPLICAS", "Not enough good replicas to write.");
/** Certainly not executed, as long as no in-sync replica has a disk that works (R14). */
export const NO_DISK = new Refusal(
  "MISCONF",
  "The disks of all in-sync replicas have failed; the command was not executed",
);

/** The outcome is unknown. */
export const UNCERTAIN_LATE = new Refusal(
  "UNCERTAIN",
  "No outcome in time; the command may or may not have been executed",
);
export const UNCERTAIN_BELOW_MIN = new Refusal(
  "UNCERTAIN",
  "The write is on fewer in-sync replicas than min-in-sync asks for; it may be lost",
);
