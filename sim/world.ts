/** A whole cluster in one process, in virtual time, with everything that chance decides drawn from one seed. */

import { Bytes } from "../src/data/bytes.ts";
import type { Reply } from "../src/data/reply.ts";
import { slotOf } from "../src/kit/crc16.ts";
import { Prng } from "../src/kit/prng.ts";
import { initialConfiguration } from "../src/register/placement.ts";
import type { Configuration, NodeId, Settings, ShardId } from "../src/replica/configuration.ts";
import type { Entry } from "../src/replica/entry.ts";
import type { Message } from "../src/replica/messages.ts";
import type { Mutant } from "../src/replica/mutants.ts";
import { formed, withRecords } from "../src/replica/reconfigure.ts";
import type { Shard } from "../src/replica/shard.ts";
import type { CoreEvent, Limits, Operation, Output } from "../src/replica/surface.ts";
import { SimDisk } from "./disk.ts";
import { EventQueue } from "./event-queue.ts";
import { Network, type NetworkOptions } from "./network.ts";
import { type Carrier, SimNode } from "./node.ts";
import { SimRegister } from "./register.ts";

/** A rule of the design that did not hold. */
export class SafetyViolation extends Error {
  override readonly name = "SafetyViolation";
}

export interface WorldOptions {
  readonly seed: number;
  readonly nodeCount: number;
  readonly settings: Partial<Settings>;
  readonly network: NetworkOptions;
  readonly limits?: Partial<Limits>;
  readonly mutant?: Mutant | undefined;
  /** Two clocks differ by up to this fraction. */
  readonly drift: number;
  /** The largest difference of a wall clock from true time, ms. */
  readonly wallSkewMs: number;
  readonly batchMs: number;
  /** The longest time that a disk usually takes under `fsync`, ms. */
  readonly syncMsMax: number;
  /** The nodes register and form the cluster themselves. */
  readonly isUnformed?: boolean;
  readonly trace?: ((line: string) => void) | undefined;
}

/** An operation of a simulated client; `answered` is called once at most. */
export interface SimOperation extends Operation {
  answered(reply: Reply): void;
}

export class World implements Carrier {
  readonly queue = new EventQueue();
  readonly prng: Prng;
  readonly settings: Settings;
  readonly nodes = new Map<NodeId, SimNode>();
  readonly network: Network;
  readonly register: SimRegister;
  readonly #trace: ((line: string) => void) | undefined;
  readonly #isAsync: boolean;
  /** All nodes were down at once, and their disks are behind what was acknowledged. */
  hasLostPower = false;
  /** Of each shard, what is committed at each seq: it never changes (I1). */
  readonly #history: string[][] = [];
  readonly #checkedSeq = new Map<string, number>();
  /** Who orders a shard in an epoch (I4). */
  readonly #orderers = new Map<string, string>();
  readonly events: { readonly node: NodeId; readonly atMs: number; readonly event: CoreEvent }[] =
    [];
  /** What a script found wrong. */
  readonly blames: string[] = [];
  /** Largest number of uncommitted bytes that a primary ever had. */
  uncommittedBytesSeen = 0;

  constructor(options: WorldOptions) {
    this.prng = new Prng(options.seed);
    this.#trace = options.trace;
    const { nodeCount } = options;
    this.settings = {
      replication: "sync",
      minInSync: 1,
      replicas: Math.min(3, nodeCount),
      shardCount: 1,
      heartbeatMs: 50,
      leaseMs: 300,
      driftBound: 0.05,
      durability: "none",
      flushMs: 1_000,
      heartbeatChannel: "tcp",
      ...options.settings,
    };
    this.#isAsync = this.settings.replication === "async";
    const ids = Array.from({ length: nodeCount }, (_, index) => `n${index + 1}`);
    for (const id of ids) {
      const node = new SimNode(id, this.queue, this, this.prng.fork(), {
        limits: options.limits ?? {},
        mutant: options.mutant,
        tickMs: this.settings.heartbeatMs / 4,
        batchMs: options.batchMs,
        disk:
          this.settings.durability === "none"
            ? undefined
            : new SimDisk(this.queue, this.prng.fork(), this.settings, options.syncMsMax),
      });
      // A quarter of the bound on either side, so that no two clocks differ by more than half of it and the sum of
      // several roundings stays inside.
      node.rate = 1 + this.prng.between(-options.drift / 2, options.drift / 2);
      node.wallOffsetMs = this.prng.between(-options.wallSkewMs, options.wallSkewMs);
      this.nodes.set(id, node);
    }
    this.network = new Network(this.queue, this.prng.fork(), this.nodes, options.network);
    for (const node of this.nodes.values()) node.start();
    this.register = new SimRegister(
      this.queue,
      this.prng.fork(),
      this.#initial(ids, options.isUnformed === true),
    );
    for (const node of this.nodes.values()) {
      this.register.watch(node.id, (configuration) => {
        node.input((core, time) => core.install(configuration, time));
      });
    }
    this.network.connectAll();
    for (const node of this.nodes.values()) {
      node.input((core, time) => core.install(this.register.current, time));
    }
  }

  #initial(ids: readonly NodeId[], isUnformed: boolean): Configuration {
    const initial = initialConfiguration({
      clusterId: "simulated",
      nodes: ids.map((id, index) => ({
        id,
        host: "127.0.0.1",
        zone: "",
        peerPort: 9_001 + index,
        respPort: 7_001 + index,
        httpPort: 8_001 + index,
      })),
      settings: this.settings,
    });
    if (isUnformed) return initial;
    const started = {
      ...initial,
      nodes: initial.nodes.map((node) => ({
        ...node,
        incarnation: this.nodes.get(node.id)?.incarnation ?? 0,
      })),
    };
    return withRecords(started, formed(started));
  }

  trace(node: NodeId, text: () => string): void {
    this.#trace?.(`${this.queue.nowMs.toFixed(1).padStart(9)}  ${node}  ${text()}`);
  }

  /** Whether what is committed stays so: not where a loss of power can take back what was answered. */
  get keepsCommitted(): boolean {
    return !this.#isAsync && !this.hasLostPower;
  }

  /** The shard that a key belongs to, as a node knows it, or the register. */
  shardOf(key: string, node?: SimNode): ShardId {
    const slot = slotOf(key);
    const { shards } = node?.core?.configuration ?? this.register.current;
    return shards.find((shard) => shard.firstSlot <= slot && slot <= shard.lastSlot)?.id ?? 0;
  }

  carry(node: SimNode, output: Output): void {
    if (this.#trace !== undefined) {
      for (const { to, message } of output.messages) {
        if (message.kind !== "heartbeat") this.trace(node.id, () => `to ${to}: ${brief(message)}`);
      }
    }
    for (const { to, message } of output.messages) this.network.send(node.id, to, message);
    for (const { operation, reply } of output.answers) {
      (operation as SimOperation).answered(reply);
    }
    const { core } = node;
    for (const { id, configuration } of output.swaps) {
      this.trace(node.id, () => `proposes version ${configuration.version}`);
      const timeoutMs = 2 * this.settings.heartbeatMs;
      this.register.swap(node.id, configuration, timeoutMs, (outcome, current) => {
        if (node.core !== core) return;
        node.input((running, time) => running.swapAnswered(id, outcome, current, time));
      });
    }
    if (output.wantsConfiguration) {
      this.register.read(node.id, (current) => {
        node.input((running, time) => running.install(current, time));
      });
    }
    for (const event of output.events) {
      this.events.push({ node: node.id, atMs: this.queue.nowMs, event });
      if (event.kind === "failover" && event.failover.removed.includes(event.failover.newPrimary)) {
        this.blame(`${node.id} reports a restart of all as a failover`);
      }
      this.trace(node.id, () => JSON.stringify(event));
    }
    this.#check(node);
  }

  /** What must hold after every step: I1, I4, and the core's own invariants. */
  #check(node: SimNode): void {
    const { core } = node;
    if (core === undefined) return;
    core.checkInvariants();
    for (const shard of core.shards) {
      // What came from before the epoch, from a disk for one, is no matter of back-pressure.
      if (shard.isPrimary && shard.isStartCommitted) {
        this.uncommittedBytesSeen = Math.max(this.uncommittedBytesSeen, shard.uncommittedBytes);
      }
      if (shard.isPrimary && shard.isStarted) {
        const key = `${shard.id}:${shard.epoch}`;
        const orderer = `${node.id}:${node.incarnation}`;
        const known = this.#orderers.get(key);
        if (known === undefined) this.#orderers.set(key, orderer);
        else if (known !== orderer) {
          throw new SafetyViolation(`I4: ${known} and ${orderer} both order shard ${key}`);
        }
      }
      if (this.keepsCommitted && shard.isMember) this.#checkCommitted(node, shard);
    }
  }

  #checkCommitted(node: SimNode, shard: Shard): void {
    const { id } = shard;
    const key = `${node.id}:${node.incarnation}:${id}`;
    const from = this.#checkedSeq.get(key) ?? 0;
    if (shard.commitSeq === from) return;
    this.#checkedSeq.set(key, shard.commitSeq);
    this.#history[id] ??= [];
    const history = this.#history[id];
    for (let seq = from + 1; seq <= shard.commitSeq; seq += 1) {
      const entry = shard.log.at(seq);
      if (entry === undefined) continue;
      const text = identity(entry);
      const known = history[seq];
      if (known === undefined) history[seq] = text;
      else if (known !== text) {
        throw new SafetyViolation(
          `I1: entry ${seq} of shard ${id} is ${known} at one replica and ${text} at ${node.id}`,
        );
      }
    }
  }

  /** Notes that something that a script expects did not come about. */
  blame(text: string): void {
    this.trace("--", () => `blamed: ${text}`);
    this.blames.push(`${this.queue.nowMs.toFixed(0)} ms: ${text}`);
  }

  // ---------------------------------------------------------------- faults

  crash(id: NodeId, isSilent = false): void {
    const node = this.nodes.get(id);
    if (node === undefined || !node.isUp) return;
    node.crash();
    this.network.crashed(id, isSilent);
  }

  restart(id: NodeId): void {
    const node = this.nodes.get(id);
    if (node === undefined || node.isUp) return;
    node.start();
    this.network.connectAll();
    node.input((core) => core.tick(node.time));
  }

  /** The power goes everywhere at once. */
  powerOff(): void {
    if (this.settings.durability !== "fsync") this.hasLostPower = true;
    for (const id of this.nodes.keys()) this.crash(id, true);
  }

  pause(id: NodeId, forMs: number): void {
    this.nodes.get(id)?.pause(forMs);
  }

  /** Cuts a set of nodes off from the rest, in both directions. */
  isolate(side: ReadonlySet<NodeId>): void {
    for (const a of this.nodes.keys()) {
      for (const b of this.nodes.keys()) {
        if (side.has(a) === side.has(b)) continue;
        this.network.block(a, b);
      }
    }
  }

  /** Ends every fault: all nodes run, all links can be made, the register answers. */
  healAll(): void {
    this.network.unblockAll();
    this.network.slowMs.clear();
    this.register.blind.clear();
    this.register.lostAnswers = 0;
    this.register.missedEvents = 0;
    for (const node of this.nodes.values()) {
      if (!node.isUp) this.restart(node.id);
      node.resumeNow();
    }
    this.network.connectAll();
  }

  /** Whether every replica of every shard is in sync and serves. */
  get isWhole(): boolean {
    for (const node of this.nodes.values()) {
      if (!node.isRunning || node.core === undefined) return false;
      const status = node.core.status(node.time);
      if (!status.isReady && status.shards.some(({ role }) => role !== "none")) return false;
      if (status.version !== this.register.current.version) return false;
    }
    return this.register.current.shards.every(
      ({ epoch, inSync, replicas }) =>
        epoch > 0 &&
        inSync.length === replicas.length &&
        inSync.every(({ node }) => replicas.includes(node)),
    );
  }
}

function identity(entry: Entry): string {
  const { stamp } = entry;
  const of = stamp === undefined ? "-" : `${stamp.node}/${stamp.incarnation}/${stamp.counter}`;
  return `${entry.epoch}:${of}:${entry.effects.length}`;
}

function brief(message: Exclude<Message, { kind: "heartbeat" }>): string {
  switch (message.kind) {
    case "append": {
      const seqs = [...message.entries].map(({ seq }) => seq);
      return `append s${message.shard} e${message.epoch} ${seqs[0]}–${seqs.at(-1)} commit ${message.commitSeq}`;
    }
    case "configuration":
    case "swap-request":
      return `${message.kind} version ${message.configuration.version}`;
    case "copy-chunk":
      return `copy-chunk s${message.shard} e${message.epoch} ${message.records.length} keys${message.isLast ? ", last" : ""}`;
    case "forward":
      return `forward s${message.shard} e${message.epoch} #${message.counter} ${JSON.stringify(message.request.commands)}`;
    case "tail":
      return `tail s${message.shard} e${message.epoch} ${message.entries.length} entries`;
    default:
      // A buffer shows itself as the number of each of its bytes, and lies within memory that holds much else.
      return JSON.stringify(message, (_, value) =>
        value instanceof Bytes ? value.toString() : value,
      );
  }
}
