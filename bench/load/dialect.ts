/** What a protocol has to offer, for the generator to load servers that speak it. */

import type { Batch } from "./batch.ts";
import type { OperationKind } from "./job.ts";

/** One protocol, set up for one job. */
export interface Dialect {
  /**
   * What a connection sends first, and how many replies answer it.
   * @param connection number of the connection, from 0.
   */
  greeting(connection: number): { readonly bytes: Buffer; readonly replies: number };
  /** @param connection number of the connection that will send it; batches may be shared by several. */
  batch(operations: readonly OperationKind[], connection: number): Batch;
  /** Whether batches of one connection may be sent by another. */
  readonly sharesBatches: boolean;
  /** @param respond sends bytes that the protocol itself demands. */
  reader(respond: (bytes: Buffer) => void): Reader;
}

/** Takes what a connection receives, cut anywhere. */
export interface Reader {
  /** Counts replies. Nothing of `bytes` may be kept, for they are written over. @param end after their last. */
  consume(bytes: Uint8Array, end: number): number;
  readonly misses: number;
  readonly errors: number;
  readonly shortWaits: number;
  readonly firstError: string | undefined;
}
