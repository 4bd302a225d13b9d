/** Entries one after the other, as the bytes that the log keeps, messages carry and the disk gets: encoded once, at each node. */

import { Bytes } from "../data/bytes.ts";
import { assert } from "../kit/assert.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import { readEntry, writeEntry } from "./entry-codec.ts";
import type { Entry } from "./messages.ts";

/** An entry's least bytes: flags, epoch, reply, number of effects. */
const ENTRY_BYTES_MIN = 4;

/** Entries, and where the bytes of each are. */
interface Decoded {
  readonly entries: Entry[];
  readonly places: Bytes[];
}

/** Entries without a gap. To go through them decodes them, once. */
export class EntryBatch implements Iterable<Entry> {
  static readonly EMPTY = new EntryBatch(1, 0, new Bytes(Buffer.alloc(0), 0, 0));

  readonly firstSeq: number;
  /** Number of entries. */
  readonly length: number;
  /** The bytes of all. */
  readonly encoded: Bytes;
  #decoded: Decoded | undefined;

  /** @param decoded what the bytes mean, where it is known already. */
  constructor(firstSeq: number, length: number, encoded: Bytes, decoded?: Decoded) {
    this.firstSeq = firstSeq;
    this.length = length;
    this.encoded = encoded;
    this.#decoded = decoded;
  }

  /** @param entries in order and without a gap. */
  static of(entries: readonly Entry[]): EntryBatch {
    const [first] = entries;
    if (first === undefined) return EntryBatch.EMPTY;
    const writer = new ByteWriter();
    const ends: number[] = [];
    for (const entry of entries) {
      writeEntry(writer, entry);
      ends.push(writer.length);
    }
    const bytes = Buffer.from(writer.bytes());
    const places = ends.map((end, index) => new Bytes(bytes, ends[index - 1] ?? 0, end));
    const encoded = new Bytes(bytes, 0, bytes.length);
    return new EntryBatch(first.seq, entries.length, encoded, { entries: [...entries], places });
  }

  /** @throws MalformedError */
  static read(reader: ByteReader): EntryBatch {
    const firstSeq = reader.varint();
    const count = reader.count(ENTRY_BYTES_MIN);
    if (firstSeq === 0) throw new MalformedError("entries count from 1");
    if (!Number.isSafeInteger(firstSeq + count)) throw new MalformedError("no such seq");
    const start = reader.at;
    const decoded: Decoded = { entries: [], places: [] };
    for (let i = 0; i < count; i++) readInto(decoded, reader, firstSeq + i);
    return new EntryBatch(firstSeq, count, new Bytes(reader.buffer, start, reader.at), decoded);
  }

  /** Writes what stands before the bytes of the entries. */
  writeHead(writer: ByteWriter): void {
    writer.varint(this.firstSeq);
    writer.varint(this.length);
  }

  write(writer: ByteWriter): void {
    this.writeHead(writer);
    const { buffer, start, end } = this.encoded;
    writer.raw(buffer, start, end);
  }

  [Symbol.iterator](): Iterator<Entry> {
    return this.#decode().entries[Symbol.iterator]();
  }

  /** An entry. @param index below `length`. */
  entry(index: number): Entry {
    return at(this.#decode().entries, index);
  }

  /** The bytes of an entry. @param index below `length`. */
  bytes(index: number): Bytes {
    return at(this.#decode().places, index);
  }

  #decode(): Decoded {
    if (this.#decoded !== undefined) return this.#decoded;
    const decoded: Decoded = { entries: [], places: [] };
    const { buffer, start, end } = this.encoded;
    const reader = new ByteReader(buffer, start, end);
    while (reader.left > 0) readInto(decoded, reader, this.firstSeq + decoded.entries.length);
    this.#decoded = decoded;
    return decoded;
  }
}

function readInto(decoded: Decoded, reader: ByteReader, seq: number): void {
  const start = reader.at;
  decoded.entries.push(readEntry(reader, seq));
  decoded.places.push(new Bytes(reader.buffer, start, reader.at));
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  assert(item !== undefined, "a batch has so many entries");
  return item;
}
