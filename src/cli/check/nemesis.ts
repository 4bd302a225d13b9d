/**
 * The faults of `hothot check`: one at a time, drawn from the seed, each followed by the cluster's becoming whole. Whatever
 * happens, nothing stays dead, frozen or cut off when it ends.
 */

import type { Prng } from "../../kit/prng.ts";
import type { Failover, ShardStatus } from "../../replica/surface.ts";
import { CliError } from "../cli-error.ts";
import {
  type ClusterState,
  killNode,
  pauseNode,
  resumeNode,
  standingOf,
  startNode,
} from "../cluster-state.ts";
import { callHttp } from "../http-client.ts";
import { askStatus } from "../node-view.ts";
import { pause } from "../processes.ts";
import { type FaultKind, isOfMachine, isOfNetwork } from "./fault-kinds.ts";
import { MachineFaults } from "./machine-faults.ts";
import { NetFaults } from "./net-faults.ts";

/** A fault that was. Times in ms since the run began. */
export interface Fault {
  readonly kind: FaultKind;
  /** The node that it befell; for a transfer the primary that handed its shard over. */
  readonly node: string;
  /** The nodes whose clients may notice it. */
  readonly hit: readonly string[];
  readonly what: string;
  readonly beganAt: number;
  /** When it was taken back: the process started or resumed, the links joined. */
  readonly healedAt: number;
  /** When every node was ready again; undefined if that did not come within the bound. */
  readonly readyAt: number | undefined;
  /** Shards whose primary the node was. */
  readonly shards: readonly number[];
}

/** A failover as a node reports it. */
export interface ReportedFailover extends Failover {
  readonly seenBy: string;
}

/** Longest time until a cluster has to be whole again after a fault, ms. */
export const WHOLE_MS_MAX = 60_000;
const ASK_MS_MAX = 1_500;
const POLL_MS = 40;

export interface NemesisOptions {
  readonly state: ClusterState;
  /** Path of this program. */
  readonly script: string;
  readonly kinds: readonly FaultKind[];
  readonly prng: Prng;
  /** Milliseconds since the run began. */
  readonly now: () => number;
  readonly report: (line: string) => void;
}

export class Nemesis {
  readonly faults: Fault[] = [];
  /** The fault under way, from its beginning until all is whole. */
  current: { readonly kind: FaultKind; readonly node: string } | undefined;
  readonly #options: NemesisOptions;
  readonly #failovers = new Map<string, ReportedFailover>();
  readonly #netFaults: NetFaults | undefined;
  readonly #machineFaults: MachineFaults;
  #deck: FaultKind[] = [];

  /** @throws CliError if the cluster is not made for one of the faults. */
  constructor(options: NemesisOptions) {
    this.#options = options;
    const { kinds, state, script } = options;
    this.#netFaults = kinds.some(isOfNetwork) ? new NetFaults(state, script) : undefined;
    this.#machineFaults = new MachineFaults(state, script);
  }

  /**
   * @param wallMs ms since 1970.
   * @returns the failovers that nodes reported and that ended since then, the earliest first.
   */
  failoversSince(wallMs: number): readonly ReportedFailover[] {
    return [...this.#failovers.values()]
      .filter((failover) => failover.atWallMs >= wallMs)
      .sort((left, right) => left.atWallMs - right.atWallMs);
  }

  /**
   * Injects faults until the time is over or the signal comes; returns when the cluster is whole or has failed to become so.
   * @param untilMs when to begin no further fault, ms since the run began.
   * @throws CliError if a fault cannot be injected.
   */
  async run(untilMs: number, signal: AbortSignal): Promise<void> {
    const { prng, now } = this.#options;
    try {
      while (!signal.aborted) {
        await pause(prng.between(600, 1_600));
        if (now() >= untilMs || signal.aborted) return;
        const fault = await this.#inject();
        await this.collectFailovers();
        if (fault.readyAt === undefined) return;
      }
    } finally {
      this.current = undefined;
      await this.heal();
    }
  }

  /** Takes back whatever may have been left undone. */
  async heal(): Promise<void> {
    const { state } = this.#options;
    await this.#netFaults?.heal();
    await this.#machineFaults.heal();
    for (const node of state.nodes) {
      const standing = standingOf(state, node.id);
      if (standing === "paused") resumeNode(state, node.id);
      if (standing === "gone") await startNode(state, node.id);
    }
    if (this.#options.kinds.includes("partition")) await this.#joinAll().catch(() => undefined);
  }

  /** Takes back what an earlier check may have left of the network's faults when it was killed. */
  async healNetwork(): Promise<void> {
    await this.#netFaults?.heal();
  }

  /** @returns whether every node became ready within the bound. */
  async untilWhole(): Promise<boolean> {
    const deadline = performance.now() + WHOLE_MS_MAX;
    const { nodes } = this.#options.state;
    while (performance.now() < deadline) {
      const ready = await Promise.all(nodes.map((node) => isReady(node)));
      if (ready.every(Boolean)) return true;
      await pause(POLL_MS);
    }
    return false;
  }

  /** Asks every node for its failovers; a killed node forgets them, so ask often. */
  async collectFailovers(): Promise<void> {
    const { state } = this.#options;
    await Promise.all(
      state.nodes.map(async (node) => {
        // One without power would be waited for in vain.
        if (standingOf(state, node.id) === "gone") return;
        const answer = await askStatus(node.host, node.httpPort).catch(() => undefined);
        for (const failover of answer?.status.failovers ?? []) {
          const name = `${node.id} ${failover.shard} ${failover.epoch}`;
          this.#failovers.set(name, { ...failover, seenBy: node.id });
        }
      }),
    );
  }

  /** @returns the shards as the nodes see them, each from the node with its latest epoch. */
  async shards(): Promise<ShardStatus[]> {
    const latest = new Map<number, ShardStatus>();
    await Promise.all(
      this.#options.state.nodes.map(async (node) => {
        const answer = await askStatus(node.host, node.httpPort).catch(() => undefined);
        for (const shard of answer?.status.shards ?? []) {
          const known = latest.get(shard.shard);
          if (known === undefined || known.epoch < shard.epoch) latest.set(shard.shard, shard);
        }
      }),
    );
    return [...latest.values()].sort((left, right) => left.shard - right.shard);
  }

  async #inject(): Promise<Fault> {
    const { state, prng, now, report } = this.#options;
    if (this.#deck.length === 0) this.#deck = shuffled(this.#options.kinds, prng);
    const kind = this.#deck.pop() ?? "kill";
    const victim = prng.pick(state.nodes).id;
    // Drawn before anything waits, so that the schedule depends on the seed alone.
    const lengthMs = drawLengthMs(kind, prng);
    const choice = prng.float();
    const drawn = this.#draw(kind, victim);
    const shards = await this.shards();
    const led = shards.filter((shard) => shard.primary === victim).map((shard) => shard.shard);
    const what =
      kind === "transfer"
        ? `transfer of a shard of ${victim}`
        : `${drawn?.what ?? `${kind} ${victim}`} for ${Math.round(lengthMs)} ms`;
    report(`${what} (primary of ${led.length} shards)`);
    this.current = { kind, node: victim };
    const beganAt = now();
    switch (kind) {
      case "kill":
        await killNode(state, victim);
        await pause(lengthMs);
        // Survivors' reports of the failover, before the restart gives them others.
        await this.collectFailovers();
        break;
      case "pause":
        pauseNode(state, victim);
        await pause(lengthMs);
        break;
      case "partition":
        await this.#isolate(victim);
        await pause(lengthMs);
        break;
      case "transfer":
        await this.#transfer(victim, led, choice);
        break;
      default:
        await drawn?.begin();
        await pause(lengthMs);
        if (kind === "power-off") await this.collectFailovers();
    }
    const healedAt = now();
    await drawn?.heal();
    if (kind === "kill") await startNode(state, victim);
    if (kind === "pause") resumeNode(state, victim);
    if (kind === "partition") await this.#joinAll();
    const isWhole = await this.untilWhole();
    const readyAt = isWhole ? now() : undefined;
    const hit = drawn?.hit ?? [victim];
    const fault = { kind, node: victim, hit, what, beganAt, healedAt, readyAt, shards: led };
    this.faults.push(fault);
    this.current = undefined;
    report(
      isWhole
        ? `whole again ${Math.round(now() - healedAt)} ms after ${victim}'s ${kind} ended`
        : `not whole within ${WHOLE_MS_MAX / 1000} s after ${victim}'s ${kind} ended`,
    );
    return fault;
  }

  /** The particulars of a fault of the network or of a machine; undefined for the others, which have none. */
  #draw(kind: FaultKind, victim: string): DrawnFault | undefined {
    const { prng } = this.#options;
    const netFaults = this.#netFaults;
    if (isOfNetwork(kind) && netFaults !== undefined) {
      const fault = netFaults.draw(kind, victim, prng);
      return { ...fault, begin: () => netFaults.begin(fault), heal: () => netFaults.heal(fault) };
    }
    if (!isOfMachine(kind)) return undefined;
    const machineFaults = this.#machineFaults;
    const fault = machineFaults.draw(kind, victim, prng);
    return { ...fault, begin: () => machineFaults.begin(fault), heal: () => machineFaults.heal() };
  }

  async #transfer(primary: string, led: readonly number[], choice: number): Promise<void> {
    const { state } = this.#options;
    const shard = led[Math.floor(choice * led.length)];
    const plan = state.nodes.find((node) => node.id === primary);
    if (shard === undefined || plan === undefined) return;
    const current = (await this.shards()).find((each) => each.shard === shard);
    const successors = (current?.inSync ?? []).filter((node) => node !== primary);
    const successor = successors[Math.floor(choice * 1_000) % (successors.length || 1)];
    if (successor === undefined) return;
    const answer = await post(plan, "/transfer", { shard, successor });
    // A refusal is an answer: the shard may just have moved home by itself.
    if (answer.status === 404) {
      throw new CliError(`${primary} does not know POST /transfer; it runs another version.`, {
        exitCode: 2,
      });
    }
  }

  /** Cuts a node off from all others, at both ends. */
  async #isolate(victim: string): Promise<void> {
    const { state } = this.#options;
    const others = state.nodes.filter((node) => node.id !== victim).map((node) => node.id);
    await Promise.all(state.nodes.map((node) => cut(node, node.id === victim ? others : [victim])));
  }

  async #joinAll(): Promise<void> {
    await Promise.all(this.#options.state.nodes.map((node) => cut(node, [])));
  }
}

type Plan = ClusterState["nodes"][number];

/** A fault of the network or of a machine with what makes it and what takes it back. */
interface DrawnFault {
  readonly hit: readonly string[];
  readonly what: string;
  readonly begin: () => Promise<void>;
  readonly heal: () => Promise<void>;
}

async function cut(node: Plan, peers: readonly string[]): Promise<void> {
  const answer = await post(node, "/faults", { drop: peers });
  if (answer.status < 300) return;
  throw new CliError(
    `${node.id} does not let its links be cut (${answer.status}). Start the cluster with: hothot up --enable-faults`,
    { exitCode: 2 },
  );
}

function post(node: Plan, path: string, body: unknown) {
  const { host, httpPort: port } = node;
  return callHttp({ host, port, path, method: "POST", body, timeoutMs: ASK_MS_MAX }).catch(
    (error: unknown) => {
      throw new CliError(`${node.id} did not answer POST ${path}`, { exitCode: 2, cause: error });
    },
  );
}

/** @returns whether a node says that it holds its leases and all its copies. */
export async function isReady(node: {
  readonly host: string;
  readonly httpPort: number;
}): Promise<boolean> {
  try {
    // Not GET /readyz, which stays 200 through a short break: the next fault must not hit a node that was just removed.
    const { status } = await askStatus(node.host, node.httpPort);
    return status.isReady;
  } catch {
    return false;
  }
}

/** How long a fault lasts, ms: long enough for a failover, and short enough for many. */
function drawLengthMs(kind: FaultKind, prng: Prng): number {
  if (kind === "kill") return prng.between(800, 2_500);
  // A disk counts as too slow only after a while.
  if (kind === "stuck-disk") return prng.between(3_500, 6_000);
  if (isOfNetwork(kind) || isOfMachine(kind)) return prng.between(1_000, 3_000);
  return prng.between(500, 2_000);
}

function shuffled(kinds: readonly FaultKind[], prng: Prng): FaultKind[] {
  const rest = [...kinds];
  const deck: FaultKind[] = [];
  while (rest.length > 0) deck.push(...rest.splice(prng.below(rest.length), 1));
  return deck;
}
