/** Entries one after the other, as the bytes that the log keeps, messages carry and the disk gets: encoded once, at each node. */

import { Bytes } from "../data/bytes.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import { readEntry, writeEntry } from "./entry-codec.ts";
import type { Entry } from "./messages.ts";

/** An entry's least bytes: flags, epoch, reply, number of effects. */
const ENTRY_BYTES_MIN = 4;

/** Entries without a gap. To go through them decodes them, once. */
export class EntryBatch implements Iterable<Entry> {
  static readonly EMPTY = new EntryBatch(1, 0, []);

  readonly firstSeq: number;
  /** Number of entries. */
  readonly length: number;
  /** Each holds whole entries. */
  readonly pieces: readonly Bytes[];
  #entries: readonly Entry[] | undefined;

  /** @param entries what the bytes mean, where it is known already. */
  constructor(
    firstSeq: number,
    length: number,
    pieces: readonly Bytes[],
    entries?: readonly Entry[],
  ) {
    this.firstSeq = firstSeq;
    this.length = length;
    this.pieces = pieces;
    this.#entries = entries;
  }

  /** @param entries in order and without a gap. */
  static of(entries: readonly Entry[]): EntryBatch {
    const [first] = entries;
    if (first === undefined) return EntryBatch.EMPTY;
    const writer = new ByteWriter();
    for (const entry of entries) writeEntry(writer, entry);
    const bytes = Buffer.from(writer.bytes());
    return new EntryBatch(
      first.seq,
      entries.length,
      [new Bytes(bytes, 0, bytes.length)],
      [...entries],
    );
  }

  /** @throws MalformedError */
  static read(reader: ByteReader): EntryBatch {
    const firstSeq = reader.varint();
    const count = reader.count(ENTRY_BYTES_MIN);
    if (firstSeq === 0) throw new MalformedError("entries count from 1");
    if (!Number.isSafeInteger(firstSeq + count)) throw new MalformedError("no such seq");
    const start = reader.at;
    const entries: Entry[] = [];
    for (let i = 0; i < count; i++) entries.push(readEntry(reader, firstSeq + i));
    const pieces = count === 0 ? [] : [new Bytes(reader.buffer, start, reader.at)];
    return new EntryBatch(firstSeq, count, pieces, entries);
  }

  write(writer: ByteWriter): void {
    writer.varint(this.firstSeq);
    writer.varint(this.length);
    for (const { buffer, start, end } of this.pieces) writer.raw(buffer, start, end);
  }

  [Symbol.iterator](): Iterator<Entry> {
    this.#entries ??= this.#decoded();
    return this.#entries[Symbol.iterator]();
  }

  #decoded(): readonly Entry[] {
    const entries: Entry[] = [];
    for (const { buffer, start, end } of this.pieces) {
      const reader = new ByteReader(buffer, start, end);
      while (reader.left > 0) entries.push(readEntry(reader, this.firstSeq + entries.length));
    }
    return entries;
  }
}
