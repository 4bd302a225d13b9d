/** etcd's `Put` and linearizable `Range` over gRPC, for the load generator. */

import { type Batch, BatchBuilder, fixedValue, isWrite } from "./batch.ts";
import type { Dialect, Reader } from "./dialect.ts";
import { clientPreface, Http2Reader, requestFrames } from "./http2.ts";
import type { LoadJob, OperationKind } from "./job.ts";
import { KEY_BYTES, keyText } from "./keys.ts";

/** Protocol Buffers: field 1 of a request is the key, field 2 of `PutRequest` the value; both are bytes. */
const KEY_FIELD = Buffer.from([0x0a, KEY_BYTES]);
const VALUE_TAG = 0x12;

export class EtcdDialect implements Dialect {
  readonly sharesBatches = true;
  readonly #valueField: Buffer;

  constructor(job: Pick<LoadJob, "valueBytes">) {
    const value = fixedValue(job.valueBytes);
    this.#valueField = Buffer.concat([Buffer.from([VALUE_TAG]), varint(value.length), value]);
  }

  greeting(): { readonly bytes: Buffer; readonly replies: number } {
    return { bytes: clientPreface(), replies: 1 };
  }

  batch(operations: readonly OperationKind[]): Batch {
    const builder = new BatchBuilder();
    for (const operation of operations) this.#addOperation(builder, operation);
    return builder.build({
      replies: operations.length,
      operations: operations.length,
      writes: operations.filter(isWrite).length,
    });
  }

  reader(respond: (bytes: Buffer) => void): Reader {
    return new Http2Reader(respond);
  }

  #addOperation(builder: BatchBuilder, operation: OperationKind): void {
    if (operation !== "get" && operation !== "set") throw new Error(`etcd has no ${operation}`);
    const value = operation === "set" ? this.#valueField : Buffer.alloc(0);
    const method = operation === "set" ? "Put" : "Range";
    const bodyBytes = KEY_FIELD.length + KEY_BYTES + value.length;
    const frames = requestFrames(`/etcdserverpb.KV/${method}`, bodyBytes);
    builder.add(frames.beforeFirstId).addStreamId();
    builder.add(frames.beforeSecondId).addStreamId();
    builder.add(frames.beforeBody).add(KEY_FIELD).addKey(keyText(0)).add(value);
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
