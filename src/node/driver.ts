/**
 * Drives the replication core of one node: gives it what arrives, with the time at which it is given, and carries out what it
 * asks for, in order. It decides nothing. After the core has thrown, nothing is done any more: a broken invariant must not
 * be served on with.
 */

import type { Command } from "../data/command.ts";
import type { Reply } from "../data/reply.ts";
import type { LinkHandler, PeerAddress } from "../peers/links.ts";
import { type Register, RegisterError, type SwapResult } from "../register/register.ts";
import type { Configuration, Incarnation, NodeId, ShardId } from "../replica/configuration.ts";
import type { JournalItem } from "../replica/journal.ts";
import type { Message } from "../replica/messages.ts";
import type { CoreEvent, CoreSurface, NodeStatus, StoredShard, Time } from "../replica/surface.ts";
import type { AnsweredOperation, NodeDoor } from "../router/door.ts";
import type { NodeClock } from "./clock.ts";
import type { DiskUser } from "./disk.ts";

/** What the driver needs of the links. */
export interface PeerLinks {
  send(to: NodeId, message: Message): void;
  flush(): void;
  setPeers(addresses: readonly PeerAddress[]): void;
}

/** Told what happens; must not throw, and must not take long. */
export interface DriverObserver {
  /** All events of one turn, at least one. */
  events(events: readonly CoreEvent[]): void;
  /** A write was answered after this time, ms, with success or a refusal. */
  written(ms: number, reply: Reply): void;
  clockJumped(): void;
  /** The register did not do what it was asked for. */
  registerFailed(what: "read" | "swap", error: Error): void;
}

/** What the driver needs of the disk. */
export interface Journal {
  attach(user: DiskUser): void;
  append(items: readonly JournalItem[]): void;
}

export interface DriverOptions {
  readonly core: CoreSurface;
  /** Takes the core's journal; without one everything is in memory only. */
  readonly journal?: Journal | undefined;
  /** Makes the links, which will call the handler. */
  readonly createLinks: (handler: LinkHandler) => PeerLinks;
  readonly register: Register;
  readonly clock: NodeClock;
  readonly observer: DriverObserver;
  /** Time between two ticks, ms: a fifth of the heartbeat interval. */
  readonly tickMs: number;
  /** Called once if the core, or what handles its answers, throws. It should end the process. */
  readonly fatal: (error: unknown) => void;
}

type State = "new" | "running" | "stopped" | "broken";

const DRAIN_LOOK_MS = 10;

export class Driver implements NodeDoor, LinkHandler, DiskUser {
  readonly #core: CoreSurface;
  readonly #links: PeerLinks;
  readonly #options: DriverOptions;
  readonly #observer: DriverObserver;
  readonly #clock: NodeClock;
  #state: State = "new";
  #jumpsTold = 0;
  #isFlushDue = false;
  #isTurnEndPlanned = false;
  #isTickDue = false;
  #isReading = false;
  #tickTimer: NodeJS.Timeout | undefined;
  #endWatch: (() => void) | undefined;
  /** The configuration whose nodes the links know. */
  #linkedConfiguration: Configuration | undefined;
  /** The clocks as they were when the burst of requests, or of a peer's messages, began that is being taken in. */
  #burst: Time | undefined;
  readonly #onTurnEnd = () => this.#flushTurn();

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#observer = options.observer;
    this.#clock = options.clock;
    this.#links = options.createLinks(this);
    options.journal?.attach(this);
  }

  /** Installs the first configuration, watches the register for newer ones, and ticks from now on. */
  start(configuration: Configuration): void {
    this.#state = "running";
    this.#guard((time) => this.#core.install(configuration, time));
    this.#endWatch = this.#options.register.watch(configuration.version, (newer) => {
      this.#guard((time) => this.#core.install(newer, time));
    });
    this.#tickTimer = setInterval(() => this.#tickSoon(), this.#options.tickMs);
  }

  /** Does nothing from now on; operations without an answer never get one. */
  stop(): void {
    if (this.#state !== "broken") this.#state = "stopped";
    clearInterval(this.#tickTimer);
    this.#endWatch?.();
  }

  // --- Door -------------------------------------------------------------------------------------------------------

  submit(operation: AnsweredOperation): void {
    if (this.#state !== "running") return;
    try {
      const time = this.#burst ?? this.#now();
      operation.submittedMs = time.monoMs;
      this.#core.submit(operation, time);
    } catch (error) {
      this.#fail(error);
    }
    this.#flushSoon();
  }

  read(shard: ShardId, command: Command, session: number): Reply | undefined {
    if (this.#state !== "running") return undefined;
    try {
      return this.#core.read(shard, command, session, this.#burst ?? this.#now());
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  beginBurst(): void {
    if (this.#state !== "running") return;
    // Before whoever takes the burst plans to send the answers to it.
    this.#planTurnEnd();
    try {
      this.#burst = this.#now();
    } catch (error) {
      this.#fail(error);
    }
  }

  endBurst(): void {
    this.#burst = undefined;
  }

  configuration(): Configuration | undefined {
    return this.#core.configuration;
  }

  /** As its status has it. */
  isReady(): boolean {
    return this.#core.isReady(this.#clock.read());
  }

  status(): NodeStatus {
    return this.#core.status(this.#clock.read());
  }

  // --- administration ---------------------------------------------------------------------------------------------

  /**
   * Begins a planned transfer of a shard of which this node is the primary.
   * @returns why not, or undefined.
   */
  transfer(shard: ShardId, successor: NodeId): string | undefined {
    let refusal: string | undefined = "the node is stopping";
    this.#guard((time) => {
      refusal = this.#core.transfer(shard, successor, time);
    });
    return refusal;
  }

  /**
   * Begins to divide a shard of which this node is the primary.
   * @param at the first slot of the new shard; the middle one if it is left out.
   * @returns why not, or undefined.
   */
  split(shard: ShardId, at: number | undefined): string | undefined {
    let refusal: string | undefined = "the node is stopping";
    this.#guard((time) => {
      refusal = this.#core.split(shard, at, time);
    });
    return refusal;
  }

  /**
   * Declares nodes gone for good, with their disks (R12).
   * @returns why not, or undefined.
   */
  recover(lost: readonly NodeId[]): string | undefined {
    let refusal: string | undefined = "the node is stopping";
    this.#guard((time) => {
      refusal = this.#core.recover(lost, time);
    });
    return refusal;
  }

  /** Begins no full copy to a learner for so long, ms. */
  holdCopies(forMs: number): void {
    this.#guard((time) => this.#core.holdCopies(forMs, time));
  }

  /**
   * Hands over all shards (R14).
   * @param waitMs how long to wait for the end of it, ms.
   * @returns whether it is done.
   */
  async drainShards(waitMs: number): Promise<boolean> {
    this.#guard((time) => this.#core.drainShards(time));
    const end = performance.now() + waitMs;
    while (this.#state === "running") {
      if (this.status().isDrained) return true;
      if (performance.now() >= end) return false;
      await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
    }
    return false;
  }

  // --- DiskUser ---------------------------------------------------------------------------------------------------

  stored(shard: ShardId): StoredShard | undefined {
    return this.#core.stored(shard);
  }

  saved(items: number, filling: ReadonlySet<ShardId>): void {
    this.#guard((time) => this.#core.saved(items, filling, time));
  }

  diskFailed(): void {
    this.#guard((time) => this.#core.diskFailed(time));
  }

  diskReplaced(): void {
    this.#guard((time) => this.#core.resumeShards(time));
  }

  // --- LinkHandler ------------------------------------------------------------------------------------------------

  connected(peer: NodeId, incarnation: Incarnation): void {
    this.#guard((time) => this.#core.connected(peer, incarnation, time));
  }

  disconnected(peer: NodeId): void {
    this.#guard((time) => this.#core.disconnected(peer, time));
  }

  received(from: NodeId, message: Message): void {
    if (this.#state !== "running") return;
    try {
      this.#core.receive(from, message, this.#burst ?? this.#now());
    } catch (error) {
      this.#fail(error);
    }
    this.#flushSoon();
  }

  // --- turns ------------------------------------------------------------------------------------------------------

  /** The clocks at this moment. A jump is told to the core before what is read with this time. */
  #now(): Time {
    const time = this.#clock.read();
    if (this.#clock.jumps !== this.#jumpsTold) {
      this.#jumpsTold = this.#clock.jumps;
      this.#observer.clockJumped();
      this.#core.clockJumped(time);
    }
    return time;
  }

  #guard(run: (time: Time) => void): void {
    if (this.#state !== "running") return;
    try {
      run(this.#now());
    } catch (error) {
      this.#fail(error);
    }
    this.#flushSoon();
  }

  #fail(error: unknown): void {
    if (this.#state === "broken") return;
    this.#state = "broken";
    this.stop();
    this.#options.fatal(error);
  }

  /** The tick comes after all that has arrived was read: R5 must not blame a peer for this process's own stall. */
  #tickSoon(): void {
    if (this.#isTickDue) return;
    this.#isTickDue = true;
    // Timers run before the loop reads its sockets, immediates after.
    setImmediate(() => {
      this.#isTickDue = false;
      this.#guard((time) => this.#core.tick(time));
    });
  }

  /** All that one turn of the loop brings is carried out at its end, so that one write carries many messages. */
  #flushSoon(): void {
    if (this.#isFlushDue || this.#state !== "running") return;
    this.#isFlushDue = true;
    this.#planTurnEnd();
  }

  #planTurnEnd(): void {
    if (this.#isTurnEndPlanned) return;
    this.#isTurnEndPlanned = true;
    setImmediate(this.#onTurnEnd);
  }

  #flushTurn(): void {
    this.#isTurnEndPlanned = false;
    if (!this.#isFlushDue) return;
    this.#isFlushDue = false;
    if (this.#state !== "running") return;
    try {
      this.#flush();
    } catch (error) {
      this.#fail(error);
    }
  }

  #flush(): void {
    const output = this.#core.drain();
    const { messages, answers, swaps, wantsConfiguration, events } = output;
    this.#options.journal?.append(output.journal);
    this.#linkNodes();
    for (const { to, message } of messages) this.#links.send(to, message);
    // Before the answers: the peers can work while this node writes to its clients.
    this.#links.flush();
    if (answers.length > 0) {
      const { monoMs } = this.#clock.read();
      for (const { operation, reply } of answers) {
        this.#answer(operation as AnsweredOperation, reply, monoMs);
      }
    }
    for (const { id, configuration } of swaps) this.#swap(id, configuration);
    if (wantsConfiguration) this.#read();
    if (events.length > 0) this.#observer.events(events);
  }

  #answer(operation: AnsweredOperation, reply: Reply, nowMs: number): void {
    if (operation.request.isWrite) {
      this.#observer.written(nowMs - (operation.submittedMs ?? nowMs), reply);
    }
    operation.answered(reply);
  }

  #linkNodes(): void {
    const { configuration } = this.#core;
    if (configuration === undefined || configuration === this.#linkedConfiguration) return;
    this.#linkedConfiguration = configuration;
    this.#links.setPeers(
      configuration.nodes.map(({ id, host, peerPort }) => ({
        id,
        host,
        port: peerPort,
        beatMs: this.#core.beatMs(id),
      })),
    );
  }

  // --- register ---------------------------------------------------------------------------------------------------

  #swap(id: number, configuration: Configuration): void {
    this.#swapIfHeard(configuration).then(
      (result) => {
        if (result.outcome === "unknown") this.#observer.registerFailed("swap", result.cause);
        const current = result.outcome === "conflict" ? result.current : undefined;
        // Of a swap that is done the register holds this very document.
        const known = result.outcome === "done" ? configuration : current;
        this.#guard((time) => this.#core.swapAnswered(id, result.outcome, known, time));
      },
      (error: unknown) => {
        this.#observer.registerFailed("swap", toError(error));
        // Refused for good means certainly not applied.
        const isRefused = error instanceof RegisterError && error.code === "refused";
        const outcome = isRefused ? "conflict" : "unknown";
        this.#guard((time) => this.#core.swapAnswered(id, outcome, undefined, time));
      },
    );
  }

  /**
   * Swaps only when the register has just been heard. A node that can speak and not hear takes all others for dead: its swap
   * would reach the register and remove them, and it would never learn that it is alone.
   */
  async #swapIfHeard(configuration: Configuration): Promise<SwapResult> {
    const { register } = this.#options;
    const current = await register.read();
    if (current !== undefined && current.version >= configuration.version) {
      return { outcome: "conflict", current };
    }
    return register.swap(configuration);
  }

  #read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#options.register.read().then(
      (configuration) => {
        this.#isReading = false;
        if (configuration === undefined) return;
        this.#guard((time) => this.#core.install(configuration, time));
      },
      (error: unknown) => {
        this.#isReading = false;
        this.#observer.registerFailed("read", toError(error));
      },
    );
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
