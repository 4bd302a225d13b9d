/** Simulated clients: they ask, record what they were told, and go elsewhere when their node is gone. */

import { Bytes } from "../src/data/bytes.ts";
import { Command } from "../src/data/command.ts";
import { Refusal, type Reply, Status } from "../src/data/reply.ts";
import type { Action, KeyAction, OperationRecord, Result } from "../src/history/history.ts";
import type { Prng } from "../src/kit/prng.ts";
import { type NodeId, SHARDS_MAX } from "../src/replica/configuration.ts";
import type { Core } from "../src/replica/core.ts";
import type { Request } from "../src/replica/ports.ts";
import type { Operation, Time } from "../src/replica/surface.ts";
import { CROSS_SLOT } from "../src/router/refusals.ts";
import type { SimNode } from "./node.ts";
import type { SimOperation, World } from "./world.ts";

export interface WorkloadOptions {
  readonly clients: number;
  readonly keys: number;
  /** Mean pause of a client between its batches, ms. */
  readonly thinkMs: number;
  /** Most commands that a client sends without waiting. */
  readonly pipelineMax: number;
  /** Share of commands that only read. */
  readonly readShare: number;
  /** Clients that stay at one node, if it lives. */
  readonly isSticky: boolean;
  /** Some keys get an end of their life. */
  readonly hasExpiry: boolean;
}

/** Each expiry can come at any time, or not: too many of them cannot be judged. */
const GHOSTS_MAX = 12;

interface Asked {
  readonly id: number;
  readonly session: number;
  readonly node: NodeId;
  readonly invokedAt: number;
  readonly action: Action;
  outcome:
    | { readonly outcome: "ok"; readonly answeredAt: number; readonly result: Result }
    | { readonly outcome: "failed"; readonly answeredAt: number; readonly why: string }
    | { readonly outcome: "unknown"; readonly why: string };
}

/** Commands that a client has sent one behind the other. A server answers in their order. */
interface Connection {
  readonly asked: Asked[];
  /** Answers that are there before those to earlier commands. */
  readonly early: Map<Asked, Asked["outcome"]>;
  heard: number;
  isOver: boolean;
}

export class Workload {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #options: WorkloadOptions;
  readonly #asked: Asked[] = [];
  readonly #ghosts: OperationRecord[] = [];
  #nextSession = 1;
  #nextValue = 1;
  #isStopped = false;
  /** Operations without an outcome yet, whose node lives. */
  #open = 0;
  readonly #keys: readonly string[];
  /** Refusals that clients saw, by their code. */
  readonly refusals = new Map<string, number>();

  constructor(world: World, options: WorkloadOptions) {
    this.#world = world;
    this.#prng = world.prng.fork();
    this.#options = options;
    this.#keys = Array.from({ length: options.keys }, (_, index) => `key${index}`);
    for (let client = 0; client < options.clients; client += 1) {
      world.queue.after(this.#prng.between(0, 200), () => this.#begin());
    }
  }

  /**
   * What was asked and answered so far, with expiries as deletions that may come at any time. A session has an order on each
   * shard only, and so, with shards that are divided, on each of those that there are in the end.
   */
  get history(): readonly OperationRecord[] {
    return [
      ...this.#asked.map(
        ({ id, session, node, invokedAt, action, outcome }): OperationRecord => ({
          id,
          session: session * SHARDS_MAX + this.#world.shardOf(partsOf(action)[0]?.key ?? ""),
          node,
          invokedAt,
          action,
          ...outcome,
        }),
      ),
      ...this.#ghosts,
    ];
  }

  get isQuiet(): boolean {
    return this.#isStopped && this.#open === 0;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** A client connects to some node that runs, and works there until the node is gone. */
  #begin(): void {
    if (this.#isStopped) return;
    const up = [...this.#world.nodes.values()].filter((node) => node.isUp);
    if (up.length === 0) {
      this.#world.queue.after(100, () => this.#begin());
      return;
    }
    this.#batch(this.#prng.pick(up), this.#openSession());
  }

  #batch(node: SimNode, session: number): void {
    if (this.#isStopped) return;
    const { core } = node;
    if (core === undefined) {
      this.#begin();
      return;
    }
    const depth = 1 + this.#prng.below(this.#options.pipelineMax);
    let left = depth;
    const startMs = this.#world.queue.nowMs;
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      const pauseMs = this.#prng.between(0, 2 * this.#options.thinkMs);
      const leaves = !this.#options.isSticky && this.#prng.chance(0.1);
      this.#world.queue.after(pauseMs, () => (leaves ? this.#begin() : this.#batch(node, session)));
    };
    const connection = this.#connect();
    for (let index = 0; index < depth; index += 1) {
      this.#ask(node, session, this.#action(), connection, () => {
        left -= 1;
        if (left === 0) end();
      });
    }
    // The connection breaks with the process; a client also leaves a node that hangs.
    const watch = (): void => {
      if (isOver) return;
      const isGone = node.core !== core;
      const patienceMs = 6_000;
      if (!isGone && this.#world.queue.nowMs - startMs < patienceMs) {
        this.#world.queue.after(50, watch);
        return;
      }
      isOver = true;
      this.#leave(connection);
      this.#begin();
    };
    this.#world.queue.after(50, watch);
  }

  /** A client hears the outcome of what it asked. */
  #hear(asked: Asked, outcome: Asked["outcome"]): void {
    this.#open -= 1;
    const answeredAt = this.#world.queue.nowMs;
    asked.outcome = outcome.outcome === "unknown" ? outcome : { ...outcome, answeredAt };
  }

  #connect(): Connection {
    return { asked: [], early: new Map(), heard: 0, isOver: false };
  }

  /** A client that has gone elsewhere hears nothing more. */
  #leave(connection: Connection): void {
    connection.isOver = true;
    this.#open -= connection.asked.length - connection.heard;
  }

  #answered(connection: Connection, one: Asked, outcome: Asked["outcome"]): void {
    const { asked, early } = connection;
    early.set(one, outcome);
    for (let next = asked[connection.heard]; next !== undefined; next = asked[connection.heard]) {
      const known = early.get(next);
      if (known === undefined) break;
      this.#hear(next, known);
      connection.heard += 1;
    }
  }

  /** Asks one node; `onAnswer` is called when it answers, which may be never, or at once. */
  #ask(
    node: SimNode,
    session: number,
    action: Action,
    connection: Connection,
    onAnswer: (outcome: Asked["outcome"]) => void,
  ): void {
    const world = this.#world;
    const asked: Asked = {
      id: this.#asked.length + 1,
      session,
      node: node.id,
      invokedAt: world.queue.nowMs,
      action,
      outcome: { outcome: "unknown", why: "no answer" },
    };
    this.#asked.push(asked);
    connection.asked.push(asked);
    this.#open += 1;
    const { core } = node;
    const parts = partsOf(action);
    const operation: SimOperation = {
      // As the node knows it at the moment at which it takes the operation.
      get shard() {
        return world.shardOf(parts[0]?.key ?? "", node);
      },
      session,
      request: this.#request(action, asked),
      answered: (reply) => {
        if (node.core !== core || connection.isOver) return;
        const outcome = this.#outcome(reply);
        world.trace(node.id, () => `answers #${asked.id} ${JSON.stringify(outcome)}`);
        this.#answered(connection, asked, outcome);
        onAnswer(outcome);
      },
    };
    world.trace(
      node.id,
      () => `is asked #${asked.id} ${JSON.stringify(operation.request.commands)}`,
    );
    node.input((running, time) => {
      const { shard, request } = operation;
      if (!parts.every(({ key }) => world.shardOf(key, node) === shard)) {
        operation.answered(CROSS_SLOT);
        return;
      }
      const reply = readAtOnce(running, { shard, request, session }, time);
      if (reply === undefined) running.submit(operation, time);
      else operation.answered(reply);
    });
  }

  /**
   * A script's client asks a node, now, one command behind the other on a connection of its own. What it is told goes
   * into the history like all the rest.
   */
  ask(
    node: SimNode,
    actions: readonly Action[],
    onOutcome: (outcome: Asked["outcome"]) => void = () => {},
  ): void {
    const { core } = node;
    if (core === undefined) return;
    const connection = this.#connect();
    const session = this.#openSession();
    for (const action of actions) this.#ask(node, session, action, connection, onOutcome);
    const watch = (): void => {
      if (connection.heard === actions.length) return;
      if (node.core === core) this.#world.queue.after(50, watch);
      else this.#leave(connection);
    };
    watch();
  }

  #openSession(): number {
    const session = this.#nextSession;
    this.#nextSession += 1;
    return session;
  }

  /** Every node reads every key: the end of the history. */
  readAll(): void {
    for (const node of this.#world.nodes.values()) {
      if (!node.isUp) continue;
      for (const key of this.#keys) {
        this.ask(node, [{ kind: "get", key }]);
      }
    }
  }

  #outcome(reply: Reply): Asked["outcome"] {
    const answeredAt = this.#world.queue.nowMs;
    if (reply instanceof Refusal) {
      const { code, message } = reply;
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      if (code === "UNCERTAIN") return { outcome: "unknown", why: message };
      const wasRefused = code === "TRYAGAIN" || code === "NOREPLICAS" || code === "MISCONF";
      if (wasRefused || code === CROSS_SLOT.code) {
        return { outcome: "failed", answeredAt, why: code };
      }
    }
    return { outcome: "ok", answeredAt, result: toResult(reply) };
  }

  #action(): Action {
    const prng = this.#prng;
    if (this.#options.keys > 1 && prng.chance(0.08)) {
      const first = prng.pick(this.#keys);
      const shard = this.#world.shardOf(first);
      const near = this.#keys.filter((key) => this.#world.shardOf(key) === shard);
      const actions = [this.#keyAction(first), this.#keyAction(prng.pick(near))];
      if (prng.chance(0.3)) actions.push(this.#keyAction(prng.pick(near)));
      return { kind: "multi", actions };
    }
    return this.#keyAction(prng.pick(this.#keys));
  }

  #keyAction(key: string): KeyAction {
    const prng = this.#prng;
    if (prng.chance(this.#options.readShare)) {
      return { kind: prng.chance(0.9) ? "get" : "exists", key };
    }
    this.#nextValue += 1;
    const value = `${this.#nextValue}.`;
    // Half of the keys are counters, so that INCR finds numbers.
    if (key.charCodeAt(key.length - 1) % 2 === 0) {
      const draw = prng.float();
      if (draw < 0.75) return { kind: "incr", key, by: 1 };
      return { kind: draw < 0.9 ? "del" : "getdel", key };
    }
    const draw = prng.float();
    if (draw < 0.35) return { kind: "set", key, value };
    if (draw < 0.55) return { kind: "append", key, value };
    if (draw < 0.7) return { kind: "setnx", key, value };
    if (draw < 0.8) return { kind: "getset", key, value };
    return { kind: draw < 0.93 ? "del" : "getdel", key };
  }

  #request(action: Action, asked: Asked): Request {
    const actions = action.kind === "multi" ? action.actions : [action];
    return {
      commands: actions.map((part) => Command.from(this.#command(part, asked))),
      isTransaction: action.kind === "multi",
      isWrite: actions.some(({ kind }) => kind !== "get" && kind !== "exists"),
      watched: [],
    };
  }

  #command(action: KeyAction, asked: Asked): readonly string[] {
    switch (action.kind) {
      case "get":
      case "exists":
      case "del":
      case "getdel":
        return [action.kind.toUpperCase(), action.key];
      case "incr":
        return ["INCRBY", action.key, String(action.by)];
      case "set":
        if (this.#options.hasExpiry && this.#ghosts.length < GHOSTS_MAX && this.#prng.chance(0.3)) {
          this.#ghosts.push({
            id: 1_000_000 + this.#ghosts.length,
            session: 1_000_000 + this.#ghosts.length,
            invokedAt: asked.invokedAt,
            action: { kind: "del", key: action.key },
            outcome: "unknown",
            why: "the key's time was up",
          });
          return ["SET", action.key, action.value, "PX", String(100 + this.#prng.below(600))];
        }
        return ["SET", action.key, action.value];
      default:
        return [action.kind.toUpperCase(), action.key, action.value];
    }
  }
}

function partsOf(action: Action): readonly KeyAction[] {
  return action.kind === "multi" ? action.actions : [action];
}

/** As a node's server does with a command that only reads. */
function readAtOnce(
  core: Core,
  { shard, request, session }: Operation,
  time: Time,
): Reply | undefined {
  const [command] = request.commands;
  if (command === undefined || request.isWrite || request.isTransaction) return undefined;
  return core.read(shard, command, session, time);
}

/** A reply as a history holds it. */
function toResult(reply: Reply): Result {
  if (reply instanceof Status) return reply.text;
  if (reply instanceof Refusal) return { error: `${reply.code} ${reply.message}` };
  if (reply instanceof Bytes) return reply.toString();
  if (typeof reply === "bigint") return Number(reply);
  if (Array.isArray(reply)) return reply.map((item: Reply) => toResult(item));
  if (reply === null || typeof reply === "string" || typeof reply === "number") return reply;
  throw new Error(`a reply that no action of the workload gives: ${String(reply)}`);
}
