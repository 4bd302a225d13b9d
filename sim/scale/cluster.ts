/**
 * A cluster of many nodes in one process, in virtual time, to see how what a node does grows with the number of nodes. The
 * cores are the product's; the network is perfect (the same delay for all, nothing lost), for faults have their own simulator.
 */

import { ShardEngine } from "../../src/commands/shard-engine.ts";
import { Command } from "../../src/data/command.ts";
import { Refusal, type Reply } from "../../src/data/reply.ts";
import { slotOf } from "../../src/kit/crc16.ts";
import { Prng } from "../../src/kit/prng.ts";
import { DEFAULT_SETTINGS, initialConfiguration } from "../../src/register/placement.ts";
import type { Configuration, NodeId, ShardId } from "../../src/replica/configuration.ts";
import { Core } from "../../src/replica/core.ts";
import { formed, withRecords } from "../../src/replica/reconfigure.ts";
import type { CoreEvent, Operation, Output, Time } from "../../src/replica/surface.ts";
import { EventQueue } from "../event-queue.ts";
import { Traffic } from "./traffic.ts";

/** From one node to another, and from a node to the register, ms. */
const DELAY_MS = 0.5;
/** What comes within this time is handled in one turn of a node's loop, ms. */
const TURN_MS = 0.1;
/** To read a document again that has not changed: a question and an answer of HTTP. */
const UNCHANGED_BYTES = 300;
/** Ticks between two heartbeats, as in the product. */
const TICKS_PER_BEAT = 5;
/** After this time without a sign of life the others' ends of a dead machine's links are reset, ms. */
const SILENT_MS = 2_000;
const KEYS = 1_000_000;
const VALUE = "v".repeat(64);
const WALL_MS = 1_700_000_000_000;

export interface ClusterOptions {
  readonly nodeCount: number;
  readonly shardCount: number;
  readonly seed: number;
}

interface SimulatedWrite extends Operation {
  answered(reply: Reply): void;
}

export interface ScaleNode {
  readonly id: NodeId;
  core: Core | undefined;
  incarnation: number;
  isTurnDue: boolean;
  /** Real time spent in its core, ms. */
  coreMs: number;
}

/** What the register was asked for. Bytes as they go over its wire. */
export interface RegisterCounts {
  swapsDone: number;
  conflicts: number;
  readBytes: number;
  watchBytes: number;
  swapBytes: number;
}

function noRegisterCounts(): RegisterCounts {
  return { swapsDone: 0, conflicts: 0, readBytes: 0, watchBytes: 0, swapBytes: 0 };
}

export class ScaleCluster {
  readonly queue = new EventQueue();
  readonly traffic = new Traffic();
  readonly nodes = new Map<NodeId, ScaleNode>();
  readonly #prng: Prng;
  /** What the register holds. */
  current: Configuration;
  register = noRegisterCounts();
  /** Writes that were answered, and those refused. */
  written = 0;
  refused = 0;
  events = new Map<CoreEvent["kind"], number>();
  readonly #shardOfSlot: Int32Array;

  constructor(options: ClusterOptions) {
    this.#prng = new Prng(options.seed);
    const ids = Array.from({ length: options.nodeCount }, (_, index) => `n${index + 1}`);
    const initial = initialConfiguration({
      clusterId: "scale",
      nodes: ids.map((id, index) => ({
        id,
        host: `10.0.${index >> 8}.${index & 255}`,
        zone: "",
        peerPort: 17_001,
        respPort: 7_001,
        httpPort: 8_001,
      })),
      settings: { ...DEFAULT_SETTINGS, shardCount: options.shardCount },
    });
    for (const id of ids) {
      const incarnation = this.#incarnation();
      this.nodes.set(id, { id, core: undefined, incarnation, isTurnDue: false, coreMs: 0 });
    }
    const nodes = initial.nodes.map((node) => ({
      ...node,
      incarnation: this.nodes.get(node.id)?.incarnation ?? 0,
    }));
    this.current = withRecords({ ...initial, nodes }, formed({ ...initial, nodes }));
    this.#shardOfSlot = new Int32Array(16_384);
    for (const { id, firstSlot, lastSlot } of this.current.shards) {
      this.#shardOfSlot.fill(id, firstSlot, lastSlot + 1);
    }
  }

  #incarnation(): number {
    return 1 + Math.floor(this.#prng.float() * (2 ** 48 - 1));
  }

  #time(): Time {
    return { monoMs: this.queue.nowMs + 1_000, wallMs: WALL_MS + this.queue.nowMs };
  }

  /** Starts every node. @param progress called with the number of nodes that are linked. */
  start(progress: (linked: number) => void): void {
    for (const node of this.nodes.values()) this.#startCore(node);
    let linked = 0;
    for (const node of this.nodes.values()) {
      this.#link(node, linked);
      linked += 1;
      progress(linked);
    }
  }

  #startCore(node: ScaleNode): void {
    const core = new Core({
      nodeId: node.id,
      incarnation: node.incarnation,
      createStateMachine: (record) => new ShardEngine(record),
    });
    node.core = core;
    this.#input(node, (running, time) => running.install(this.current, time));
    const tickMs = this.current.settings.heartbeatMs / TICKS_PER_BEAT;
    const tick = (): void => {
      if (node.core !== core) return;
      this.#input(node, (running, time) => running.tick(time));
      this.queue.after(tickMs, tick);
    };
    this.queue.after(this.#prng.between(0, tickMs * TICKS_PER_BEAT), tick);
  }

  /** Links a node with the first `count` others that run. */
  #link(node: ScaleNode, count: number): void {
    let index = 0;
    for (const other of this.nodes.values()) {
      if (index >= count) return;
      index += 1;
      if (other === node || other.core === undefined) continue;
      this.#input(node, (core, time) => core.connected(other.id, other.incarnation, time));
      this.#input(other, (core, time) => core.connected(node.id, node.incarnation, time));
    }
  }

  /** The machine is gone without a word. */
  kill(id: NodeId): void {
    const dead = this.#node(id);
    dead.core = undefined;
    const { incarnation } = dead;
    this.queue.after(SILENT_MS, () => {
      if (dead.incarnation !== incarnation) return;
      for (const node of this.nodes.values()) {
        this.#input(node, (core, time) => core.disconnected(id, time));
      }
    });
  }

  /** The machine is back, with nothing on its disk. */
  restart(id: NodeId): void {
    const node = this.#node(id);
    for (const other of this.nodes.values()) {
      this.#input(other, (core, time) => core.disconnected(id, time));
    }
    node.incarnation = this.#incarnation();
    node.isTurnDue = false;
    this.#startCore(node);
    this.#link(node, this.nodes.size);
  }

  #node(id: NodeId): ScaleNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new RangeError(`there is no node ${id}`);
    return node;
  }

  /** Lets clients of every node write, each so often a second, until the time given, virtual ms. */
  load(perSecond: number, untilMs: number): void {
    const everyMs = 1_000 / perSecond;
    for (const node of this.nodes.values()) {
      const write = (): void => {
        if (this.queue.nowMs >= untilMs) return;
        this.#write(node);
        this.queue.after(everyMs, write);
      };
      this.queue.after(this.#prng.between(0, everyMs), write);
    }
  }

  #write(node: ScaleNode): void {
    const key = `key:${this.#prng.below(KEYS)}`;
    const operation: SimulatedWrite = {
      shard: this.#shardOfSlot[slotOf(key)] as ShardId,
      request: {
        commands: [Command.of("SET", key, VALUE)],
        isTransaction: false,
        isWrite: true,
        watched: [],
      },
      session: 0,
      answered: (reply) => {
        if (reply instanceof Refusal) this.refused += 1;
        else this.written += 1;
      },
    };
    this.#input(node, (core, time) => core.submit(operation, time));
  }

  #input(node: ScaleNode, give: (core: Core, time: Time) => void): void {
    const { core } = node;
    if (core === undefined) return;
    const begunMs = performance.now();
    give(core, this.#time());
    node.coreMs += performance.now() - begunMs;
    if (node.isTurnDue) return;
    node.isTurnDue = true;
    this.queue.after(TURN_MS, () => {
      node.isTurnDue = false;
      if (node.core === core) this.#endTurn(node, core);
    });
  }

  #endTurn(node: ScaleNode, core: Core): void {
    const begunMs = performance.now();
    const output = core.drain();
    node.coreMs += performance.now() - begunMs;
    this.#carry(node, core, output);
  }

  #carry(node: ScaleNode, core: Core, output: Output): void {
    const { messages } = output;
    if (messages.length > 0) {
      for (const { message } of messages) this.traffic.sent(node.id, message);
      this.queue.after(DELAY_MS, () => {
        for (const { to, message } of messages) {
          const target = this.nodes.get(to);
          if (target === undefined) continue;
          this.#input(target, (receiver, time) => receiver.receive(node.id, message, time));
        }
      });
    }
    for (const { operation, reply } of output.answers) {
      (operation as SimulatedWrite).answered(reply);
    }
    for (const { id, configuration } of output.swaps) this.#swap(node, core, id, configuration);
    if (output.wantsConfiguration) this.#read(node, core);
    for (const { kind } of output.events) this.events.set(kind, (this.events.get(kind) ?? 0) + 1);
  }

  // ---------------------------------------------------------------- the register

  #readBytes(knownVersion: number): number {
    const { current } = this;
    const isKnown = current.version === knownVersion;
    return UNCHANGED_BYTES + (isKnown ? 0 : this.traffic.documentBytes(current));
  }

  #read(node: ScaleNode, core: Core): void {
    this.queue.after(2 * DELAY_MS, () => {
      if (node.core !== core) return;
      const { current } = this;
      this.register.readBytes += this.#readBytes(core.configuration?.version ?? 0);
      this.#input(node, (running, time) => running.install(current, time));
    });
  }

  /** The driver reads before it swaps. */
  #swap(node: ScaleNode, core: Core, id: number, next: Configuration): void {
    this.queue.after(3 * DELAY_MS, () => {
      const isDone = next.version === this.current.version + 1;
      this.register.readBytes += this.#readBytes(next.version - 1);
      if (isDone) {
        this.register.swapsDone += 1;
        this.register.swapBytes += this.traffic.documentBytes(next);
        this.current = next;
        this.#tellAll();
      } else this.register.conflicts += 1;
      const { current } = this;
      this.queue.after(DELAY_MS, () => {
        if (node.core !== core) return;
        const outcome = isDone ? "done" : "conflict";
        this.#input(node, (running, time) => running.swapAnswered(id, outcome, current, time));
      });
    });
  }

  #tellAll(): void {
    const { current } = this;
    this.queue.after(DELAY_MS, () => {
      for (const node of this.nodes.values()) {
        if (node.core === undefined) continue;
        this.register.watchBytes += this.traffic.documentBytes(current);
        this.#input(node, (core, time) => core.install(current, time));
      }
    });
  }

  /** @returns the register's counts, which begin anew. */
  takeRegister(): RegisterCounts {
    const counts = this.register;
    this.register = noRegisterCounts();
    return counts;
  }

  // ---------------------------------------------------------------- what became of it

  /** Whether every shard is led by a node that runs and serves it, without anybody who does not run. */
  get isServed(): boolean {
    return this.isServedButFor([]);
  }

  /** The same of the shards of which not all replicas are among the nodes named. */
  isServedButFor(lost: readonly NodeId[]): boolean {
    return this.current.shards.every(({ id, primary, inSync, replicas }) => {
      if (replicas.every((node) => lost.includes(node))) return true;
      const isAlive = inSync.every(
        ({ node, incarnation }) =>
          this.nodes.get(node)?.core !== undefined &&
          this.nodes.get(node)?.incarnation === incarnation,
      );
      const shard = this.nodes.get(primary)?.core?.shards.find((candidate) => candidate.id === id);
      return isAlive && shard?.serves === true;
    });
  }

  /** With how many others a node shares a shard, on average. */
  get neighbours(): number {
    const near = new Map<NodeId, Set<NodeId>>();
    for (const { replicas } of this.current.shards) {
      for (const node of replicas) {
        let others = near.get(node);
        if (others === undefined) {
          others = new Set();
          near.set(node, others);
        }
        for (const other of replicas) if (other !== node) others.add(other);
      }
    }
    let sum = 0;
    for (const others of near.values()) sum += others.size;
    return sum / this.nodes.size;
  }

  /** Whether every shard has all of its copies in sync, and is led by the node that shall lead it. */
  get isWhole(): boolean {
    return (
      this.isServed &&
      this.current.shards.every(
        ({ replicas, inSync, primary }) =>
          inSync.length === replicas.length && primary === replicas[0],
      )
    );
  }
}
