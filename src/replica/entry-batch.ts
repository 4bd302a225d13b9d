/** Entries one after the other, as the bytes that the log keeps, messages carry and the disk gets: encoded once, at each node. */

import { Bytes } from "../data/bytes.ts";
import { assert } from "../kit/assert.ts";
import { ByteReader, ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Entry } from "./entry.ts";
import { numberIn, readEntry, writeEntry } from "./entry-codec.ts";
import { Issuers } from "./issuers.ts";

/** An entry's least bytes: flags, epoch, reply, number of effects; a stub has more. */
const ENTRY_BYTES_MIN = 4;

/** Entries, and where the bytes of each are. */
interface Decoded {
  readonly entries: Entry[];
  readonly places: Bytes[];
}

/** Entries without a gap. To go through them decodes them, once. */
export class EntryBatch implements Iterable<Entry> {
  static readonly EMPTY = new EntryBatch(1, 0, new Bytes(Buffer.alloc(0), 0, 0), new Issuers());

  readonly firstSeq: number;
  /** Number of entries. */
  readonly length: number;
  /** The bytes of all. */
  readonly encoded: Bytes;
  /** Whose numbers stand in the bytes. */
  readonly issuers: Issuers;
  #decoded: Decoded | undefined;

  /** @param decoded what the bytes mean, where it is known already. */
  constructor(
    firstSeq: number,
    length: number,
    encoded: Bytes,
    issuers: Issuers,
    decoded?: Decoded,
  ) {
    this.firstSeq = firstSeq;
    this.length = length;
    this.encoded = encoded;
    this.issuers = issuers;
    this.#decoded = decoded;
  }

  /**
   * @param entries in order and without a gap.
   * @param issuers whose numbers to use.
   */
  static of(entries: readonly Entry[], issuers: Issuers = new Issuers()): EntryBatch {
    const [first] = entries;
    if (first === undefined) return EntryBatch.EMPTY;
    const writer = new ByteWriter();
    const ends: number[] = [];
    for (const entry of entries) {
      writeEntry(writer, entry, issuers);
      ends.push(writer.length);
    }
    const bytes = Buffer.from(writer.bytes());
    const places = ends.map((end, index) => new Bytes(bytes, ends[index - 1] ?? 0, end));
    const encoded = new Bytes(bytes, 0, bytes.length);
    const decoded = { entries: [...entries], places };
    return new EntryBatch(first.seq, entries.length, encoded, issuers, decoded);
  }

  /**
   * Reads what `writeHead` and `writeBody` wrote.
   * @param issuers whose numbers stand in the bytes.
   * @throws MalformedError
   */
  static read(reader: ByteReader, issuers: Issuers): EntryBatch {
    const { firstSeq, length } = EntryBatch.readHead(reader);
    return EntryBatch.readBody(reader, firstSeq, length, issuers);
  }

  /** @throws MalformedError */
  static readHead(reader: ByteReader): Pick<EntryBatch, "firstSeq" | "length"> {
    const firstSeq = reader.varint();
    const length = reader.count(ENTRY_BYTES_MIN);
    if (firstSeq === 0) throw new MalformedError("entries count from 1");
    if (!Number.isSafeInteger(firstSeq + length)) throw new MalformedError("no such seq");
    return { firstSeq, length };
  }

  /** @throws MalformedError */
  static readBody(
    reader: ByteReader,
    firstSeq: number,
    length: number,
    issuers: Issuers,
  ): EntryBatch {
    const start = reader.at;
    const decoded: Decoded = { entries: [], places: [] };
    for (let i = 0; i < length; i++) readInto(decoded, reader, firstSeq + i, issuers);
    const encoded = new Bytes(reader.buffer, start, reader.at);
    return new EntryBatch(firstSeq, length, encoded, issuers, decoded);
  }

  /** Writes what stands before the bytes of the entries. */
  writeHead(writer: ByteWriter): void {
    writer.varint(this.firstSeq);
    writer.varint(this.length);
  }

  writeBody(writer: ByteWriter): void {
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

  /** The numbers that stand in the bytes, each once. */
  issuersUsed(): readonly number[] {
    const used = new Set<number>();
    for (const { buffer, start } of this.#decode().places) {
      const number = numberIn(buffer, start);
      if (number !== undefined) used.add(number);
    }
    return [...used];
  }

  #decode(): Decoded {
    if (this.#decoded !== undefined) return this.#decoded;
    const decoded: Decoded = { entries: [], places: [] };
    const { buffer, start, end } = this.encoded;
    const reader = new ByteReader(buffer, start, end);
    while (reader.left > 0) {
      readInto(decoded, reader, this.firstSeq + decoded.entries.length, this.issuers);
    }
    this.#decoded = decoded;
    return decoded;
  }
}

function readInto(decoded: Decoded, reader: ByteReader, seq: number, issuers: Issuers): void {
  const start = reader.at;
  decoded.entries.push(readEntry(reader, seq, issuers));
  decoded.places.push(new Bytes(reader.buffer, start, reader.at));
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  assert(item !== undefined, "a batch has so many entries");
  return item;
}
