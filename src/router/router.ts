/**
 * One door for every request of every client, whatever protocol it came by: finds the command, its keys, their shards, and
 * puts the shards' answers together. It keeps nothing between requests. Where an operation then runs is the core's matter;
 * a balancing policy (which node a client is advised to use, which requests are taken first) belongs here, before `submit`.
 */

import { unknownCommand, wrongArity } from "../commands/refusals.ts";
import { arityMatches, commandOf, keyPlaces } from "../commands/table.ts";
import { Command } from "../data/command.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import { assert, unreachable } from "../kit/assert.ts";
import { type ShardId, SLOT_COUNT } from "../replica/configuration.ts";
import type { Request, Watch } from "../replica/ports.ts";
import type { AnsweredOperation, Door } from "./door.ts";
import { mergeParts, type Part } from "./merges.ts";
import { CROSS_SLOT, NO_CONFIGURATION } from "./refusals.ts";
import { type Merge, type Route, routeOf } from "./routes.ts";
import { SlotTable } from "./slot-table.ts";

/** Where an answer goes. */
export interface ReplySink {
  /** Called exactly once for each request; possibly before the call that took the request returns. */
  answered(reply: Reply): void;
}

/** The commands of a MULTI … EXEC, each checked by `placeOf` already. */
export interface Transaction {
  readonly commands: readonly Command[];
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
   * @param session the client's connection: what it sends takes effect in order on each shard. 0 for no order.
   * @param sink gets the answer, refusals included.
   */
  dispatch(args: Command, session: number, sink: ReplySink): void {
    const route = this.find(args);
    if (route instanceof Refusal) sink.answered(route);
    else this.dispatchTo(route, args, session, sink);
  }

  /**
   * Runs one command, like `dispatch`.
   * @param route the command's own; the number of its arguments has been checked.
   */
  dispatchTo(route: Route, args: Command, session: number, sink: ReplySink): void {
    const table = this.#slots();
    if (table === undefined) {
      sink.answered(NO_CONFIGURATION);
      return;
    }
    if (route.hasOneKey) {
      this.#submit(table.shardOfArgument(args, 1), args, route.isWrite, session, sink);
      return;
    }
    this.#send({ route, args, session, sink, table });
  }

  /**
   * Answers a command that only reads, at once, where nothing stands in the way.
   * @param args of a route that `hasOneKey`; their number has been checked.
   * @returns the reply, to be used at once; undefined if the command has to be dispatched.
   */
  read(args: Command, session: number): Reply | undefined {
    const table = this.#slots();
    if (table === undefined) return undefined;
    return this.#door.read(table.shardOfArgument(args, 1), args, session);
  }

  /**
   * Finds a data command and checks the number of its arguments.
   * @returns its route, or why there is none, in Redis's words.
   */
  find(args: Command): Route | Refusal {
    const command = commandOf(args);
    const route = command === undefined ? undefined : routeOf(command);
    if (command === undefined || route === undefined) return unknownCommand(args);
    return arityMatches(command, args.count) ? route : wrongArity(command.name);
  }

  /** @returns the one shard that holds all the keys, or the refusal that says that there is none. */
  shardOf(keys: readonly string[]): ShardId | Refusal {
    const table = this.#slots();
    if (table === undefined) return NO_CONFIGURATION;
    const [first = "", ...others] = keys;
    const shard = table.shardOfKey(first);
    return others.every((key) => table.shardOfKey(key) === shard) ? shard : CROSS_SLOT;
  }

  /**
   * @returns the one shard that the whole command would run on, as it must inside a transaction; or a refusal.
   */
  placeOf(route: Route, args: Command): ShardId | Refusal {
    const table = this.#slots();
    if (table === undefined) return NO_CONFIGURATION;
    const keys = keyPlaces(route.command, args.count);
    if (keys.length > 0) return shardOfKeys(table, args, keys);
    const [only, ...others] = table.configuration.shards;
    return only === undefined || others.length > 0 ? CROSS_SLOT : only.id;
  }

  /**
   * Runs a transaction as one request.
   * @param sink gets an array with one reply for each command, the null array if a watched key changed, or a refusal.
   */
  execute(transaction: Transaction, session: number, sink: ReplySink): void {
    const { commands, watched } = transaction;
    const shard = this.placeNow(transaction);
    if (shard instanceof Refusal) {
      sink.answered(shard);
      return;
    }
    const request: Request = {
      commands,
      isTransaction: true,
      isWrite: commands.some((command) => isWrite(command)),
      watched,
    };
    const finishing: ReplySink = {
      answered: (reply) => {
        if (!Array.isArray(reply)) sink.answered(reply);
        else sink.answered(reply.map((item, at) => finishInTransaction(commands[at], item)));
      },
    };
    this.#door.submit(new SinkOperation(shard, request, session, finishing));
  }

  /**
   * Where the keys of commands are now that were placed before: since then, their shard may have been divided.
   * @returns the shard, or the refusal that says that they are not in one any more.
   */
  placeNow({ commands, watched, shard }: Transaction): ShardId | Refusal {
    const table = this.#slots();
    if (table === undefined) return NO_CONFIGURATION;
    const shards = watched.map(({ key }) => table.shardOfKey(key));
    const isOnlyShard = table.configuration.shards.length === 1;
    for (const args of commands) {
      const command = commandOf(args);
      const keys = command === undefined ? [] : keyPlaces(command, args.count);
      // What names no key runs on a shard that is all there is.
      if (keys.length === 0 && !isOnlyShard) return CROSS_SLOT;
      for (const key of keys) shards.push(table.shardOfArgument(args, key));
    }
    const [first = shard, ...others] = shards;
    return others.every((other) => other === first) ? first : CROSS_SLOT;
  }

  /**
   * Reads the versions of keys that a client watches; all of one shard.
   * @param sink gets an array with one version for each key, or a refusal.
   */
  watch(keys: readonly string[], session: number, sink: ReplySink): void {
    const shard = this.shardOf(keys);
    if (shard instanceof Refusal) sink.answered(shard);
    else this.#submit(shard, Command.of("watch", ...keys), false, session, sink);
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

  #submit(shard: ShardId, args: Command, write: boolean, session: number, sink: ReplySink): void {
    const request: Request = {
      commands: [args],
      isTransaction: false,
      isWrite: write,
      watched: NOTHING_WATCHED,
    };
    this.#door.submit(new SinkOperation(shard, request, session, sink));
  }

  #sendByKeys({ route, args, session, sink, table }: Call): void {
    const shard = shardOfKeys(table, args, keyPlaces(route.command, args.count));
    if (shard instanceof Refusal) sink.answered(shard);
    else this.#submit(shard, args, route.isWrite, session, sink);
  }

  #sendSplit(call: Call, merge: Merge): void {
    const { route, args, session, sink, table } = call;
    const { command } = route;
    const step = command.keyStep;
    const keys = keyPlaces(command, args.count);
    const shard = shardOfKeys(table, args, keys);
    // A command whose arguments do not come out even is not split but refused by the first key's shard, in its own words.
    const isUneven = (args.count - command.firstKey) % step !== 0;
    if (!(shard instanceof Refusal) || isUneven) {
      const place =
        shard instanceof Refusal ? table.shardOfArgument(args, command.firstKey) : shard;
      this.#submit(place, args, route.isWrite, session, sink);
      return;
    }
    const parts = new Map<ShardId, { places: number[]; positions: number[] }>();
    for (const [position, key] of keys.entries()) {
      const id = table.shardOfArgument(args, key);
      let part = parts.get(id);
      if (part === undefined) {
        part = { places: [0], positions: [] };
        parts.set(id, part);
      }
      for (let place = key; place < key + step; place += 1) part.places.push(place);
      part.positions.push(position);
    }
    const gathering = new Gathering(merge, route.isWrite, parts.size, sink);
    for (const [id, part] of parts) {
      this.#submit(
        id,
        args.pick(part.places),
        route.isWrite,
        session,
        gathering.sinkOf(part.positions),
      );
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
    const text = args.text(1);
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
  readonly args: Command;
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

function isWrite(command: Command): boolean {
  return commandOf(command)?.flags.includes("write") ?? false;
}

/** @param keys where they are among the arguments; at least one. */
function shardOfKeys(table: SlotTable, args: Command, keys: readonly number[]): ShardId | Refusal {
  const [first = 0, ...others] = keys;
  const shard = table.shardOfArgument(args, first);
  return others.every((key) => table.shardOfArgument(args, key) === shard) ? shard : CROSS_SLOT;
}

/** A shard's scan ends with the slot after its last one; after the last shard's that means that all is done. */
function finishScan(reply: Reply): Reply {
  if (!Array.isArray(reply)) return reply;
  const [cursor, keys] = reply as readonly Reply[];
  return Number(cursor) >= SLOT_COUNT ? ["0", keys ?? []] : reply;
}

function finishInTransaction(command: Command | undefined, reply: Reply): Reply {
  const isScan = command !== undefined && commandOf(command)?.name === "scan";
  return isScan ? finishScan(reply) : reply;
}
