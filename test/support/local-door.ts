/** A door to shards in this very process, without replication: what is submitted runs at once, or when the test says so. */

import { ShardEngine } from "../../src/commands/shard-engine.ts";
import type { Command } from "../../src/data/command.ts";
import type { Reply } from "../../src/data/reply.ts";
import { type Configuration, SLOT_COUNT } from "../../src/replica/configuration.ts";
import { noCounts } from "../../src/replica/host.ts";
import type { Request } from "../../src/replica/ports.ts";
import type { NodeStatus } from "../../src/replica/surface.ts";
import type { AnsweredOperation, NodeDoor } from "../../src/router/door.ts";
import { nodeStatus, shardStatus } from "./node-status.ts";

/** When operations run: at once, in a later turn of the event loop, or by `step`. */
export type Pace = "now" | "later" | "manual";

export class LocalDoor implements NodeDoor {
  /** What each operation is answered instead of being run, where it gives something. */
  intercept: (request: Request, shard: number) => Reply | undefined = () => undefined;
  isConfigured = true;
  /** Reads are answered at once where their session has nothing undecided, as a node does; else all is submitted. */
  readsAtOnce = false;
  /** How many were. */
  reads = 0;
  /** All that were submitted. */
  readonly submitted: AnsweredOperation[] = [];
  readonly waiting: AnsweredOperation[] = [];
  readonly #pace: Pace;
  readonly #engines: ShardEngine[];
  readonly #configuration: Configuration;
  /** Operations without an answer, by session. */
  readonly #undecided = new Map<number, number>();
  #seq = 0;

  constructor(shardCount = 1, pace: Pace = "now") {
    this.#pace = pace;
    this.#configuration = configurationOf(shardCount);
    this.#engines = this.#configuration.shards.map((shard) => new ShardEngine(shard));
  }

  submit(operation: AnsweredOperation): void {
    this.submitted.push(operation);
    const { session } = operation;
    this.#undecided.set(session, (this.#undecided.get(session) ?? 0) + 1);
    if (this.#pace === "now") this.run(operation);
    else if (this.#pace === "later") setImmediate(() => this.run(operation));
    else this.waiting.push(operation);
  }

  read(shard: number, command: Command, session: number): Reply | undefined {
    const isFree = this.isConfigured && (this.#undecided.get(session) ?? 0) === 0;
    if (!this.readsAtOnce || !isFree) return undefined;
    const reply = this.#engines[shard]?.readOne(command, Date.now());
    if (reply !== undefined) this.reads += 1;
    return reply;
  }

  beginBurst(): void {}

  endBurst(): void {}

  configuration(): Configuration | undefined {
    return this.isConfigured ? this.#configuration : undefined;
  }

  /** Runs one of those that wait. */
  step(index = 0): void {
    const [operation] = this.waiting.splice(index, 1);
    if (operation !== undefined) this.run(operation);
  }

  /** Runs one operation and answers it. */
  run(operation: AnsweredOperation): void {
    const { shard, request, session } = operation;
    this.#undecided.set(session, (this.#undecided.get(session) ?? 0) - 1);
    const refusal = this.intercept(request, shard);
    this.#seq += 1;
    const outcome =
      refusal === undefined ? this.#engines[shard]?.run(request, this.#seq, Date.now()) : undefined;
    this.#engines[shard]?.committed(this.#seq);
    operation.answered(outcome?.reply ?? refusal ?? null);
  }

  status(): NodeStatus {
    return nodeStatus({
      isReady: this.isConfigured,
      shards: this.#configuration.shards.map(({ id, firstSlot, lastSlot }) =>
        shardStatus({
          shard: id,
          firstSlot,
          lastSlot,
          lastSeq: this.#seq,
          commitSeq: this.#seq,
          keys: this.#engines[id]?.size ?? 0,
        }),
      ),
      peers: [{ node: "n2", connected: false, silentMs: undefined }],
      counters: { ...noCounts(), ordered: this.#seq, committed: this.#seq },
    });
  }
}

function configurationOf(shardCount: number): Configuration {
  const width = SLOT_COUNT / shardCount;
  return {
    format: 1,
    clusterId: "test",
    version: 1,
    settings: {
      replication: "sync",
      minInSync: 1,
      replicas: 1,
      shardCount,
      heartbeatMs: 50,
      leaseMs: 300,
      driftBound: 0.05,
      durability: "none",
      flushMs: 1_000,
      heartbeatChannel: "tcp",
    },
    nodes: [
      {
        id: "n1",
        host: "127.0.0.1",
        zone: "",
        peerPort: 1,
        respPort: 2,
        httpPort: 3,
        incarnation: 1,
      },
    ],
    shards: Array.from({ length: shardCount }, (_none, id) => ({
      id,
      firstSlot: Math.floor(id * width),
      lastSlot: Math.floor((id + 1) * width) - 1,
      replicas: ["n1"],
      epoch: 1,
      primary: "n1",
      inSync: [{ node: "n1", incarnation: 1, since: 1 }],
    })),
  };
}
