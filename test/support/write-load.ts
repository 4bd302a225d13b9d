/**
 * Writers that remember when each of their writes was acknowledged, for tests in which the whole cluster stops at once: what
 * is found afterwards is compared with what was promised. Each key has one writer, which writes growing numbers, every
 * seventh of them as a deletion.
 */

import type { Reply } from "../../src/data/reply.ts";
import type { Owner } from "../integration/harness.ts";
import { isRefusal } from "./register-load.ts";
import { RespClient } from "./resp-client.ts";

export interface WriteLoadOptions {
  /** RESP ports of the nodes. */
  readonly ports: readonly number[];
  /** Connections, spread evenly over the nodes. */
  readonly connections: number;
  readonly keys: number;
  /** Writes that a connection has under way at once. */
  readonly depth: number;
  /** Bytes that are appended to each value. */
  readonly padding?: number;
}

/** What was found, compared with what was acknowledged. */
export interface Findings {
  /** Acknowledged writes whose key has an older value now. */
  readonly lost: number;
  /** From the acknowledgement of the oldest of them to the loss of power, ms; 0 if nothing is lost. */
  readonly oldestLostMs: number;
  /** Values that nobody wrote, and keys that differ between the nodes; at most 20 lines. */
  readonly wrong: readonly string[];
}

/** What is known of a key. */
interface Key {
  readonly name: string;
  /** The number that it had when the load was last judged, 0 for none. */
  found: number;
  /** The last number sent before that, and the last one sent. */
  base: number;
  sent: number;
  /** When the numbers after `base` were acknowledged, monotonic ms; 0 if they were not. */
  acknowledgedMs: number[];
  /** A write whose outcome is unknown may take effect at any later time, so that none is sent after it. */
  isUncertain: boolean;
}

/** Every number that is divisible by it is a deletion. */
const DELETION = 7;
const RECONNECT_MS = 20;
const BATCH = 500;
const LINES_MAX = 20;

export class WriteLoad {
  readonly #options: WriteLoadOptions;
  readonly #padding: string;
  readonly #keys: readonly Key[];
  #workers: Promise<void>[] = [];
  #isStopped = true;
  #answered = 0;

  constructor(options: WriteLoadOptions) {
    this.#options = options;
    this.#padding = ":".padEnd(options.padding ?? 0, "x").slice(0, options.padding ?? 0);
    this.#keys = Array.from({ length: options.keys }, (_, index) => ({
      name: `w:${index}`,
      found: 0,
      base: 0,
      sent: 0,
      acknowledgedMs: [],
      isUncertain: false,
    }));
  }

  /** Writes acknowledged so far. */
  get answered(): number {
    return this.#answered;
  }

  /** Begins to write on all connections. */
  start(): void {
    this.#isStopped = false;
    const { connections, ports } = this.#options;
    this.#workers = Array.from({ length: connections }, (_, index) => {
      const own = this.#keys.filter((_key, at) => at % connections === index);
      return this.#work(own, ports[index % ports.length] ?? 0);
    });
  }

  /** As `start`, until the owner's end. */
  startFor(owner: Owner): void {
    owner.after(() => this.stop());
    this.start();
  }

  /** Ends when every write under way is answered, or its connection has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
  }

  /**
   * Reads every key at every node, and goes on from what it finds. The load has to be stopped, and what was under way must have
   * ended with the processes that knew of it.
   * @param cutMs when the power was lost, monotonic ms.
   */
  async judge(cutMs: number): Promise<Findings> {
    const views = await Promise.all(this.#options.ports.map((port) => this.#readAll(port)));
    const wrong: string[] = [];
    let lost = 0;
    let oldestLostMs = 0;
    for (const [at, key] of this.#keys.entries()) {
      const values = views.map((view) => view[at] ?? null);
      const [value = null] = values;
      if (values.some((other) => other !== value)) {
        wrong.push(`${key.name} differs: ${values.map(String).join(", ")}`);
      }
      const number = numberOf(key, value);
      if (number === undefined) {
        wrong.push(`${key.name} is ${String(value)}, after ${key.base} and up to ${key.sent}`);
        continue;
      }
      for (const [after, ackedMs] of key.acknowledgedMs.entries()) {
        if (ackedMs === 0 || key.base + 1 + after <= number) continue;
        lost += 1;
        oldestLostMs = Math.max(oldestLostMs, cutMs - ackedMs);
      }
      key.found = number;
      key.base = key.sent;
      key.acknowledgedMs = [];
      key.isUncertain = false;
    }
    return { lost, oldestLostMs, wrong: wrong.slice(0, LINES_MAX) };
  }

  async #work(own: readonly Key[], port: number): Promise<void> {
    const { depth } = this.#options;
    let client: RespClient | undefined;
    for (let from = 0; !this.#isStopped; from = (from + depth) % own.length) {
      const batch = own.slice(from, from + depth).filter((key) => !key.isUncertain);
      try {
        client ??= await RespClient.connect(port);
        if (batch.length > 0) await this.#write(client, batch);
        else await pause(1);
      } catch {
        client?.destroy();
        client = undefined;
        await pause(RECONNECT_MS);
      }
    }
    client?.destroy();
  }

  async #write(client: RespClient, batch: readonly Key[]): Promise<void> {
    for (const key of batch) {
      key.sent += 1;
      key.isUncertain = true;
    }
    client.send(
      ...batch.map(({ name, sent }) =>
        sent % DELETION === 0 ? ["DEL", name] : ["SET", name, `${sent}${this.#padding}`],
      ),
    );
    for (const key of batch) {
      const reply = await client.next();
      const isAnswered = !isRefusal(reply);
      if (isAnswered) this.#answered += 1;
      key.acknowledgedMs.push(isAnswered ? performance.now() : 0);
      key.isUncertain = isRefusal(reply) && reply.code !== "TRYAGAIN";
    }
  }

  async #readAll(port: number): Promise<readonly (string | null)[]> {
    const values: (string | null)[] = [];
    const client = await RespClient.connect(port);
    try {
      for (let from = 0; from < this.#keys.length; from += BATCH) {
        const part = this.#keys.slice(from, from + BATCH);
        client.send(...part.map(({ name }) => ["GET", name]));
        for (const reply of await client.take(part.length)) values.push(textOf(reply));
      }
      return values;
    } finally {
      client.destroy();
    }
  }
}

/** The number of the newest write that can have left this value; undefined if none can. */
function numberOf({ found, base, sent }: Key, value: string | null): number | undefined {
  if (value === null) {
    const deletion = sent - (sent % DELETION);
    if (deletion > base) return deletion;
    return found % DELETION === 0 ? found : undefined;
  }
  const number = Number.parseInt(value, 10);
  const isOne = number === found || (number > base && number <= sent);
  return isOne && number % DELETION !== 0 ? number : undefined;
}

/** @throws Error if it is a refusal. */
function textOf(reply: Reply): string | null {
  if (reply === null || typeof reply === "string") return reply;
  throw new Error(
    `reading: ${isRefusal(reply) ? `${reply.code} ${reply.message}` : String(reply)}`,
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
