/** Sends records to a cluster over several connections, and sends again what was not answered: a SET may be done twice. */

import { Refusal, type Reply } from "../data/reply.ts";
import type { BackupRecord } from "../store/backup-format.ts";
import { CliError } from "./cli-error.ts";
import type { Address } from "./options.ts";
import { pause } from "./processes.ts";
import { RespConnection } from "./resp-connection.ts";

const CONNECTIONS_PER_NODE = 2;
const CONNECTIONS_MAX = 8;
const BATCH_KEYS = 500;
const BATCH_BYTES = 256 * 1024;
/** How long the same commands are tried, ms. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 100;
const SILENT_MS_MAX = 10_000;
/** What is answered where it is worth asking again; none of it can have done what a second attempt would undo. */
const PASSING = new Set([
  "TRYAGAIN",
  "UNCERTAIN",
  "NOREPLICAS",
  "MISCONF",
  "LOADING",
  "CLUSTERDOWN",
]);

export interface LoaderOptions {
  /** RESP addresses of the nodes. */
  readonly nodes: readonly Address[];
  /** What the nodes want with AUTH, a binary string. */
  readonly password?: string;
  /** Told of every batch that was answered: its keys. */
  readonly onStored: (keys: number) => void;
}

export class Loader {
  readonly #options: LoaderOptions;
  #isFailed = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /**
   * Stores all records.
   * @param nowMs records whose end is before are left out; ms since 1970.
   * @throws CliError if the cluster does not take them.
   */
  async load(
    pieces: AsyncIterable<readonly BackupRecord[]>,
    nowMs: () => number,
  ): Promise<{ readonly stored: number; readonly expired: number }> {
    const counts = { stored: 0, expired: 0 };
    const batches = batchesOf(pieces, (record) => {
      const isOver = record.expireAtMs !== 0 && record.expireAtMs <= nowMs();
      if (isOver) counts.expired += 1;
      return !isOver;
    });
    const { nodes, onStored } = this.#options;
    const workers = Math.min(CONNECTIONS_MAX, nodes.length * CONNECTIONS_PER_NODE);
    const work = async (index: number): Promise<void> => {
      const line = new Line(this.#options, index);
      try {
        while (!this.#isFailed) {
          const { value: batch, done } = await batches.next();
          if (done === true) return;
          await line.ask(batch.map(setCommand));
          counts.stored += batch.length;
          onStored(batch.length);
        }
      } catch (error) {
        this.#isFailed = true;
        throw error;
      } finally {
        line.close();
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: workers }, (_, at) => work(at)));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    return counts;
  }

  /** Carries out one command that may be done twice. @throws CliError if the cluster does not do it. */
  async ask(command: readonly string[]): Promise<Reply> {
    const line = new Line(this.#options, 0);
    try {
      const [reply = null] = await line.ask([command]);
      return reply;
    } finally {
      line.close();
    }
  }
}

/** A connection to whichever node takes commands. */
class Line {
  readonly #options: LoaderOptions;
  #next: number;
  #connection: RespConnection | undefined;

  constructor(options: LoaderOptions, first: number) {
    this.#options = options;
    this.#next = first;
  }

  /** Asks until every command was carried out. @returns the answers. @throws CliError */
  async ask(commands: readonly (readonly string[])[]): Promise<readonly Reply[]> {
    const answers: Reply[] = commands.map(() => null);
    let left = commands.map((_, index) => index);
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      let trouble: string;
      try {
        const connection = await this.#connected();
        const asked = left;
        const replies = await connection.askAll(asked.map((index) => commands[index] ?? []));
        for (const [at, index] of asked.entries()) answers[index] = replies[at] ?? null;
        const refused = asked.flatMap((index) => {
          const reply = answers[index];
          return reply instanceof Refusal ? [{ index, reply }] : [];
        });
        const [first] = refused;
        if (first === undefined) return answers;
        const lasting = refused.find(({ reply }) => !PASSING.has(reply.code))?.reply;
        if (lasting !== undefined) throw refusedError(lasting);
        left = refused.map(({ index }) => index);
        trouble = `${first.reply.code} ${first.reply.message}`;
      } catch (error) {
        if (error instanceof CliError) throw error;
        trouble = error instanceof Error ? error.message : String(error);
        this.close();
        this.#next += 1;
      }
      if (performance.now() > deadline) {
        throw new CliError(
          `The cluster took nothing for ${PATIENCE_MS / 1000} s (${trouble}); see: hothot status.`,
        );
      }
      await pause(RETRY_MS);
    }
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  async #connected(): Promise<RespConnection> {
    if (this.#connection !== undefined) return this.#connection;
    const { nodes, password } = this.#options;
    const node = nodes[this.#next % nodes.length];
    if (node === undefined) throw new CliError("No node answers; see: hothot status");
    this.#connection = await RespConnection.open({
      ...node,
      silentMsMax: SILENT_MS_MAX,
      ...(password === undefined ? {} : { password }),
    });
    return this.#connection;
  }
}

function refusedError({ code, message }: Refusal): CliError {
  const advice = code === "NOAUTH" ? " Give the nodes' password in HOTHOT_PASSWORD." : "";
  return new CliError(`The cluster refuses: ${code} ${message}.${advice}`);
}

function setCommand({ key, value, expireAtMs }: BackupRecord): readonly string[] {
  return expireAtMs === 0
    ? ["SET", key, value]
    : ["SET", key, value, "PXAT", String(Math.floor(expireAtMs))];
}

async function* batchesOf(
  pieces: AsyncIterable<readonly BackupRecord[]>,
  isWanted: (record: BackupRecord) => boolean,
): AsyncGenerator<readonly BackupRecord[]> {
  let batch: BackupRecord[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    for (const record of piece) {
      if (!isWanted(record)) continue;
      batch.push(record);
      bytes += record.key.length + record.value.length;
      if (batch.length < BATCH_KEYS && bytes < BATCH_BYTES) continue;
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
