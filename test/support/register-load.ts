/**
 * Load whose every answer can be judged at once. Each key has one writer, which writes growing numbers, so a key is linearizable
 * if and only if every read finds a number that was written before the read ended, that is not older than the last write
 * finished before the read began, and not older than what any read finished before has found.
 */

import { Refusal, type Reply } from "../../src/data/reply.ts";
import { Prng } from "../../src/kit/prng.ts";
import type { Owner } from "../integration/harness.ts";
import { RespClient } from "./resp-client.ts";

export interface LoadOptions {
  /** RESP ports of the nodes. */
  readonly ports: readonly number[];
  /** Connections, spread evenly over the nodes. */
  readonly connections: number;
  readonly keys: number;
  /** Part of the commands that read, 0 to 1; reads go to all keys, writes to those of the connection. */
  readonly readShare: number;
  /** Commands a second that all connections together start; each waits for its answer before its next. */
  readonly rate: number;
  /** Bytes that are appended to each value. */
  readonly padding?: number;
  /** Seed of what is read and written. */
  readonly seed?: number;
}

/** What the load has seen. */
export interface LoadCounts {
  readonly answered: number;
  /** Commands whose connection ended before the answer, at a node that was announced to die. */
  readonly unknown: number;
}

/** What every command may take at most, ms: past it the cluster hangs. */
const COMMAND_MS_MAX = 30_000;
const RECONNECT_MS = 50;
/** Commands of one write to a socket, where many are sent at once. */
const BATCH = 500;

export class RegisterLoad {
  /** Whatever was refused, lost or wrong at a node that was not announced to die; at most 100. */
  readonly troubles: string[] = [];
  readonly #options: LoadOptions;
  readonly #padding: string;
  /** By key: the newest number sent, acknowledged, and found by a finished read or write. */
  readonly #sent: Int32Array;
  readonly #acknowledged: Int32Array;
  readonly #seen: Int32Array;
  /**
   * Keys with a write whose outcome is unknown. It may take effect at any later time, even after a newer write of the same key
   * that another node took; so that what is found can still be judged, none is sent.
   */
  readonly #frozen: Uint8Array;
  readonly #dying = new Set<number>();
  #isStopped = false;
  #workers: Promise<void>[] = [];
  #answered = 0;
  #unknown = 0;
  #latencies: number[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#padding = ":".padEnd(options.padding ?? 0, "x").slice(0, options.padding ?? 0);
    this.#sent = new Int32Array(options.keys);
    this.#acknowledged = new Int32Array(options.keys);
    this.#seen = new Int32Array(options.keys);
    this.#frozen = new Uint8Array(options.keys);
  }

  get counts(): LoadCounts {
    return { answered: this.#answered, unknown: this.#unknown };
  }

  /**
   * Writes every key once, over all nodes that were not announced to die at the same time. What is refused is sent again: it is the same number, and a machine
   * that is too busy to keep leases while it is filled is no trouble yet.
   * @throws Error if a write is refused again and again.
   */
  async fill(): Promise<void> {
    const { keys } = this.#options;
    const ports = this.#options.ports.filter((_, node) => !this.#dying.has(node));
    await Promise.all(
      ports.map(async (port, index) => {
        const client = await RespClient.connect(port);
        try {
          const own = Array.from(
            { length: Math.ceil((keys - index) / ports.length) },
            (_, each) => each * ports.length + index,
          );
          const batch = this.#padding.length > 1_000 ? 50 : BATCH;
          for (let from = 0; from < own.length; from += batch) {
            const part = own.slice(from, from + batch);
            await this.#fillPart(client, part);
          }
        } finally {
          client.destroy();
        }
      }),
    );
  }

  async #fillPart(client: RespClient, keys: readonly number[]): Promise<void> {
    let left = keys;
    let last: Reply = null;
    for (let attempt = 0; left.length > 0; attempt += 1) {
      if (attempt === 5) throw new Error(`filling: ${show(last)}`);
      client.send(...left.map((key) => ["SET", keyName(key), `1${this.#padding}`]));
      const replies = await client.take(left.length);
      const refused = left.filter((_, at) => isRefusal(replies[at] ?? null));
      last = replies.find((reply) => isRefusal(reply)) ?? null;
      left = refused;
    }
    for (const key of keys) {
      this.#sent[key] = 1;
      this.#acknowledged[key] = 1;
      this.#seen[key] = 1;
    }
  }

  /** Begins to work on all connections, until `stop` or the owner's end. */
  start(owner?: Owner): void {
    owner?.after(() => this.stop());
    const { connections, ports } = this.#options;
    this.#workers = Array.from({ length: connections }, (_, index) =>
      this.#work(index, index % ports.length),
    );
  }

  /** Ends the work when every command under way is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
  }

  /** The node with this index is about to be killed: its clients may lose their connections and be refused, and go elsewhere. */
  announce(node: number): void {
    this.#dying.add(node);
  }

  /** The node with this index is ready: from now on what is refused there is trouble, and its clients come back. */
  welcome(node: number): void {
    this.#dying.delete(node);
  }

  /** @returns the times since the last call, ms, of commands at nodes that were not announced to die, in ascending order. */
  takeLatencies(): Float64Array {
    const taken = Float64Array.from(this.#latencies).sort();
    this.#latencies = [];
    return taken;
  }

  /**
   * Reads every key at every node and judges what it finds; the load has to be stopped, and nothing else may write.
   * @param nodes indexes of the nodes to ask.
   * @returns what is lost, invented or different between the nodes; at most 100 lines.
   */
  async verify(nodes: readonly number[]): Promise<string[]> {
    const wrong: string[] = [];
    let first: Int32Array | undefined;
    for (const node of nodes) {
      const found = await this.#readAll(node);
      for (let key = 0; key < found.length && wrong.length < 100; key += 1) {
        const value = found[key] ?? -1;
        const least = Math.max(this.#acknowledged[key] ?? 0, this.#seen[key] ?? 0);
        const most = this.#sent[key] ?? 0;
        if (value < least || value > most) {
          wrong.push(`node ${node}: ${keyName(key)} is ${value}, not ${least} to ${most}`);
        } else if (first !== undefined && value !== first[key]) {
          wrong.push(`node ${node}: ${keyName(key)} is ${value}, elsewhere ${first[key]}`);
        }
      }
      first ??= found;
    }
    return wrong;
  }

  async #readAll(node: number): Promise<Int32Array> {
    const { ports, keys } = this.#options;
    const found = new Int32Array(keys).fill(-1);
    const client = await RespClient.connect(ports[node] ?? 0);
    try {
      for (let from = 0; from < keys; from += BATCH) {
        const count = Math.min(BATCH, keys - from);
        client.send(
          ...Array.from({ length: count }, (_, at) => ["GETRANGE", keyName(from + at), "0", "11"]),
        );
        for (const [at, reply] of (await client.take(count)).entries()) {
          if (isRefusal(reply)) throw new Error(`reading ${keyName(from + at)}: ${show(reply)}`);
          found[from + at] = numberOf(reply);
        }
      }
      return found;
    } finally {
      client.destroy();
    }
  }

  async #work(index: number, home: number): Promise<void> {
    const { ports, connections, rate } = this.#options;
    const prng = new Prng((this.#options.seed ?? 1) * 1_000 + index);
    const intervalMs = (1_000 * connections) / rate;
    let dueAt = performance.now() + prng.float() * intervalMs;
    let node = home;
    let client: RespClient | undefined;
    while (!this.#isStopped) {
      const isAway = node !== home && !this.#dying.has(home);
      if (client === undefined || isAway || this.#dying.has(node)) {
        client?.destroy();
        client = undefined;
        node = this.#choose(home);
        try {
          client = await RespClient.connect(ports[node] ?? 0);
        } catch (error) {
          this.#trouble(node, `cannot connect: ${String(error)}`);
          await sleep(RECONNECT_MS);
          continue;
        }
      }
      const waitMs = dueAt - performance.now();
      if (waitMs > 0) {
        await sleep(waitMs);
        // The node may have been announced to die meanwhile.
        continue;
      }
      const isHealthy = await this.#one(client, node, index, prng);
      // From when it was due: a command that had to wait for a slow one before it was slow too.
      if (!this.#dying.has(node)) this.#latencies.push(performance.now() - dueAt);
      dueAt = Math.max(dueAt + intervalMs, performance.now() - 1_000);
      if (!isHealthy) {
        client.destroy();
        client = undefined;
      }
    }
    client?.destroy();
  }

  /** The home node, or the next that lives. */
  #choose(home: number): number {
    const { ports } = this.#options;
    for (let step = 0; step < ports.length; step += 1) {
      const node = (home + step) % ports.length;
      if (!this.#dying.has(node)) return node;
    }
    return home;
  }

  /** Sends one command and judges its answer. @returns whether the connection is of further use. */
  async #one(client: RespClient, node: number, index: number, prng: Prng): Promise<boolean> {
    const { keys, connections, readShare } = this.#options;
    const isRead = prng.float() < readShare;
    const any = prng.below(keys);
    const own = any - (any % connections) + index;
    const key = isRead || own >= keys ? any : own;
    const isOwn = key % connections === index;
    const least = Math.max(this.#acknowledged[key] ?? 0, this.#seen[key] ?? 0);
    try {
      if (isRead || !isOwn || this.#frozen[key] === 1) {
        const reply = await timely(client.ask("GETRANGE", keyName(key), "0", "11"));
        this.#judgeRead(node, key, least, reply);
        return true;
      }
      const next = (this.#sent[key] ?? 0) + 1;
      this.#sent[key] = next;
      this.#frozen[key] = 1;
      const reply = await timely(client.ask("SET", keyName(key), `${next}${this.#padding}`));
      if (isRefusal(reply)) this.#refused(node, `SET ${keyName(key)}: ${show(reply)}`);
      else {
        this.#answered += 1;
        this.#frozen[key] = 0;
        this.#acknowledged[key] = next;
        this.#seen[key] = Math.max(this.#seen[key] ?? 0, next);
      }
      return true;
    } catch (error) {
      this.#refused(node, String(error));
      return false;
    }
  }

  #judgeRead(node: number, key: number, least: number, reply: Reply): void {
    if (isRefusal(reply)) {
      this.#refused(node, `GET ${keyName(key)}: ${show(reply)}`);
      return;
    }
    this.#answered += 1;
    const value = numberOf(reply);
    const most = this.#sent[key] ?? 0;
    // Wherever it comes from: a dying node may be silent or refuse, but never wrong.
    if (value < least || value > most) {
      this.#tell(`node ${node}: ${keyName(key)} was ${value}, not ${least} to ${most}`);
    } else if (value > (this.#seen[key] ?? 0)) this.#seen[key] = value;
  }

  #refused(node: number, what: string): void {
    if (this.#dying.has(node)) this.#unknown += 1;
    else this.#trouble(node, what);
  }

  #trouble(node: number, what: string): void {
    if (!this.#dying.has(node)) this.#tell(`node ${node}: ${what}`);
  }

  #tell(what: string): void {
    if (this.troubles.length < 100) this.troubles.push(what);
  }
}

/** @returns the value below which this part of the sorted values lies, 0 if there are none. */
export function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

/** Whether the answer is an error. */
export function isRefusal(reply: Reply): reply is Refusal {
  return reply instanceof Refusal;
}

function keyName(key: number): string {
  return `key:${key}`;
}

/** The number that a value begins with; 0 for a key that is not there. */
function numberOf(reply: Reply): number {
  if (reply === null || reply === "") return 0;
  const number = typeof reply === "string" ? Number.parseInt(reply, 10) : Number.NaN;
  return Number.isNaN(number) ? -1 : number;
}

function show(reply: Reply): string {
  return reply instanceof Refusal ? `${reply.code} ${reply.message}` : String(reply);
}

async function timely<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), COMMAND_MS_MAX);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
