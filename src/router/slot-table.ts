/** Which shard each slot belongs to, in one lookup. */

import type { Command } from "../data/command.ts";
import { assert } from "../kit/assert.ts";
import { slotOf } from "../kit/crc16.ts";
import { type Configuration, type ShardId, SLOT_COUNT } from "../replica/configuration.ts";

export class SlotTable {
  readonly configuration: Configuration;
  readonly #shards = new Uint16Array(SLOT_COUNT);

  constructor(configuration: Configuration) {
    assert(configuration.shards.length > 0, "every slot is in a shard");
    this.configuration = configuration;
    for (const { id, firstSlot, lastSlot } of configuration.shards) {
      this.#shards.fill(id, firstSlot, lastSlot + 1);
    }
  }

  /** @param slot 0 to 16383. */
  shardOfSlot(slot: number): ShardId {
    const shard = this.#shards[slot];
    assert(shard !== undefined, "a slot is below 16384");
    return shard;
  }

  /** @param index of an argument that is a key. */
  shardOfArgument(command: Command, index: number): ShardId {
    return this.shardOfSlot(command.slot(index));
  }

  /** @param key a binary string. */
  shardOfKey(key: string): ShardId {
    return this.shardOfSlot(slotOf(key));
  }
}
