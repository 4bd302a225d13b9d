/** A shard's state machine: runs commands on the shard's keyspace and turns them into effects. */

import { Bytes } from "../data/bytes.ts";
import type { Command } from "../data/command.ts";
import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import { EffectWriter } from "../data/effect-writer.ts";
import type { Effects } from "../data/effects.ts";
import { FIXED_HASH_KEY, type HashKey } from "../data/key-hash.ts";
import { Keyspace, type SlotRange } from "../data/keyspace.ts";
import { NULL_ARRAY, type Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { slotOf } from "../kit/crc16.ts";
import { Memories } from "../kit/memory.ts";
import type { Outcome, Request, StateMachine, Watch } from "../replica/ports.ts";
import { unknownCommand, wrongArity } from "./refusals.ts";
import type { DataCommand } from "./spec.ts";
import { arityMatches, commandOf, keyPlaces } from "./table.ts";

/** Of plain requests, of whatever shard. */
const plain = new EffectWriter();
const memories = new Memories();

export class ShardEngine implements StateMachine {
  readonly #keyspace: Keyspace;

  /**
   * @param range the shard's slots, or their keys.
   * @param hashKey for the index of the keys, drawn by chance where clients choose them.
   */
  constructor(range: SlotRange | Keyspace, hashKey: HashKey = FIXED_HASH_KEY) {
    this.#keyspace = range instanceof Keyspace ? range : new Keyspace(range, hashKey);
  }

  run(request: Request, seq: number, wallMs: number): Outcome {
    const keyspace = this.#keyspace;
    keyspace.beginRun(seq, wallMs);
    const reply = this.#execute(request);
    return { reply, effects: keyspace.effects, readSeq: keyspace.readSeq };
  }

  isPlain({ commands, isTransaction }: Request): boolean {
    const [args] = commands;
    // Whatever follows the value may be a condition or an end.
    return !isTransaction && args?.count === 3 && commandOf(args)?.name === "set";
  }

  plainEffect(request: Request): Effects | undefined {
    const [args] = request.commands;
    if (args === undefined || !this.isPlain(request)) return undefined;
    const memory = memories.of(args.buffer);
    plain.begin();
    plain.set(memory, args.start(1), args.end(1), memory, args.start(2), args.end(2), 0);
    return plain.take();
  }

  read(request: Request, wallMs: number): Outcome | undefined {
    assert(!request.isWrite, "a write runs at the primary");
    const keyspace = this.#keyspace;
    keyspace.beginRead(wallMs);
    const reply = this.#execute(request);
    if (keyspace.hasMetExpired) return undefined;
    return { reply, effects: keyspace.effects, readSeq: keyspace.readSeq };
  }

  readOne(command: Command, wallMs: number): Reply | undefined {
    const keyspace = this.#keyspace;
    keyspace.beginGlance(wallMs);
    const reply = this.#command(command);
    return keyspace.hasMetExpired ? undefined : reply;
  }

  get readSeq(): number {
    return this.#keyspace.readSeq;
  }

  apply(effects: Effects, seq: number): void {
    this.#keyspace.apply(effects, seq);
  }

  replay(effects: Effects, seq: number): void {
    this.#keyspace.replay(effects, seq);
  }

  record(key: string): KeyRecord | undefined {
    return this.#keyspace.record(key);
  }

  committed(seq: number): void {
    this.#keyspace.committed(seq);
  }

  expire(seq: number, wallMs: number, limit: number): Effects {
    this.#keyspace.beginRun(seq, wallMs);
    this.#keyspace.expireDue(limit);
    return this.#keyspace.effects;
  }

  clear(): void {
    this.#keyspace.clear();
  }

  sweep(): void {
    this.#keyspace.sweep();
  }

  copyOut(
    fromSlot: number,
    bytesMax: number,
  ): { readonly records: SlotRecords; readonly nextSlot: number } {
    return this.#keyspace.copyOut(fromSlot, bytesMax);
  }

  copyIn(records: SlotRecords): void {
    this.#keyspace.copyIn(records);
  }

  divide(at: number): ShardEngine {
    return new ShardEngine(this.#keyspace.divide(at));
  }

  slotsOf({ commands, watched }: Request): SlotRange | undefined {
    let firstSlot = Number.POSITIVE_INFINITY;
    let lastSlot = Number.NEGATIVE_INFINITY;
    const note = (slot: number): void => {
      firstSlot = Math.min(firstSlot, slot);
      lastSlot = Math.max(lastSlot, slot);
    };
    for (const { key } of watched) note(slotOf(key));
    for (const args of commands) {
      const command = commandOf(args);
      if (command === undefined) continue;
      const keys = keyPlaces(command, args.count);
      for (const key of keys) note(args.slot(key));
      if (keys.length > 0) continue;
      // The cursor of a scan is the slot to go on with; what else names no key concerns them all.
      const cursor = command.name === "scan" ? Number(args.at(1)) : Number.NaN;
      if (!Number.isSafeInteger(cursor)) return undefined;
      note(cursor);
    }
    return firstSlot > lastSlot ? undefined : { firstSlot, lastSlot };
  }

  effectsBelow(effects: Effects, slot: number): Effects {
    return effects.below(slot);
  }

  get size(): number {
    return this.#keyspace.size;
  }

  /**
   * Keys, values and ends, but not the seqs, summed so that the order of the keys does not matter: the number of keys and
   * 64 bits of hash. It finds accidents, not forgeries.
   */
  digest(): string {
    let low = 0;
    let high = 0;
    this.#keyspace.forEach(({ key, value, expireAtMs }) => {
      const head = `${key.length}:${expireAtMs}:`;
      low = (low + hash(value, hash(key, hash(head, 0x811c9dc5)))) >>> 0;
      high = (high + hash(value, hash(key, hash(head, 0x3c6ef372)))) >>> 0;
    });
    return `${this.size}-${hex(high)}${hex(low)}`;
  }

  #execute(request: Request): Reply {
    if (!request.isTransaction) {
      const [args] = request.commands;
      assert(args !== undefined, "a request has a command");
      return this.#command(args);
    }
    // Every watched key is looked at, so that those past their time are all deleted and all noted.
    let isChanged = false;
    for (const watch of request.watched) isChanged = this.#hasChanged(watch) || isChanged;
    if (isChanged) return NULL_ARRAY;
    return request.commands.map((args) => {
      const reply = this.#command(args);
      // The log keeps a transaction's replies for a while, and should not keep alive what lies beside each of them.
      return reply instanceof Bytes ? reply.toString() : reply;
    });
  }

  #hasChanged(watch: Watch): boolean {
    return this.#keyspace.version(watch.key) !== watch.version;
  }

  #command(args: Command): Reply {
    // The router has checked both; but a request may come from a node of another version, and must not stop this one.
    const command = commandOf(args);
    if (command === undefined) return unknownCommand(args);
    if (!arityMatches(command, args.count) && !isAddedTo(command, args.count)) {
      return wrongArity(command.name);
    }
    return command.run(this.#keyspace, args);
  }
}

/** Whether the number of arguments is what the router makes of the client's. */
function isAddedTo(command: DataCommand, count: number): boolean {
  const added = command.addedArguments ?? 0;
  return added > 0 && arityMatches(command, count - added);
}

/** A 32-bit hash of a binary string, mixed well enough that sums of such hashes differ. */
function hash(text: string, seed: number): number {
  let state = seed ^ text.length;
  for (let i = 0; i < text.length; i++) {
    state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
    state ^= state >>> 15;
  }
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}
