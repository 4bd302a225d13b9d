/**
 * One connection of the stock client library to one server, made so that the outcome of every operation is known as exactly
 * as it can be: no reconnection, no queue while offline, nothing sent twice.
 */

import { createClient, ErrorReply, WatchError } from "redis";
import type { Action, KeyAction, Result } from "../../history/history.ts";
import { NOT_AN_INTEGER } from "../../history/model.ts";
import type { Address } from "../options.ts";

/** What became of an operation. */
export type Attempt =
  | { readonly outcome: "ok"; readonly result: Result }
  | { readonly outcome: "failed" | "unknown"; readonly why: string };

/** Answers that say that the command certainly was not carried out: the first words of errors. */
const NOT_DONE = new Set([
  "TRYAGAIN",
  "NOREPLICAS",
  "CLUSTERDOWN",
  "CROSSSLOT",
  "LOADING",
  "MASTERDOWN",
  "MISCONF",
  "NOAUTH",
  "NOPERM",
  "OOM",
  "READONLY",
  "WRONGTYPE",
  "EXECABORT",
  "MOVED",
  "ASK",
  "ERR",
]);

const CONNECT_MS_MAX = 2_000;

type RedisClient = ReturnType<typeof newClient>;

/** An open connection. After a failure of the connection itself it is of no more use. */
export class Connection {
  readonly #client: RedisClient;

  private constructor(client: RedisClient) {
    this.#client = client;
  }

  /**
   * @param resp the version of the protocol.
   * @throws Error if the server cannot be reached in time.
   */
  static async open(address: Address, resp: 2 | 3): Promise<Connection> {
    const client = newClient(address, resp);
    // Every error also reaches the command or the connect() that it concerns.
    client.on("error", () => undefined);
    const opening = client.connect();
    // A frozen server accepts but never answers the handshake.
    const timer = setTimeout(() => client.destroy(), CONNECT_MS_MAX * 2);
    try {
      await opening;
    } catch (error) {
      client.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    if (!client.isReady) throw new Error("the connection was lost during the handshake");
    return new Connection(client);
  }

  get isOpen(): boolean {
    return this.#client.isReady;
  }

  close(): void {
    this.#client.destroy();
  }

  /**
   * Carries out one action.
   * @param timeoutMs after which the outcome is unknown and the connection is closed.
   * @param nx writes SETNX as SET with NX, which must mean the same.
   */
  async attempt(action: Action, timeoutMs: number, nx: boolean): Promise<Attempt> {
    if (!this.#client.isReady) return { outcome: "failed", why: "not connected" };
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<Attempt>((resolve) => {
      timer = setTimeout(() => {
        resolve({ outcome: "unknown", why: `no answer within ${timeoutMs} ms` });
        this.#client.destroy();
      }, timeoutMs);
    });
    try {
      return await Promise.race([this.#send(action, nx), deadline]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(action: Action, nx: boolean): Promise<Attempt> {
    try {
      if (action.kind === "multi") {
        const multi = this.#client.multi();
        for (const part of action.actions) multi.addCommand(commandOf(part, false));
        const replies: readonly unknown[] = await multi.exec();
        const result = replies.map((reply) => resultOf(reply));
        return { outcome: "ok", result };
      }
      const reply = await this.#client.sendCommand(commandOf(action, nx));
      if (nx && action.kind === "setnx") {
        return { outcome: "ok", result: reply === null ? 0 : 1 };
      }
      return { outcome: "ok", result: resultOf(reply) };
    } catch (error) {
      return classify(error, action);
    }
  }
}

/** @returns what an error says of the operation's outcome. */
export function classify(error: unknown, action: Action): Attempt {
  const why = error instanceof Error ? error.message || error.name : String(error);
  // EXEC answers null only when a watched key changed or the server gave the transaction up; either way nothing was done.
  if (error instanceof WatchError) return { outcome: "failed", why: "EXEC answered null" };
  if (!(error instanceof ErrorReply)) return { outcome: "unknown", why };
  const code = why.split(" ", 1)[0] ?? "";
  if (action.kind === "incr" && why === NOT_AN_INTEGER) {
    return { outcome: "ok", result: { error: why } };
  }
  return { outcome: NOT_DONE.has(code) ? "failed" : "unknown", why };
}

/**
 * Makes a client that is not connected. The library composes a class of all commands for every client whose options are not
 * those of the one before, which takes tens of milliseconds: a moment in which all clients lose their server would be measured
 * as a pause of the servers. Copies of one client share its class.
 */
function newClient(address: Address, resp: 2 | 3) {
  const { host, port } = address;
  let model = models.get(resp);
  if (model === undefined) {
    model = newModel(resp);
    models.set(resp, model);
  }
  return model.duplicate({ socket: { ...SOCKET_OPTIONS, host, port } });
}

const SOCKET_OPTIONS = { reconnectStrategy: false, connectTimeout: CONNECT_MS_MAX } as const;
/** By the version of the protocol; never connected. */
const models = new Map<2 | 3, ReturnType<typeof newModel>>();

function newModel(resp: 2 | 3) {
  return createClient({ RESP: resp, socket: SOCKET_OPTIONS, disableOfflineQueue: true });
}

function commandOf(action: KeyAction, nx: boolean): string[] {
  switch (action.kind) {
    case "set":
    case "getset":
    case "append":
      return [action.kind.toUpperCase(), action.key, action.value];
    case "setnx":
      return nx ? ["SET", action.key, action.value, "NX"] : ["SETNX", action.key, action.value];
    case "incr":
      return action.by === 1 ? ["INCR", action.key] : ["INCRBY", action.key, String(action.by)];
    default:
      return [action.kind.toUpperCase(), action.key];
  }
}

function resultOf(reply: unknown): Result {
  if (reply === null || typeof reply === "string" || typeof reply === "number") return reply;
  if (Array.isArray(reply)) return reply.map(resultOf);
  if (reply instanceof Error) return { error: reply.message };
  return String(reply);
}
