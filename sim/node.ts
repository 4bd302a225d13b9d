/** One simulated node: the product's own core with simulated clocks, and a loop that can stall. */

import { ShardEngine } from "../src/commands/shard-engine.ts";
import type { Prng } from "../src/kit/prng.ts";
import type { NodeId, ShardId } from "../src/replica/configuration.ts";
import { Core } from "../src/replica/core.ts";
import type { Message } from "../src/replica/messages.ts";
import type { CoreOptions, Limits, Operation, Output, Time } from "../src/replica/surface.ts";
import type { SimDisk } from "./disk.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Endpoint } from "./network.ts";

/** What the world does with what a core wants. */
export interface Carrier {
  carry(node: SimNode, output: Output): void;
  trace(node: NodeId, text: () => string): void;
}

/** A simulated disk stores a copy at once. */
const NONE_FILLING: ReadonlySet<ShardId> = new Set();

export class SimNode implements Endpoint {
  readonly id: NodeId;
  readonly #queue: EventQueue;
  readonly #carrier: Carrier;
  readonly #prng: Prng;
  readonly #options: {
    readonly limits: Partial<Limits>;
    readonly mutant: CoreOptions["mutant"];
    readonly batchMs: number;
    readonly disk: SimDisk | undefined;
  };
  #isFlushDue = false;
  core: Core | undefined;
  incarnation = 0;
  /** Its monotonic clock's speed against true time. */
  rate = 1;
  #bootMs = 0;
  /** Its wall clock against true time, ms. */
  wallOffsetMs = 0;
  /** It has been told to hand everything over and end. */
  isStopping = false;
  #pausedUntilMs = 0;
  /** What came while it was paused, in order. */
  #waiting: (() => void)[] = [];
  #isResuming = false;
  readonly tickMs: number;

  constructor(
    id: NodeId,
    queue: EventQueue,
    carrier: Carrier,
    prng: Prng,
    options: {
      readonly limits: Partial<Limits>;
      readonly mutant: CoreOptions["mutant"];
      readonly tickMs: number;
      /** What the core wants is carried out up to so much later, for several inputs at once. */
      readonly batchMs: number;
      /** Without one, everything is in memory only. */
      readonly disk: SimDisk | undefined;
    },
  ) {
    this.id = id;
    this.#queue = queue;
    this.#carrier = carrier;
    this.#prng = prng;
    this.#options = options;
    this.tickMs = options.tickMs;
  }

  get disk(): SimDisk | undefined {
    return this.#options.disk;
  }

  get isUp(): boolean {
    return this.core !== undefined;
  }

  get isRunning(): boolean {
    return this.isUp && this.#queue.nowMs >= this.#pausedUntilMs;
  }

  get time(): Time {
    const { nowMs } = this.#queue;
    return {
      monoMs: (nowMs - this.#bootMs) * this.rate + 1_000,
      wallMs: 1_700_000_000_000 + this.wallOffsetMs + nowMs,
    };
  }

  start(incarnation = 1 + this.#prng.below(2 ** 30)): void {
    this.incarnation = incarnation;
    // Its monotonic clock begins anew, as that of a machine that was booted.
    this.#bootMs = this.#queue.nowMs - this.#prng.between(0, 10_000);
    this.#pausedUntilMs = 0;
    this.#waiting = [];
    this.#isFlushDue = false;
    this.isStopping = false;
    this.core = new Core({
      nodeId: this.id,
      incarnation: this.incarnation,
      createStateMachine: (record) => new ShardEngine(record),
      limits: this.#options.limits,
      mutant: this.#options.mutant,
      ...restoredFrom(this.disk),
    });
    this.#carrier.trace(this.id, () => `starts as ${this.incarnation}`);
    this.#scheduleTick(this.core);
  }

  crash(): void {
    this.core = undefined;
    this.disk?.crash();
    this.#waiting = [];
    this.#carrier.trace(this.id, () => "crashes");
  }

  /** Stops the process for a while; what arrives meanwhile waits. */
  pause(forMs: number): void {
    if (!this.isUp) return;
    this.#carrier.trace(this.id, () => `pauses for ${Math.round(forMs)} ms`);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#queue.nowMs + forMs);
    const { core } = this;
    this.#queue.after(forMs, () => {
      if (this.core === core) this.#resume();
    });
  }

  resumeNow(): void {
    if (!this.isUp || this.isRunning) return;
    this.#pausedUntilMs = this.#queue.nowMs;
    this.#resume();
  }

  #resume(): void {
    if (!this.isRunning || this.#isResuming) return;
    // R5: first everything that has arrived, then the timers.
    this.#isResuming = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
    this.#isResuming = false;
  }

  /** Gives the core something, now or when the process runs again. */
  input(give: (core: Core, time: Time) => void): void {
    const { core } = this;
    if (core === undefined) return;
    if (!this.isRunning) {
      this.#waiting.push(() => {
        if (this.core === core) this.input(give);
      });
      return;
    }
    give(core, this.time);
    const { batchMs } = this.#options;
    if (batchMs === 0) this.#flush(core);
    else if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      this.#queue.after(this.#prng.between(0, batchMs), () => this.#flushWhenRunning(core));
    }
  }

  #flushWhenRunning(core: Core): void {
    if (this.core !== core) return;
    if (this.isRunning) this.#flush(core);
    else this.#waiting.push(() => this.#flushWhenRunning(core));
  }

  #flush(core: Core): void {
    this.#isFlushDue = false;
    const output = core.drain();
    this.disk?.write(core, output.journal, (items) => {
      this.input((running, time) => running.saved(items, NONE_FILLING, time));
    });
    this.#carrier.carry(this, output);
  }

  #scheduleTick(core: Core): void {
    this.#queue.after(this.tickMs * this.#prng.between(0.9, 1.2), () => {
      if (this.core !== core) return;
      if (this.isRunning) {
        core.tick(this.time);
        this.#flush(core);
        this.#scheduleTick(core);
      } else {
        const lateMs = this.#pausedUntilMs - this.#queue.nowMs + 0.01;
        this.#queue.after(lateMs - this.tickMs, () => {
          if (this.core === core) this.#scheduleTick(core);
        });
      }
    });
  }

  connected(peer: NodeId, incarnation: number): void {
    this.#carrier.trace(this.id, () => `link to ${peer} up`);
    this.input((core, time) => core.connected(peer, incarnation, time));
  }

  disconnected(peer: NodeId): void {
    this.#carrier.trace(this.id, () => `link to ${peer} down`);
    this.input((core, time) => core.disconnected(peer, time));
  }

  receive(from: NodeId, message: Message): void {
    this.input((core, time) => core.receive(from, message, time));
  }

  submit(operation: Operation): void {
    this.input((core, time) => core.submit(operation, time));
  }
}

function restoredFrom(disk: SimDisk | undefined): Pick<CoreOptions, "restored"> {
  const restored = disk?.restored();
  return restored === undefined ? {} : { restored };
}
