/** The faults of a network that `hothot check` makes in a bed: what each one is, whom it hits, and how it is taken back. */

import type { Prng } from "../../kit/prng.ts";
import { BedNetwork, type Impairment } from "../bed/network.ts";
import { CliError } from "../cli-error.ts";
import { type ClusterState, killNode, standingOf, startNode } from "../cluster-state.ts";

/**
 * `cut`: from all other processes, both ways; `mute`: the others do not hear the node, but it hears them; `deaf`: it hears none of
 * them, but they hear it; `cut-pair`: two nodes from each other; `cut-witness`: from the witness alone; `loss`, `delay`, `slow-link`: of the node's line; `power-off`: nothing comes or
 * goes any more, then the process dies; `link-down`: the cable is pulled. Clients reach the node except in the last two.
 */
export const NET_FAULT_KINDS = [
  "cut",
  "mute",
  "deaf",
  "cut-pair",
  "cut-witness",
  "loss",
  "delay",
  "slow-link",
  "power-off",
  "link-down",
] as const;
export type NetFaultKind = (typeof NET_FAULT_KINDS)[number];

/** A fault that is yet to be made. */
export interface NetFault {
  readonly kind: NetFaultKind;
  /** The node that it befalls. */
  readonly victim: string;
  /** The nodes whose clients may notice. */
  readonly hit: readonly string[];
  /** In words. */
  readonly what: string;
  readonly impairments: Readonly<Record<string, Impairment>>;
}

/** A line of 50 ms, give or take 10. */
const DELAY = { delayMs: 50, jitterMs: 10 } as const;
/** What a slow line carries, kbit/s: drawn from this range. */
const RATE_KBIT_MIN = 2_000;
const RATE_KBIT_MAX = 10_000;
/** Packets that a bad line loses, percent: drawn from this range. */
const LOSS_PERCENT_MIN = 1;
const LOSS_PERCENT_MAX = 10;

/** Makes and heals faults, one at a time. */
export class NetFaults {
  readonly #state: ClusterState;
  readonly #network: BedNetwork;

  /**
   * @param script path of this program.
   * @throws CliError if the cluster is in no bed.
   */
  constructor(state: ClusterState, script: string) {
    if (state.bed === undefined) {
      throw new CliError(
        "Faults of the network need a cluster in a network of its own. Start it with: hothot up --bed",
      );
    }
    this.#state = state;
    this.#network = new BedNetwork(state.bed, script);
  }

  /** Draws the particulars of a fault; how many numbers are drawn depends on the kind alone. */
  draw(kind: NetFaultKind, victim: string, prng: Prng): NetFault {
    const nodes = this.#state.nodes.map((node) => node.id);
    const others = nodes.filter((node) => node !== victim);
    const all = [...others, this.#state.witness.id];
    const made = (
      what: string,
      impairments: NetFault["impairments"],
      hit: readonly string[] = [victim],
    ): NetFault => ({ kind, victim, hit, what, impairments });
    switch (kind) {
      case "cut":
        return made(`cut of ${victim} from all others`, bothWays([victim], all));
      case "mute":
        return made(`${victim} is heard by none of the others`, deaf(all, [victim]));
      case "deaf":
        return made(`${victim} hears none of the others`, { [victim]: { deafTo: all } });
      case "cut-pair": {
        const other = prng.pick(others);
        const pair = [victim, other];
        return made(`cut between ${pair.join(" and ")}`, bothWays([victim], [other]), pair);
      }
      case "cut-witness": {
        const { id } = this.#state.witness;
        return made(`cut of ${victim} from the witness`, bothWays([victim], [id]), []);
      }
      case "loss": {
        const percent = prng.between(LOSS_PERCENT_MIN, LOSS_PERCENT_MAX);
        const lossShare = percent / 100;
        return made(`loss of ${percent.toFixed(1)} % of ${victim}'s packets`, {
          [victim]: { lossShare },
        });
      }
      case "delay":
        return made(`delay of ${victim}'s packets by ${DELAY.delayMs} ± ${DELAY.jitterMs} ms`, {
          [victim]: { delay: DELAY },
        });
      case "slow-link": {
        const rateKbit = Math.round(prng.between(RATE_KBIT_MIN, RATE_KBIT_MAX));
        return made(`line of ${rateKbit} kbit/s for ${victim}`, { [victim]: { rateKbit } });
      }
      case "power-off":
        return made(`silent power-off of ${victim}`, { [victim]: { isSilent: true } });
      case "link-down":
        return made(`link down at ${victim}`, { [victim]: { isUnplugged: true } });
    }
  }

  /** @throws CliError if the fault cannot be made. */
  async begin(fault: NetFault): Promise<void> {
    await this.#network.impair(fault.impairments);
    // After the packets: what a dying process sends must not be what tells the others.
    if (fault.kind === "power-off") await killNode(this.#state, fault.victim);
  }

  /** Takes back whatever there is of faults, and starts the node if it was killed. */
  async heal(fault?: NetFault): Promise<void> {
    await this.#network.heal();
    if (fault?.kind === "power-off" && standingOf(this.#state, fault.victim) === "gone") {
      await startNode(this.#state, fault.victim);
    }
  }
}

/** Cuts two groups from each other. */
export function bothWays(
  left: readonly string[],
  right: readonly string[],
): Record<string, Impairment> {
  return { ...deaf(left, right), ...deaf(right, left) };
}

/** Lets some hear nothing of others. */
export function deaf(
  listeners: readonly string[],
  speakers: readonly string[],
): Record<string, Impairment> {
  return Object.fromEntries(listeners.map((id) => [id, { deafTo: speakers }]));
}
