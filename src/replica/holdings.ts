/**
 * The shards that a node has, and how each comes into being: from its disk, empty, or out of one that is divided (R16). A
 * node has those that it holds, or shall hold, and those that its clients have asked for.
 */

import type { Configuration, ShardRecord } from "./configuration.ts";
import type { Host } from "./host.ts";
import type { Request } from "./ports.ts";
import { Shard } from "./shard.ts";
import type { CoreOptions } from "./surface.ts";

export class Holdings {
  readonly #host: Host;
  readonly #createStateMachine: CoreOptions["createStateMachine"];
  readonly #restored: NonNullable<CoreOptions["restored"]>;
  readonly #byId: (Shard | undefined)[] = [];
  readonly #all: Shard[] = [];

  constructor(host: Host, { createStateMachine, restored }: CoreOptions) {
    this.#host = host;
    this.#createStateMachine = createStateMachine;
    this.#restored = restored ?? new Map();
  }

  /** By their ids. One array for good, so that it need not be asked for again with each command. */
  get byId(): readonly (Shard | undefined)[] {
    return this.#byId;
  }

  /** In the order in which they came. One array for good. */
  get all(): readonly Shard[] {
    return this.#all;
  }

  /** @returns the shard of this record, which is there from now on. */
  shardOf(record: ShardRecord): Shard {
    const known = this.#byId[record.id];
    if (known !== undefined) return known;
    const restored = this.#restored.get(record.id);
    // A disk may hold slots that are another shard's by now: what they hold is given to that one first (R16).
    const { firstSlot, lastSlot } = restored?.log.checkpoint ?? record;
    const shard = new Shard(
      this.#host,
      { ...record, firstSlot, lastSlot },
      () => restored?.machine ?? this.#createStateMachine(record),
    );
    if (restored !== undefined) shard.ownCopy.restore(restored.log);
    this.#add(shard);
    return shard;
  }

  /** A shard on the disk is not what the document's is, nor what that was before it was divided: it was divided since. */
  isOlderThanDisk({ shards }: Pick<Configuration, "shards">): boolean {
    return [...this.#restored].some(([id, { log }]) => {
      const record = shards[id];
      const { firstSlot, lastSlot } = log.checkpoint;
      return record === undefined || record.firstSlot !== firstSlot || record.lastSlot > lastSlot;
    });
  }

  /**
   * R16: shards that are new in the document, in place of slots that a shard here had so far, come out of that one, with all
   * that it holds. Several divisions that this node has missed are made up for at once.
   * @returns the new shards by the one that they came out of.
   */
  divide(records: readonly ShardRecord[]): ReadonlyMap<Shard, readonly Shard[]> {
    const parents = new Map<Shard, Shard[]>();
    for (const record of records) if (this.#restored.has(record.id)) this.shardOf(record);
    for (const { id, lastSlot: last } of records) {
      const parent = this.#byId[id];
      if (parent === undefined || parent.record.lastSlot <= last) continue;
      const { firstSlot, lastSlot } = parent.record;
      const children = records
        .filter((record) => this.#byId[record.id] === undefined)
        .filter((record) => record.firstSlot > firstSlot && record.lastSlot <= lastSlot)
        .sort((a, b) => b.firstSlot - a.firstSlot);
      parents.set(
        parent,
        children.map((record) => this.#divideOff(parent, record)),
      );
      if (parent.record.lastSlot > last) parent.discardFrom(last + 1);
    }
    return parents;
  }

  #divideOff(parent: Shard, record: ShardRecord): Shard {
    // Whatever lies behind has a shard here already.
    if (parent.record.lastSlot > record.lastSlot) parent.discardFrom(record.lastSlot + 1);
    const part = parent.machine.divide(record.firstSlot);
    const isPrefix = parent.learner.isIntact;
    if (!isPrefix) part.clear();
    const child = new Shard(this.#host, record, () =>
      isPrefix ? part : this.#createStateMachine(record),
    );
    this.#add(child);
    parent.giveTo(child);
    return child;
  }

  #add(shard: Shard): void {
    this.#byId[shard.id] = shard;
    this.#all.push(shard);
  }
}

/**
 * Gives a new shard the commands on its slots that wait at the one that it came out of (R16).
 * @param staysMember this node was in sync in the old shard before the division, and is after it.
 */
export function giveCommands(parent: Shard, child: Shard, staysMember: boolean): void {
  const { firstSlot, lastSlot } = child.record;
  const isMeant = (request: Request): boolean | undefined => {
    const slots = child.machine.slotsOf(request);
    if (slots === undefined) return undefined;
    if (slots.firstSlot >= firstSlot && slots.lastSlot <= lastSlot) return true;
    return slots.firstSlot > lastSlot || slots.lastSlot < firstSlot ? false : undefined;
  };
  parent.courier.giveTo(child.courier, isMeant, staysMember);
}
