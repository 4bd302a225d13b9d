/**
 * Moves shards to other nodes, a few at a time: names a shard's new replicas in the register, waits until the nodes have
 * done the rest, and goes on with the next. It keeps nothing in mind: after an interruption the same command goes on from
 * what the register holds.
 */

import { describeShards, withReplicas } from "../register/membership.ts";
import type { Move } from "../register/rebalance.ts";
import type { Configuration, ShardId } from "../replica/configuration.ts";
import { CliError } from "./cli-error.ts";
import { livingNodes, type MembershipCluster, type Statuses } from "./membership-cluster.ts";
import { describeMotion, type Motion, misledShards, motionsOf } from "./membership-progress.ts";
import { printLine, printNote } from "./output.ts";
import { pause } from "./processes.ts";

export interface MoveOptions {
  /** From the document as it is to where it shall be. Every part of its moves must bring its end nearer. */
  readonly plan: (current: Configuration) => readonly Move[];
  /** Shards that may be on their way at the same time. */
  readonly parallel: number;
  /** False: everything is asked for at once, and nothing waited for. */
  readonly wait: boolean;
}

const LOOK_MS = 100;
/** How often it is told what is waited for, ms. */
const NOTE_MS = 5_000;

/**
 * Carries out a plan.
 * @returns how many shards were moved.
 * @throws CliError if the cluster is not formed yet, and as `MembershipCluster.change`.
 */
export async function moveShards(
  cluster: MembershipCluster,
  options: MoveOptions,
): Promise<number> {
  const first = await cluster.read();
  if (first.shards.some(({ epoch }) => epoch === 0)) {
    throw new CliError("The cluster is not formed yet; it is once each of its nodes was started.");
  }
  const planned = options.plan(first);
  if (planned.length > 0) printNote(summaryOf(planned));
  if (options.wait) return new Mover(cluster, options).run();
  await cluster.change((current) => withReplicas(current, options.plan(current)));
  return planned.length;
}

class Mover {
  readonly #cluster: MembershipCluster;
  readonly #options: MoveOptions;
  /** Shards that this command has set in motion, and that are not in place yet. */
  readonly #moving = new Set<ShardId>();
  #moved = 0;
  #notedAt = performance.now();

  constructor(cluster: MembershipCluster, options: MoveOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  async run(): Promise<number> {
    for (;;) {
      const current = await this.#cluster.read();
      const statuses = await this.#cluster.statuses(current.nodes);
      const motions = motionsOf(current, statuses);
      this.#tellArrivals(current, motions);
      const pending = this.#options.plan(current);
      const isInPlace = pending.length === 0 && motions.length === 0;
      if (isInPlace && misledShards(current).length === 0) return this.#moved;
      if (await this.#start(pending, motions, statuses)) continue;
      this.#noteWaiting({ current, pending, motions, statuses });
      await pause(LOOK_MS);
    }
  }

  /** Sets the next shards in motion, if there is room. @returns whether it did. */
  async #start(
    pending: readonly Move[],
    motions: readonly Motion[],
    statuses: Statuses,
  ): Promise<boolean> {
    const room = this.#options.parallel - motions.length;
    if (room <= 0) return false;
    const living = livingNodes(statuses);
    const isBusy = (shard: ShardId): boolean => motions.some((each) => each.shard.id === shard);
    const possible = new Set(
      pending
        .filter(({ shard, to }) => !isBusy(shard) && to.every((node) => living.has(node)))
        .map(({ shard }) => shard),
    );
    let begun: readonly Move[] = [];
    await this.#cluster.change((current) => {
      const moves = this.#options.plan(current).filter(({ shard }) => possible.has(shard));
      const copies = moves.filter(({ copiedTo }) => copiedTo.length > 0);
      // To change the preferred primary or to give up a copy costs nothing, so it needs no turn; but it comes last.
      begun = copies.length > 0 ? copies.slice(0, room) : moves;
      return withReplicas(current, begun);
    });
    for (const { shard, from, to } of begun) {
      this.#moving.add(shard);
      printNote(`shard ${shard}: from ${from.join(",")} to ${to.join(",")}`);
    }
    return begun.length > 0;
  }

  #tellArrivals(current: Configuration, motions: readonly Motion[]): void {
    for (const shard of this.#moving) {
      if (motions.some((motion) => motion.shard.id === shard)) continue;
      this.#moving.delete(shard);
      this.#moved += 1;
      this.#notedAt = performance.now();
      printNote(`shard ${shard} is in place: ${current.shards[shard]?.replicas.join(",")}`);
    }
  }

  #noteWaiting(view: {
    readonly current: Configuration;
    readonly pending: readonly Move[];
    readonly motions: readonly Motion[];
    readonly statuses: Statuses;
  }): void {
    const { current, pending, motions, statuses } = view;
    if (performance.now() - this.#notedAt < NOTE_MS) return;
    this.#notedAt = performance.now();
    for (const motion of motions.slice(0, 4)) {
      printNote(`shard ${motion.shard.id}: ${describeMotion(motion, statuses)}`);
    }
    if (motions.length > 4) printNote(`… and ${motions.length - 4} more shards`);
    if (motions.length > 0) return;
    const living = livingNodes(statuses);
    const silent = new Set(pending.flatMap(({ to }) => to.filter((node) => !living.has(node))));
    if (silent.size > 0) {
      const names = [...silent].join(", ");
      printNote(
        `waiting for ${names} to answer; start it, or if it is gone for good: hothot drain`,
      );
    } else if (pending.length === 0) {
      printNote(`waiting for ${describeShards(misledShards(current))} to be handed over`);
    }
  }
}

/** Tells how the moves ended. */
export function printMoved(moved: number, wait: boolean): void {
  const shards = `${moved} ${moved === 1 ? "shard" : "shards"}`;
  if (moved === 0) printLine("Everything is in place; nothing had to be moved.");
  else if (wait) printLine(`Done: ${shards} moved.`);
  else printLine(`${shards} will move; see how with: hothot status`);
}

function summaryOf(moves: readonly Move[]): string {
  const copies = moves.reduce((sum, { copiedTo }) => sum + copiedTo.length, 0);
  return `${moves.length} shards change, ${copies} ${copies === 1 ? "copy" : "copies"} to be made`;
}
