/** A batch of requests, encoded once, whose variable parts are written over before each use. */

import type { Prng } from "../../src/kit/prng.ts";
import type { OperationKind, Part } from "./job.ts";
import type { KeySource } from "./keys.ts";

/** What connections send at a time. */
export interface Batch {
  /** Replaced by a copy when a socket has kept it. */
  bytes: Buffer;
  /** Where the keys end. */
  readonly keyEnds: Int32Array;
  /** Where numbers of streams stand (HTTP/2), four bytes each, two places a stream. */
  readonly streamIds: Int32Array;
  /** Replies that complete it. */
  readonly replies: number;
  readonly operations: number;
  readonly writes: number;
  /** Where its keys come from, if not from the connection's own source. */
  readonly source?: KeySource;
  /** What is sent when it was answered, on the same key, before it counts as done. */
  readonly follow?: Batch;
}

/** Puts a batch together. */
export class BatchBuilder {
  readonly #pieces: Buffer[] = [];
  readonly #keyEnds: number[] = [];
  readonly #streamIds: number[] = [];
  #length = 0;

  /** Where the next piece will begin. */
  get length(): number {
    return this.#length;
  }

  add(piece: Buffer | string): this {
    const bytes = typeof piece === "string" ? Buffer.from(piece, "latin1") : piece;
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  /** Adds a key, whose digits will vary. */
  addKey(key: string): this {
    this.add(key);
    this.#keyEnds.push(this.#length);
    return this;
  }

  /** Adds the four bytes of a stream's number. */
  addStreamId(): this {
    this.#streamIds.push(this.#length);
    return this.add(Buffer.alloc(4));
  }

  build(counts: Pick<Batch, "replies" | "operations" | "writes">): Batch {
    return {
      bytes: Buffer.concat(this.#pieces),
      keyEnds: Int32Array.from(this.#keyEnds),
      streamIds: Int32Array.from(this.#streamIds),
      ...counts,
    };
  }
}

/** Whether the operation changes something. */
export function isWrite(operation: OperationKind): boolean {
  return operation !== "get" && operation !== "latest";
}

/**
 * The operations of a number of batches in which each kind has exactly its share, in random order.
 * @param pipeline operations of a batch.
 */
export function drawOperations(
  parts: readonly Part[],
  pipeline: number,
  batches: number,
  prng: Prng,
): OperationKind[][] {
  const total = pipeline * batches;
  const all = parts.flatMap((part) =>
    new Array<OperationKind>(Math.round(part.share * total)).fill(part.operation),
  );
  const rest = parts[0]?.operation ?? "get";
  while (all.length < total) all.push(rest);
  for (let index = total - 1; index > 0; index -= 1) {
    const other = prng.below(index + 1);
    const kept = all[index] as OperationKind;
    all[index] = all[other] as OperationKind;
    all[other] = kept;
  }
  return Array.from({ length: batches }, (_, batch) =>
    all.slice(batch * pipeline, (batch + 1) * pipeline),
  );
}

/** A value of so many bytes, printable and always the same. */
export function fixedValue(bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  for (let index = 0; index < bytes; index += 1) value[index] = 0x61 + ((index * 7) % 26);
  return value;
}
