/**
 * One door for every request of every client, whatever protocol it came by: finds the command, its keys, their shards, and
 * puts the shards' answers together. It keeps nothing between requests. Where an operation then runs is the core's matter;
 * a balancing policy (which node a client is advised to use, which requests are taken first) belongs here, before `submit`.
 */

import { unknownCommand, wrongArity } from "../commands/refusals.ts";
import type { DataCommand } from "../commands/spec.ts";
import { arityMatches, findCommand, keysOf } from "../commands/table.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import { assert, unreachable } from "../kit/assert.ts";
import { type ShardId, SLOT_COUNT } from "../replica/configuration.ts";
import type { Request, Watch } from "../replica/ports.ts";
import type { AnsweredOperation, Door } from "./door.ts";
import { mergeParts, type Part } from "./merges.ts";
import { CROSS_SLOT, NO_CONFIGURATION } from "./refusals.ts";
import { type Merge, type Route, routeOf } from "./routes.ts";
import { SlotTable } from "./slot-table.ts";

type Args = readonly string[];

/** Where an answer goes. */
export interface ReplySink {
  /** Called exactly once for each request; possibly before the call that took the request returns. */
  answered(reply: Reply): void;
}

/** The commands of a MULTI … EXEC, each checked by `placeOf` already. */
export interface Transaction {
  readonly commands: readonly Args[];
  readonly watched: readonly Watch[];
  /** Where they were when they were checked. */
  readonly shard: ShardId;
}

const NOTHING_WATCHED: readonly Watch[] = [];
const NO_POSITIONS: readonly number[] = [];
const CURSOR = /^[0-9]{1,15}$/;

export class Router {
  readonly #door: Door;
  #table: SlotTable | undefined;

  constructor(door: Door) {
    this.#door = door;
  }

  /**
   * Runs one command.
   * @param args binary strings, the command's name first; at least one. They must not be changed afterwards.
   * @param session the client's connection: what it sends takes effect in order on each shard. 0 for no order.
   * @param sink gets the answer, refusals included.
   */
  dispatch(args: Args, session: number, sink: ReplySink): void {
    const route = this.find(args);
    if (route instanceof Refusal) sink.answered(route);
    else this.dispatchTo(route, args, session, sink);
  }

  /**
   * Runs one command, like `dispatch`.
   * @param route the command's own; the number of its arguments has been checked.
   */
  dispatchTo(route: Route, args: Args, session: number, sink: ReplySink): void {
    const table = this.#slots();
    if (table === undefined) {
      sink.answered(NO_CONFIGURATION);
      return;
    }
    const { command, way } = route;
    // The common case, a command with one key.
    if (way.kind === "keys" && command.firstKey === 1 && command.lastKey === 1) {
      this.#submit(table.shardOfKey(args[1] ?? ""), args, route.isWrite, session, sink);
      return;
    }
    this.#send({ route, args, session, sink, table });
  }

  /**
   * Finds a data command and checks the number of its arguments.
   * @returns its route, or why there is none, in Redis's words.
   */
  find(args: Args): Route | Refusal {
    const command = findCommand(args[0] ?? "");
    const route = command === undefined ? undefined : routeOf(command);
    if (command === undefined || route === undefined) return unknownCommand(args);
    return arityMatches(command, args.length) ? route : wrongArity(command.name);
  }

  /** @returns the one shard that holds all the keys, or the refusal that says that there is none. */
  shardOf(keys: readonly string[]): ShardId | Refusal {
    const table = this.#slots();
    if (table === undefined) return NO_CONFIGURATION;
    return shardOfKeys(table, keys);
  }

  /**
   * @returns the one shard that the whole command would run on, as it must inside a transaction; or a refusal.
   */
  placeOf(route: Route, args: Args): ShardId | Refusal {
    const table = this.#slots();
    if (table === undefined) return NO_CONFIGURATION;
    const keys = keysOf(route.command, args);
    if (keys.length > 0) return shardOfKeys(table, keys);
    const [only, ...others] = table.configuration.shards;
    return only === undefined || others.length > 0 ? CROSS_SLOT : only.id;
  }

  /**
   * Runs a transaction as one request.
   * @param sink gets an array with one reply for each command, the null array if a watched key changed, or a refusal.
   */
  execute(transaction: Transaction, session: number, sink: ReplySink): void {
    const { commands, watched } = transaction;
    const shard = this.#shardOfAll(transaction);
    if (shard instanceof Refusal) {
      sink.answered(shard);
      return;
    }
    const request: Request = {
      commands,
      isTransaction: true,
      isWrite: commands.some((args) => isWrite(args)),
      watched,
    };
    const finishing: ReplySink = {
      answered: (reply) => {
        if (!Array.isArray(reply)) sink.answered(reply);
        else sink.answered(reply.map((item, at) => finishInTransaction(commands[at] ?? [], item)));
      },
    };
    this.#door.submit(new SinkOperation(shard, request, session, finishing));
  }

  /** Where a transaction's keys are now: since its commands were queued, their shard may have been divided. */
  #shardOfAll({ commands, watched, shard }: Transaction): ShardId | Refusal {
    const keys = watched.map(({ key }) => key);
    const isOnlyShard = this.#slots()?.configuration.shards.length === 1;
    for (const args of commands) {
      const command = findCommand(args[0] ?? "");
      const named = command === undefined ? [] : keysOf(command, args);
      // What names no key runs on a shard that is all there is.
      if (named.length === 0 && !isOnlyShard) return CROSS_SLOT;
      keys.push(...named);
    }
    return keys.length === 0 ? shard : this.shardOf(keys);
  }

  /**
   * Reads the versions of keys that a client watches; all of one shard.
   * @param sink gets an array with one version for each key, or a refusal.
   */
  watch(keys: readonly string[], session: number, sink: ReplySink): void {
    const shard = this.shardOf(keys);
    if (shard instanceof Refusal) sink.answered(shard);
    else this.#submit(shard, ["watch", ...keys], false, session, sink);
  }

  #slots(): SlotTable | undefined {
    const configuration = this.#door.configuration();
    if (configuration === undefined) return undefined;
    if (this.#table?.configuration !== configuration) this.#table = new SlotTable(configuration);
    return this.#table;
  }

  #send(call: Call): void {
    const { way } = call.route;
    switch (way.kind) {
      case "keys":
        this.#sendByKeys(call);
        return;
      case "split":
        this.#sendSplit(call, way.merge);
        return;
      case "every-shard":
        this.#sendToAll(call, way.merge);
        return;
      case "any-shard":
        this.#sendToAny(call);
        return;
      case "scan":
        this.#sendScan(call);
        return;
      default:
        unreachable(way);
    }
  }

  #submit(shard: ShardId, args: Args, write: boolean, session: number, sink: ReplySink): void {
    const request: Request = {
      commands: [args],
      isTransaction: false,
      isWrite: write,
      watched: NOTHING_WATCHED,
    };
    this.#door.submit(new SinkOperation(shard, request, session, sink));
  }

  #sendByKeys({ route, args, session, sink, table }: Call): void {
    const shard = shardOfKeys(table, keysOf(route.command, args));
    if (shard instanceof Refusal) sink.answered(shard);
    else this.#submit(shard, args, route.isWrite, session, sink);
  }

  #sendSplit(call: Call, merge: Merge): void {
    const { route, args, session, sink, table } = call;
    const { command } = route;
    const step = command.keyStep;
    const keys = keysOf(command, args);
    const shard = shardOfKeys(table, keys);
    // A command whose arguments do not come out even is not split but refused by the first key's shard, in its own words.
    const isUneven = (args.length - command.firstKey) % step !== 0;
    if (!(shard instanceof Refusal) || isUneven) {
      const place = shard instanceof Refusal ? table.shardOfKey(keys[0] ?? "") : shard;
      this.#submit(place, args, route.isWrite, session, sink);
      return;
    }
    const parts = new Map<ShardId, { args: string[]; positions: number[] }>();
    for (const [position, key] of keys.entries()) {
      const id = table.shardOfKey(key);
      let part = parts.get(id);
      if (part === undefined) {
        part = { args: [args[0] ?? ""], positions: [] };
        parts.set(id, part);
      }
      const from = command.firstKey + position * step;
      part.args.push(...args.slice(from, from + step));
      part.positions.push(position);
    }
    const gathering = new Gathering(merge, route.isWrite, parts.size, sink);
    for (const [id, part] of parts) {
      this.#submit(id, part.args, route.isWrite, session, gathering.sinkOf(part.positions));
    }
  }

  #sendToAll({ route, args, session, sink, table }: Call, merge: Merge): void {
    const { shards } = table.configuration;
    const gathering = new Gathering(merge, route.isWrite, shards.length, sink);
    for (const { id } of shards) {
      this.#submit(id, args, route.isWrite, session, gathering.sinkOf(NO_POSITIONS));
    }
  }

  #sendToAny({ route, args, session, sink, table }: Call): void {
    const { shards } = table.configuration;
    const start = Math.floor(Math.random() * shards.length);
    const ask = (asked: number): void => {
      const shard = shards[(start + asked) % shards.length];
      assert(shard !== undefined, "a configuration has shards");
      this.#submit(shard.id, args, route.isWrite, session, {
        answered: (reply) => {
          if (reply === null && asked + 1 < shards.length) ask(asked + 1);
          else sink.answered(reply);
        },
      });
    };
    ask(0);
  }

  #sendScan({ route, args, session, sink, table }: Call): void {
    const text = args[1] ?? "";
    const cursor = CURSOR.test(text) ? Number(text) : 0;
    // No scan of ours gives such a cursor; Redis too answers a strange one with something harmless.
    if (cursor >= SLOT_COUNT) {
      sink.answered(["0", []]);
      return;
    }
    this.#submit(table.shardOfSlot(cursor), args, route.isWrite, session, {
      answered: (reply) => sink.answered(finishScan(reply)),
    });
  }
}

interface Call {
  readonly route: Route;
  readonly args: Args;
  readonly session: number;
  readonly sink: ReplySink;
  readonly table: SlotTable;
}

class SinkOperation implements AnsweredOperation {
  readonly shard: ShardId;
  readonly request: Request;
  readonly session: number;
  submittedMs = 0;
  readonly #sink: ReplySink;

  constructor(shard: ShardId, request: Request, session: number, sink: ReplySink) {
    this.shard = shard;
    this.request = request;
    this.session = session;
    this.#sink = sink;
  }

  answered(reply: Reply): void {
    this.#sink.answered(reply);
  }
}

/** Waits for the answers of all shards. */
class Gathering {
  readonly #merge: Merge;
  readonly #isWrite: boolean;
  readonly #sink: ReplySink;
  readonly #parts: (Part | undefined)[] = [];
  readonly #wanted: number;
  #answered = 0;

  constructor(merge: Merge, write: boolean, wanted: number, sink: ReplySink) {
    this.#merge = merge;
    this.#isWrite = write;
    this.#wanted = wanted;
    this.#sink = sink;
  }

  sinkOf(positions: readonly number[]): ReplySink {
    const index = this.#parts.length;
    this.#parts.push(undefined);
    return {
      answered: (reply) => {
        assert(this.#parts[index] === undefined, "a part is answered once");
        this.#parts[index] = { positions, reply };
        this.#answered += 1;
        if (this.#answered === this.#wanted) this.#finish();
      },
    };
  }

  #finish(): void {
    const parts = this.#parts.filter((part) => part !== undefined);
    this.#sink.answered(mergeParts(this.#merge, this.#isWrite, parts));
  }
}

function isWrite(args: Args): boolean {
  const command: DataCommand | undefined = findCommand(args[0] ?? "");
  return command?.flags.includes("write") ?? false;
}

function shardOfKeys(table: SlotTable, keys: readonly string[]): ShardId | Refusal {
  const [first, ...others] = keys;
  const shard = table.shardOfKey(first ?? "");
  return others.every((key) => table.shardOfKey(key) === shard) ? shard : CROSS_SLOT;
}

/** A shard's scan ends with the slot after its last one; after the last shard's that means that all is done. */
function finishScan(reply: Reply): Reply {
  if (!Array.isArray(reply)) return reply;
  const [cursor, keys] = reply as readonly Reply[];
  return Number(cursor) >= SLOT_COUNT ? ["0", keys ?? []] : reply;
}

function finishInTransaction(args: Args, reply: Reply): Reply {
  return args[0]?.toLowerCase() === "scan" ? finishScan(reply) : reply;
}
