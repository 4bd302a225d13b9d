/** One seed: a cluster, clients, faults, healing, and the verdict. */

import { describeJudgement, judge } from "../src/history/judge.ts";
import { AssertionError } from "../src/kit/assert.ts";
import { Prng } from "../src/kit/prng.ts";
import type { Settings } from "../src/replica/configuration.ts";
import type { Mutant } from "../src/replica/mutants.ts";
import type { Limits } from "../src/replica/surface.ts";
import { FAULT_KINDS, type FaultKind, Nemesis } from "./faults.ts";
import type { NetworkOptions } from "./network.ts";
import { Workload, type WorkloadOptions } from "./workload.ts";
import { SafetyViolation, World } from "./world.ts";

/** What a run is like; all that is left out is drawn from the seed. */
export interface Plan {
  readonly nodeCount?: number;
  readonly settings?: Partial<Settings>;
  readonly faults?: readonly FaultKind[];
  /** Mean time between faults, ms. */
  readonly faultEveryMs?: number;
  readonly faultsForMs?: number;
  readonly network?: Partial<NetworkOptions>;
  readonly workload?: Partial<WorkloadOptions>;
  readonly limits?: Partial<Limits>;
  /** Two clocks differ by up to this fraction. */
  readonly drift?: number;
  /** The largest difference of a wall clock from true time, ms. */
  readonly wallSkewMs?: number;
  /** The longest time that a disk usually takes under `fsync`, ms. */
  readonly syncMsMax?: number;
  /** The nodes register and form the cluster themselves. */
  readonly isUnformed?: boolean;
  /** Called when the world is made, to script what is to happen. */
  readonly script?: (world: World, workload: Workload) => void;
}

export interface RunOptions {
  readonly seed: number;
  readonly plan?: Plan;
  readonly mutant?: Mutant | undefined;
  readonly trace?: ((line: string) => void) | undefined;
}

export interface RunResult {
  readonly seed: number;
  /** What is wrong, line by line; empty for a pass. */
  readonly faults: readonly string[];
  /** Nothing is wrong but that the checker reached its bound: neither a pass nor a failure. */
  readonly isUndecided: boolean;
  readonly operations: number;
  readonly answered: number;
  readonly virtualMs: number;
}

/** After the faults stop the cluster must be whole again within so many virtual ms. */
const HEAL_MS_MAX = 20_000;
/** Bound on the checker's search for one history: seconds. One history in several thousand needs more. */
const STEPS_MAX = 2_000_000;
/** Bytes that one operation of the workload can add past the bound on uncommitted bytes. */
const OVERSHOOT_BYTES = 500;

/** Runs one seed to its verdict. */
export function run(options: RunOptions): RunResult {
  const prng = new Prng(options.seed);
  const { plan = {} } = options;
  const limits: Partial<Limits> = {
    retainedBytesMax: prng.chance(0.5) ? 0 : 4_000,
    uncommittedBytesMax: prng.chance(0.2) ? 400 : 20_000,
    lagMsMax: 700,
    copyChunkBytes: 60,
    copyWindowBytes: 150,
    ...plan.limits,
  };
  const settings: Partial<Settings> = {
    shardCount: prng.pick([1, 1, 2, 4]),
    replication: prng.chance(0.07) ? "async" : "sync",
    minInSync: prng.chance(0.15) ? 2 : 1,
    durability: prng.pick(["none", "none", "fsync", "fsync", "async"]),
    flushMs: 200,
    ...plan.settings,
  };
  const world = new World({
    seed: prng.uint32() * 1_000 + 1,
    nodeCount: plan.nodeCount ?? prng.pick([2, 3, 3, 3, 5]),
    settings,
    limits,
    network: {
      delayMinMs: 0.1,
      delayMaxMs: prng.pick([1, 4, 15]),
      heartbeatLoss: prng.pick([0, 0, 0.02, 0.1]),
      resetEveryMs: prng.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 3_000, 500]),
      ...plan.network,
    },
    drift: plan.drift ?? prng.pick([0, 0.02, 0.045]),
    wallSkewMs: plan.wallSkewMs ?? prng.pick([0, 100, 300_000]),
    batchMs: prng.pick([0, 0, 2]),
    syncMsMax: plan.syncMsMax ?? prng.pick([1, 1, 20]),
    isUnformed: plan.isUnformed ?? prng.chance(0.1),
    mutant: options.mutant,
    trace: options.trace,
  });
  const workload = new Workload(world, {
    clients: 2 + prng.below(3),
    keys: prng.pick([2, 4, 6]),
    thinkMs: prng.pick([20, 60, 120, 120]),
    // A loss of power leaves many commands without an outcome, and too many of them cannot be judged.
    pipelineMax: prng.pick(settings.durability === "none" ? [1, 1, 3, 6] : [1, 1, 2, 3]),
    readShare: prng.pick([0.3, 0.5, 0.7]),
    isSticky: prng.chance(0.7),
    hasExpiry: prng.chance(0.2),
    ...plan.workload,
  });
  const found: string[] = [];
  try {
    const nemesis = new Nemesis(world);
    const kinds = plan.faults ?? drawKinds(prng);
    const everyMs = plan.faultEveryMs ?? prng.pick([100, 250, 500, 1_000]);
    const endMs = 400 + (plan.faultsForMs ?? prng.pick([800, 1_500, 2_500]));
    const strike = (): void => {
      if (world.queue.nowMs >= endMs) return;
      nemesis.strike(kinds);
      world.queue.after(prng.between(0, 2 * everyMs), strike);
    };
    if (kinds.length > 0) world.queue.after(400, strike);
    plan.script?.(world, workload);
    world.queue.runUntil(endMs);
    settle(world, workload, found);
    if (found.length === 0) judgeAll(world, workload, found);
    checkBounds(world, limits, found);
    found.push(...world.blames);
  } catch (error) {
    if (!(error instanceof AssertionError || error instanceof SafetyViolation)) throw error;
    found.push(`${error.name}: ${error.message}`);
    if (options.trace !== undefined) found.push(...(error.stack ?? "").split("\n").slice(1, 8));
  }
  const { history } = workload;
  return {
    seed: options.seed,
    faults: found,
    isUndecided: found.length > 0 && found.every((fault) => fault.startsWith("undecided")),
    operations: history.length,
    answered: history.filter(({ outcome }) => outcome === "ok").length,
    virtualMs: world.queue.nowMs,
  };
}

/** Mostly a few kinds at a time, which goes deeper than everything at once. */
function drawKinds(prng: Prng): readonly FaultKind[] {
  if (prng.chance(0.05)) return [];
  if (prng.chance(0.3)) return FAULT_KINDS;
  const count = 1 + prng.below(3);
  return Array.from({ length: count }, () => prng.pick(FAULT_KINDS));
}

/** Ends all faults; the cluster must become whole, and every client must get an answer. */
function settle(world: World, workload: Workload, found: string[]): void {
  // What was begun during the faults undoes itself within two seconds.
  world.queue.runUntil(world.queue.nowMs + 1_600);
  world.trace("--", () => "all faults end");
  world.healAll();
  world.queue.runUntil(world.queue.nowMs + 400);
  world.healAll();
  workload.stop();
  const limitMs = world.queue.nowMs + HEAL_MS_MAX;
  while (!(world.isWhole && workload.isQuiet)) {
    if (world.queue.nowMs > limitMs) {
      found.push(`liveness: ${HEAL_MS_MAX} ms after the faults ended the cluster is not whole`);
      for (const node of world.nodes.values()) {
        const status = node.core?.status(node.time);
        for (const shard of status?.shards ?? []) {
          found.push(
            `  ${node.id} shard ${shard.shard}: ${shard.role} epoch ${shard.epoch} of ${shard.primary} in sync ${shard.inSync.join(" ")}${shard.serves ? "" : ", does not serve"} log ${shard.commitSeq}/${shard.lastSeq}`,
          );
        }
        found.push(`  ${node.id}: ${status?.operations} operations wait`);
      }
      return;
    }
    world.queue.runUntil(world.queue.nowMs + 100);
    // A link that was reset by itself at the end comes back by itself.
    world.network.connectAll();
  }
}

function judgeAll(world: World, workload: Workload, found: string[]): void {
  workload.readAll();
  const limitMs = world.queue.nowMs + 5_000;
  while (!workload.isQuiet && world.queue.nowMs < limitMs) {
    world.queue.runUntil(world.queue.nowMs + 20);
  }
  if (!workload.isQuiet) found.push("liveness: the last reads got no answer");
  // A key may just have come to its end, and its deletion be under way.
  let differing = divergence(world);
  for (let round = 0; round < 20 && differing.length > 0; round += 1) {
    world.queue.runUntil(world.queue.nowMs + 50);
    differing = divergence(world);
  }
  found.push(...differing);
  if (!world.keepsCommitted) return;
  const judgement = judge(workload.history, { stepsMax: STEPS_MAX });
  if (judgement.verdict !== "ok") found.push(...describeJudgement(judgement));
}

/** At rest all replicas of a shard hold the same; says where they do not. */
function divergence(world: World): string[] {
  const found: string[] = [];
  for (const record of world.register.current.shards) {
    const digests = new Map<string, string[]>();
    for (const id of record.replicas) {
      const core = world.nodes.get(id)?.core;
      const shard = core?.shards.find((candidate) => candidate.id === record.id);
      if (shard === undefined) continue;
      const digest = shard.machine.digest();
      digests.set(digest, [...(digests.get(digest) ?? []), id]);
    }
    if (digests.size > 1) {
      const sides = [...digests.values()].map((ids) => ids.join(" and "));
      found.push(`divergence: shard ${record.id} differs between ${sides.join(" / ")}`);
    }
  }
  return found;
}

function checkBounds(world: World, limits: Partial<Limits>, found: string[]): void {
  const bound = (limits.uncommittedBytesMax ?? Number.POSITIVE_INFINITY) + OVERSHOOT_BYTES;
  if (world.uncommittedBytesSeen > bound) {
    found.push(`R15: ${world.uncommittedBytesSeen} uncommitted bytes, more than ${bound}`);
  }
}
