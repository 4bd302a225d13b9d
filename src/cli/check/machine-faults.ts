/** The faults of a single machine that `hothot check` makes: a processor or a disk that is slow, stuck or broken. */

import type { Prng } from "../../kit/prng.ts";
import { CliError } from "../cli-error.ts";
import { type ClusterState, processOf, standingOf } from "../cluster-state.ts";
import { endHelper, type Helper, startHelper } from "../helper-process.ts";
import { signalProcess } from "../processes.ts";
import { type Affliction, afflictArguments } from "./afflict.ts";
import { holdTrouble } from "./hold-calls.ts";

/** `slow-disk`: each sync takes long; `stuck-disk`: no sync ends; `failing-disk`: each sync fails. */
const DISK_FAULT_KINDS = ["slow-disk", "stuck-disk", "failing-disk"] as const;

/**
 * `slow-node`: has the processor for a part of the time, and never lacks it for as long as a lease; `stop-and-go`: lacks it for longer,
 * again and again; and those of disks.
 */
export const MACHINE_FAULT_KINDS = ["slow-node", "stop-and-go", ...DISK_FAULT_KINDS] as const;
export type MachineFaultKind = (typeof MACHINE_FAULT_KINDS)[number];

/** A fault that is yet to be made. */
export interface MachineFault {
  readonly kind: MachineFaultKind;
  /** The node that it befalls. */
  readonly victim: string;
  readonly hit: readonly string[];
  /** In words. */
  readonly what: string;
  readonly affliction: Affliction;
}

/** A slow node is stopped for so much of each 100 ms. */
const SLOW_STOPPED_MS = 40;
const SLOW_RUNNING_MS = 60;
/** What a slow disk's sync takes longer, ms: drawn from this range. */
const SYNC_MS_MIN = 20;
const SYNC_MS_MAX = 200;
/** Longer than any fault lasts. */
const STUCK_MS = 600_000;

/** @returns whether it is a fault of a disk, which not every machine can make. */
export function isOfDisk(kind: string): boolean {
  return DISK_FAULT_KINDS.some((each) => each === kind);
}

/** @returns why faults of disks cannot be made in this cluster on this machine; undefined if they can. */
export async function diskFaultTrouble(state: ClusterState): Promise<string | undefined> {
  const hasDisks = state.nodes.every((node) => node.args.includes("--data-dir"));
  return hasDisks ? holdTrouble() : "the nodes have no disks (hothot up --data-dir)";
}

/** Makes and heals faults, one at a time. */
export class MachineFaults {
  readonly #state: ClusterState;
  readonly #script: string;
  #helper: Helper | undefined;

  /** @param script path of this program, which also holds processes up. */
  constructor(state: ClusterState, script: string) {
    this.#state = state;
    this.#script = script;
  }

  /** Draws the particulars of a fault; how many numbers are drawn depends on the kind alone. */
  draw(kind: MachineFaultKind, victim: string, prng: Prng): MachineFault {
    const made = (what: string, affliction: Affliction): MachineFault => ({
      ...{ kind, victim, hit: [victim], what, affliction },
    });
    switch (kind) {
      case "slow-node":
        return made(`${victim} stopped for ${SLOW_STOPPED_MS} ms of each 100`, {
          ...{ kind: "in-turns", stoppedMs: SLOW_STOPPED_MS, runningMs: SLOW_RUNNING_MS },
        });
      case "stop-and-go": {
        const stoppedMs = Math.round(prng.between(350, 900));
        const runningMs = Math.round(prng.between(100, 400));
        return made(`${victim} stopped for ${stoppedMs} ms, running for ${runningMs}, in turns`, {
          ...{ kind: "in-turns", stoppedMs, runningMs },
        });
      }
      case "slow-disk": {
        const delayMs = Math.round(prng.between(SYNC_MS_MIN, SYNC_MS_MAX));
        return made(`each sync of ${victim}'s disk taking ${delayMs} ms longer`, {
          ...{ kind: "syncs", fault: { delayMs } },
        });
      }
      case "stuck-disk":
        return made(`no sync of ${victim}'s disk coming to an end`, {
          ...{ kind: "syncs", fault: { delayMs: STUCK_MS } },
        });
      case "failing-disk":
        return made(`each sync of ${victim}'s disk failing`, {
          ...{ kind: "syncs", fault: { error: "EIO" } },
        });
    }
  }

  /** @throws CliError if the fault cannot be made. */
  async begin(fault: MachineFault): Promise<void> {
    const identity = processOf(this.#state, fault.victim);
    if (identity === undefined) throw new CliError(`${fault.victim} is not running.`);
    try {
      this.#helper = await startHelper(process.execPath, [
        this.#script,
        ...afflictArguments(identity, fault.affliction),
      ]);
    } catch (error) {
      throw new CliError(`${fault.kind} cannot be made: ${String(error)}`, { cause: error });
    }
  }

  /** Takes back whatever there is of faults. */
  async heal(): Promise<void> {
    const helper = this.#helper;
    this.#helper = undefined;
    if (helper !== undefined) await endHelper(helper);
    for (const { id } of this.#state.nodes) {
      const identity = processOf(this.#state, id);
      // One that was killed itself could not let its node go on.
      if (identity !== undefined && standingOf(this.#state, id) === "paused") {
        signalProcess(identity, "SIGCONT");
      }
    }
  }
}
