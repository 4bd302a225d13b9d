/** The RESP server: listens, keeps the connections, and counts. */

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

import type { Door } from "../router/door.ts";
import { Router } from "../router/router.ts";
import { ReadBuffer } from "../sockets/read-buffer.ts";
import type { Counters } from "./client.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Intake } from "./intake.ts";
import { type CommandObserver, KnownCommands } from "./known-commands.ts";
import {
  CLOSE_GRACE_MS,
  IDLE_SWEEP_MS,
  PAGE_BYTES,
  REQUESTS_PER_LOOK,
  TURN_MS_MAX,
  UNANSWERED_MAX,
  UNANSWERED_RESUME,
} from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { TOO_MANY_CLIENTS } from "./refusals.ts";
import { serverCommandsByName } from "./server-commands.ts";
import { type InitialSettings, Settings } from "./settings.ts";

export interface RespServerOptions extends InitialSettings {
  /** Address to listen on, such as `127.0.0.1`. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly door: Door;
  /** The one that other servers of this node use too; made from `door` if absent. */
  readonly router?: Router;
  /** Of HotHot, for INFO. */
  readonly version: string;
  readonly observer?: CommandObserver;
  /** Allows DEBUG SLEEP, which stalls the whole node: for tests only. */
  readonly enableDebug?: boolean;
  /** False keeps sockets from reading into one buffer, as where Node.js cannot do it: for tests. */
  readonly readsIntoBuffer?: boolean;
}

export class RespServer {
  readonly #options: RespServerOptions;
  readonly #router: Router;
  readonly #listener: Server;
  readonly #connections = new Set<Connection>();
  readonly #counters: Counters = noCounts();
  readonly #startedAtMs = Date.now();
  #settings: Settings;
  #host: ConnectionHost | undefined;
  #nextId = 1;
  #sweep: NodeJS.Timeout | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: RespServerOptions) {
    this.#options = options;
    this.#router = options.router ?? new Router(options.door);
    this.#settings = new Settings(options, {});
    this.#listener = createServer(
      { allowHalfOpen: true, noDelay: true, pauseOnConnect: true },
      (socket) => this.#onSocket(socket),
    );
  }

  /**
   * Starts to take connections.
   * @returns the port.
   * @throws Error with Node's code, such as `EADDRINUSE`, if it cannot listen.
   */
  async listen(): Promise<number> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen({ host, port }, () => {
        this.#listener.off("error", reject);
        // Running out of file descriptors fails one connection, not the server.
        this.#listener.on("error", () => undefined);
        resolve();
      });
    });
    const bound = this.port;
    this.#settings = new Settings(this.#options, { bind: host, port: String(bound) });
    this.#host = this.#createHost(bound);
    this.#sweep = setInterval(() => this.#closeIdle(), IDLE_SWEEP_MS);
    this.#sweep.unref();
    return bound;
  }

  /** The port that it listens on, 0 while it does not. */
  get port(): number {
    const address = this.#listener.address() as AddressInfo | null;
    return address?.port ?? 0;
  }

  /** Counts for metrics; they only grow until CONFIG RESETSTAT. */
  get counters(): Readonly<Counters> {
    return this.#counters;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Takes no more connections and requests, lets pending answers go out, then closes.
   * @param graceMs how long answers may take before connections are cut.
   */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    clearInterval(this.#sweep);
    const stopped = new Promise<void>((resolve) => {
      this.#listener.close(() => resolve());
    });
    for (const connection of this.#connections) connection.closeAfterReplies();
    await this.#whenEmpty(graceMs);
    for (const connection of this.#connections) connection.destroy();
    await stopped;
  }

  #whenEmpty(graceMs: number): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #onSocket(socket: Socket): void {
    const host = this.#host;
    if (host === undefined) {
      socket.destroy();
      return;
    }
    this.#counters.connections += 1;
    if (this.#connections.size >= this.#settings.maxClients) {
      this.#counters.rejectedConnections += 1;
      socket.on("error", () => undefined);
      socket.end(`-${TOO_MANY_CLIENTS.code} ${TOO_MANY_CLIENTS.message}\r\n`, () =>
        socket.destroy(),
      );
      return;
    }
    this.#connections.add(new Connection(this.#nextId, socket, host));
    this.#nextId += 1;
  }

  #closeIdle(): void {
    const limitMs = this.#settings.timeoutSeconds * 1000;
    if (limitMs === 0) return;
    for (const connection of this.#connections) {
      if (connection.idleMs > limitMs) connection.closeAfterReplies();
    }
  }

  #createHost(port: number): ConnectionHost {
    const { door, version, observer, enableDebug = false } = this.#options;
    return {
      router: this.#router,
      door,
      settings: this.#settings,
      counters: this.#counters,
      version,
      isDebugEnabled: enableDebug,
      port,
      startedAtMs: this.#startedAtMs,
      commands: serverCommandsByName,
      known: new KnownCommands(observer),
      outbox: new Outbox(),
      readBuffer: new ReadBuffer(PAGE_BYTES),
      readsIntoBuffer: this.#options.readsIntoBuffer ?? true,
      intake: new Intake({
        turnMsMax: TURN_MS_MAX,
        requestsPerLook: REQUESTS_PER_LOOK,
        unansweredMax: UNANSWERED_MAX,
        unansweredResume: UNANSWERED_RESUME,
      }),
      clients: () => [...this.#connections],
      resetCounters: () => Object.assign(this.#counters, noCounts()),
      connectionClosed: (connection) => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    };
  }
}

function noCounts(): Counters {
  return {
    connections: 0,
    rejectedConnections: 0,
    commands: 0,
    refusals: 0,
    protocolErrors: 0,
    inputBytes: 0,
    outputBytes: 0,
    outputLimitDisconnections: 0,
  };
}
