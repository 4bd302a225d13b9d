/** What goes wrong in a simulated run, drawn from its seed. */

import { slotOf } from "../src/kit/crc16.ts";
import type { Prng } from "../src/kit/prng.ts";
import type { NodeId } from "../src/replica/configuration.ts";
import { withRecords } from "../src/replica/reconfigure.ts";
import type { World } from "./world.ts";

/** One kind of fault: does something now and undoes it, if at all, later. Times in ms. */
type Fault = (nemesis: Nemesis) => void;

export type FaultKind = keyof typeof FAULTS;

const FAULTS = {
  crash: (nemesis) => nemesis.crash(false),
  "power-off": (nemesis) => nemesis.crash(true),
  "pause-short": (nemesis) => nemesis.pause(20, 250),
  "pause-long": (nemesis) => nemesis.pause(300, 1_500),
  stutter: (nemesis) => nemesis.stutter(),
  isolate: (nemesis) => nemesis.isolate(),
  "one-way": (nemesis) => nemesis.cut(true),
  deaf: (nemesis) => nemesis.deafen(),
  "cut-pair": (nemesis) => nemesis.cut(false),
  "reset-link": (nemesis) => nemesis.reset(),
  "slow-node": (nemesis) => nemesis.slow(),
  "register-down": (nemesis) => nemesis.blind("all"),
  "register-blind": (nemesis) => nemesis.blind("one"),
  "lost-answers": (nemesis) => nemesis.loseAnswers(),
  transfer: (nemesis) => nemesis.transfer(),
  stop: (nemesis) => nemesis.stop(),
  "clock-jump": (nemesis) => nemesis.jump(),
  "power-cut": (nemesis) => nemesis.cutPower(),
  "lost-disk": (nemesis) => nemesis.loseDisk(),
  "failed-disk": (nemesis) => nemesis.failDisk(),
  move: (nemesis) => nemesis.move(),
  split: (nemesis) => nemesis.split(),
} as const satisfies Record<string, Fault>;

export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

export class Nemesis {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #nodes: readonly NodeId[];

  constructor(world: World) {
    this.#world = world;
    this.#prng = world.prng.fork();
    this.#nodes = [...world.nodes.keys()];
  }

  /** Does one fault of the given kinds now. */
  strike(kinds: readonly FaultKind[]): void {
    const kind = this.#prng.pick(kinds);
    this.#world.trace("--", () => `fault: ${kind}`);
    FAULTS[kind](this);
  }

  #later(lowMs: number, highMs: number, run: () => void): void {
    this.#world.queue.after(this.#prng.between(lowMs, highMs), run);
  }

  /** Whether the node's process may end now: with what is on its disk, or because others hold as much. */
  canKill(id: NodeId): boolean {
    return this.#world.settings.durability === "fsync" || this.canLose(id);
  }

  /**
   * Of what is in memory only, or on a disk that goes too, a shard's last proven in-sync member must not be killed: nothing
   * could bring back what it held. Nor one whose swap is under way, which could leave a dead node alone in the document.
   */
  canLose(id: NodeId): boolean {
    const { register, nodes } = this.#world;
    for (const node of nodes.values()) if (node.core?.isSwapping === true) return false;
    if (register.hasUnderWay(id)) return false;
    return register.current.shards.every((record) => {
      if (record.epoch === 0) return false;
      return record.inSync.some((member) => {
        const node = nodes.get(member.node);
        if (member.node === id || node?.core === undefined) return false;
        // A node that is about to leave keeps nothing for the others.
        if (node.isStopping) return false;
        if (node.incarnation !== member.incarnation) return false;
        const shard = node.core.shards.find((candidate) => candidate.id === record.id);
        return shard?.isMember === true && shard.startedEpoch >= member.since;
      });
    });
  }

  crash(isSilent: boolean): void {
    const id = this.#prng.pick(this.#nodes);
    if (!this.canKill(id)) return;
    this.#world.crash(id, isSilent);
    this.#later(20, 1_500, () => this.#world.restart(id));
  }

  pause(lowMs: number, highMs: number): void {
    this.#world.pause(this.#prng.pick(this.#nodes), this.#prng.between(lowMs, highMs));
  }

  /** A node that stalls again and again must still notice that another is gone. */
  stutter(): void {
    const id = this.#prng.pick(this.#nodes);
    const rounds = 5 + this.#prng.below(10);
    for (let round = 0; round < rounds; round += 1) {
      this.#world.queue.after(round * 120, () =>
        this.#world.pause(id, this.#prng.between(55, 110)),
      );
    }
  }

  isolate(): void {
    const side = new Set([this.#prng.pick(this.#nodes)]);
    if (this.#nodes.length > 3 && this.#prng.chance(0.5)) side.add(this.#prng.pick(this.#nodes));
    this.#world.isolate(side);
    const isBlind = this.#prng.chance(0.5);
    if (isBlind) for (const id of side) this.#world.register.blind.add(id);
    this.#later(100, 1_500, () => {
      this.#world.network.unblockAll();
      for (const id of side) this.#world.register.blind.delete(id);
    });
  }

  cut(isOneWay: boolean): void {
    const from = this.#prng.pick(this.#nodes);
    const to = this.#prng.pick(this.#nodes.filter((node) => node !== from));
    const { network } = this.#world;
    network.block(from, to);
    if (!isOneWay) network.block(to, from);
    this.#later(100, 1_500, () => {
      network.unblock(from, to);
      if (!isOneWay) network.unblock(to, from);
    });
  }

  /** A node speaks and hears nobody. */
  deafen(): void {
    const deaf = this.#prng.pick(this.#nodes);
    const { network, register } = this.#world;
    const others = this.#nodes.filter((node) => node !== deaf);
    for (const node of others) network.block(node, deaf);
    register.blind.add(deaf);
    this.#later(100, 2_500, () => {
      for (const node of others) network.unblock(node, deaf);
      register.blind.delete(deaf);
    });
  }

  reset(): void {
    const from = this.#prng.pick(this.#nodes);
    this.#world.network.reset(from, this.#prng.pick(this.#nodes.filter((node) => node !== from)));
  }

  slow(): void {
    const id = this.#prng.pick(this.#nodes);
    const { slowMs } = this.#world.network;
    slowMs.set(id, this.#prng.between(5, 150));
    this.#later(200, 1_500, () => slowMs.delete(id));
  }

  blind(whom: "one" | "all"): void {
    const { blind } = this.#world.register;
    const ids = whom === "all" ? this.#nodes : [this.#prng.pick(this.#nodes)];
    for (const id of ids) blind.add(id);
    this.#later(100, 1_500, () => {
      for (const id of ids) blind.delete(id);
    });
  }

  loseAnswers(): void {
    const { register } = this.#world;
    register.lostAnswers = this.#prng.between(0.2, 1);
    register.missedEvents = this.#prng.between(0, 1);
    this.#later(100, 1_500, () => {
      register.lostAnswers = 0;
      register.missedEvents = 0;
    });
  }

  transfer(): void {
    const { shards } = this.#world.register.current;
    const shard = this.#prng.pick(shards);
    const successor = this.#prng.pick(this.#nodes);
    this.#world.nodes.get(shard.primary)?.input((core, time) => {
      core.transfer(shard.id, successor, time);
    });
  }

  /** A planned stop: the node hands over, its process ends, and another is started later. */
  stop(): void {
    const node = this.#world.nodes.get(this.#prng.pick(this.#nodes));
    const core = node?.core;
    // A stopping node leaves the shard to the others: one of them must have a disk, or a process that goes on.
    if (node === undefined || core === undefined || !this.canLose(node.id)) return;
    node.isStopping = true;
    node.input((running, time) => running.drainShards(time));
    let rounds = 0;
    const watch = (): void => {
      if (node.core !== core) return;
      rounds += 1;
      const isDrained = node.isRunning && core.status(node.time).isDrained;
      if ((isDrained || rounds > 60) && this.canKill(node.id)) {
        this.#world.crash(node.id);
        this.#later(20, 800, () => this.#world.restart(node.id));
      } else this.#world.queue.after(50, watch);
    };
    this.#world.queue.after(50, watch);
  }

  /** Every node is off at once, and each comes back in its own time. */
  cutPower(): void {
    if (this.#world.settings.durability === "none") return;
    this.#world.powerOff();
    for (const id of this.#nodes) this.#later(20, 1_500, () => this.#world.restart(id));
  }

  /** A node comes back with an empty disk. */
  loseDisk(): void {
    const id = this.#prng.pick(this.#nodes);
    if (!this.canLose(id)) return;
    this.#world.crash(id);
    this.#world.nodes.get(id)?.disk?.wipe();
    this.#later(20, 1_500, () => this.#world.restart(id));
  }

  /** A node's disk takes no more; the node leaves the in-sync sets, and comes back with another disk. */
  failDisk(): void {
    const id = this.#prng.pick(this.#nodes);
    const node = this.#world.nodes.get(id);
    const { core, disk } = node ?? {};
    if (node === undefined || core === undefined || disk === undefined || !this.canLose(id)) return;
    disk.fail();
    node.isStopping = true;
    node.input((running, time) => running.diskFailed(time));
    this.#later(100, 1_500, () => {
      if (node.core !== core) return;
      node.isStopping = false;
      node.input((running, time) => {
        disk.replace();
        running.resumeShards(time);
      });
    });
  }

  /** An administrator has another node hold a shard in place of one that does, or makes another the preferred primary. */
  move(): void {
    const { register, settings } = this.#world;
    const { current } = register;
    const record = this.#prng.pick(current.shards);
    const replicas = [...record.replicas];
    const place = this.#prng.below(replicas.length);
    const free = this.#nodes.filter((node) => !replicas.includes(node));
    if (free.length > 0) replicas[place] = this.#prng.pick(free);
    else replicas.unshift(...replicas.splice(place, 1));
    const next = withRecords(current, new Map([[record.id, { ...record, replicas }]]));
    register.swap("administrator", next, 2 * settings.heartbeatMs, () => {});
  }

  /** A shard is divided, mostly between keys that the clients work with. */
  split(): void {
    const { shards } = this.#world.register.current;
    const { id, primary, firstSlot, lastSlot } = this.#prng.pick(shards);
    const near = slotOf(`key${this.#prng.below(6)}`) + this.#prng.below(2);
    const isInside = near > firstSlot && near <= lastSlot;
    const at = isInside ? near : firstSlot + this.#prng.below(lastSlot - firstSlot + 1);
    this.#world.nodes.get(primary)?.input((core, time) => core.split(id, at, time));
  }

  jump(): void {
    const node = this.#world.nodes.get(this.#prng.pick(this.#nodes));
    if (node === undefined) return;
    node.wallOffsetMs += this.#prng.between(-2_000, 2_000);
    node.input((core, time) => core.clockJumped(time));
  }
}
