/** What the router itself refuses. */

import { Refusal } from "../data/reply.ts";

export const NO_CONFIGURATION = new Refusal(
  "TRYAGAIN",
  "This node has no configuration of its cluster yet",
);

export const CROSS_SLOT = new Refusal("CROSSSLOT", "Keys in request don't hash to the same slot");

/** Some shards may have run their part of a write and others have not: it did not happen as a whole, nor not at all. */
export function partlyDone(refusal: Refusal): Refusal {
  return new Refusal(
    "UNCERTAIN",
    `The command was split over several shards and parts of it may have been executed; one answered: ${refusal.code} ${refusal.message}`,
  );
}

/** The command was routed by an older configuration, and would have to be taken apart anew. */
export const DIVIDED_MEANWHILE = new Refusal(
  "TRYAGAIN",
  "The shard was divided while the command was on its way to it",
);
