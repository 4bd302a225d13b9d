/**
 * Verifies LevelDB's table files before they are opened. Each of their blocks carries a checksum, but the binding for Node.js
 * has no switch that makes LevelDB look at it, and one flipped bit in a block can turn a record into a deletion, or let an
 * older record win: nothing that checksums of our own within the records could show. The layout is LevelDB's documented one
 * (doc/table_format.md), without compression.
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32c } from "./crc32c.ts";
import { corrupt, StoreError } from "./errors.ts";

const FOOTER_BYTES = 48;
const MAGIC_LOW = 0x8b80_fb57;
const MAGIC_HIGH = 0xdb47_7524;
/** After each block: how it is compressed, and the checksum. */
const TRAILER_BYTES = 5;
const MASK_DELTA = 0xa282_ead8;

interface Handle {
  readonly offset: number;
  readonly bytes: number;
}

/** A table that is not what was written; or one whose writing was cut short, which then nothing refers to. */
export interface DamagedTable {
  readonly name: string;
  readonly reason: string;
}

/** @param directory of a LevelDB that nobody has open. */
export async function checkTables(directory: string): Promise<readonly DamagedTable[]> {
  const damaged: DamagedTable[] = [];
  for (const name of await readdir(directory)) {
    if (!/\.(?:ldb|sst)$/.test(name)) continue;
    try {
      checkTable(await readFile(join(directory, name)));
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "corrupt")) throw error;
      damaged.push({ name, reason: error.message });
    }
  }
  return damaged;
}

/**
 * @param table all bytes of a table file.
 * @throws StoreError (`corrupt`)
 */
export function checkTable(table: Buffer): void {
  const footer = table.length - FOOTER_BYTES;
  if (footer < 0) throw corrupt("too short for a table");
  if (table.readUInt32LE(table.length - 8) !== MAGIC_LOW) throw corrupt("not the end of a table");
  if (table.readUInt32LE(table.length - 4) !== MAGIC_HIGH) throw corrupt("not the end of a table");
  const handles = new Cursor(table, footer, footer + 40);
  const metaindex = handles.handle();
  const index = handles.handle();
  // LevelDB would not mind, but a file with a changed byte is not what was written.
  if (!handles.restIsZero()) throw corrupt("not the end of a table");
  // Blocks follow each other without a gap, so that together they must account for every byte.
  let at = 0;
  for (const handle of [...blockHandles(table, index), ...blockHandles(table, metaindex)]) {
    checkBlock(table, handle);
    if (handle.offset !== at) throw corrupt("blocks do not follow each other");
    at += handle.bytes + TRAILER_BYTES;
  }
  for (const handle of [metaindex, index]) {
    if (handle.offset !== at) throw corrupt("blocks do not follow each other");
    at += handle.bytes + TRAILER_BYTES;
  }
  if (at !== footer) throw corrupt("bytes between the last block and the end");
}

/** Where the blocks are that an index names, after the index itself was checked. */
function blockHandles(table: Buffer, index: Handle): Handle[] {
  checkBlock(table, index);
  const end = index.offset + index.bytes;
  const restarts = index.bytes < 4 ? -1 : table.readUInt32LE(end - 4);
  const entriesEnd = end - 4 - restarts * 4;
  if (restarts < 0 || entriesEnd < index.offset) throw corrupt("an index is malformed");
  const cursor = new Cursor(table, index.offset, entriesEnd);
  const handles: Handle[] = [];
  while (cursor.left > 0) {
    cursor.varint();
    const keyBytes = cursor.varint();
    const valueBytes = cursor.varint();
    cursor.skip(keyBytes);
    const left = cursor.left;
    handles.push(cursor.handle());
    if (left - cursor.left !== valueBytes) throw corrupt("an index is malformed");
  }
  return handles;
}

function checkBlock(table: Buffer, { offset, bytes }: Handle): void {
  const end = offset + bytes;
  if (end + TRAILER_BYTES > table.length) throw corrupt("a block ends beyond the file");
  if (table[end] !== 0) throw corrupt("a block is marked as compressed");
  const crc = crc32c(table, offset, end + 1);
  const masked = (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
  if (masked !== table.readUInt32LE(end + 1)) throw corrupt(`the block at ${offset} is damaged`);
}

class Cursor {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  skip(count: number): void {
    if (count > this.left) throw corrupt("an index ends early");
    this.#at += count;
  }

  varint(): number {
    let value = 0;
    for (let unit = 1; unit < 2 ** 53; unit *= 0x80) {
      if (this.#at >= this.#end) throw corrupt("an index ends early");
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
    }
    throw corrupt("a number in an index is too large");
  }

  restIsZero(): boolean {
    return this.#bytes.subarray(this.#at, this.#end).every((byte) => byte === 0);
  }

  handle(): Handle {
    return { offset: this.varint(), bytes: this.varint() };
  }
}
