/** The RESP server: listens, keeps the connections, and counts. */

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Refusal } from "../data/reply.ts";
import type { Door } from "../router/door.ts";
import { Router } from "../router/router.ts";
import { ReadBuffer } from "../sockets/read-buffer.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { type Counters, noCounts } from "./counters.ts";
import { Intake, type IntakeLimits } from "./intake.ts";
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
import {
  type ClientLine,
  memoryCounts,
  type NodeWide,
  type ServerPart,
  type ServerReport,
  type SettingPairs,
} from "./node-wide.ts";
import { Outbox } from "./outbox.ts";
import { TOO_MANY_CLIENTS } from "./refusals.ts";
import { serverCommandsByName } from "./server-commands.ts";
import { type InitialSettings, Settings } from "./settings.ts";

/** How much a server takes at a time that is the only one of its node. */
export const INTAKE_LIMITS: IntakeLimits = {
  turnMsMax: TURN_MS_MAX,
  requestsPerLook: REQUESTS_PER_LOOK,
  unansweredMax: UNANSWERED_MAX,
  unansweredResume: UNANSWERED_RESUME,
};

export interface RespServerOptions extends InitialSettings {
  /** Address to listen on, such as `127.0.0.1`. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly door: Door;
  /** Makes what the whole node is asked by, of which this server is a part or all. */
  readonly nodeWide: (part: ServerPart) => NodeWide;
  /**
   * A descriptor of this process that listens already, for another server: connections come to either. It is closed by that
   * server and by no other, so a server that was given one keeps its own handle of it until its thread ends.
   */
  readonly descriptor?: number;
  /** Holds requests back; one with the default limits if absent. */
  readonly intake?: Intake;
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

export class RespServer implements ServerPart {
  readonly #options: RespServerOptions;
  readonly #router: Router;
  readonly #listener: Server;
  readonly #connections = new Set<Connection>();
  readonly #counters: Counters = noCounts();
  readonly #startedAtMs = Date.now();
  readonly #nodeWide: NodeWide;
  #settings: Settings;
  #host: ConnectionHost | undefined;
  #isClosing = false;
  #sweep: NodeJS.Timeout | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: RespServerOptions) {
    this.#options = options;
    this.#router = options.router ?? new Router(options.door);
    this.#settings = new Settings(options, {});
    this.#nodeWide = options.nodeWide(this);
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
    const { host, port, descriptor } = this.#options;
    const where = descriptor === undefined ? { host, port } : { fd: descriptor };
    await new Promise<void>((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen(where, () => {
        this.#listener.off("error", reject);
        // Running out of file descriptors fails one connection, not the server.
        this.#listener.on("error", () => undefined);
        resolve();
      });
    });
    const bound = this.port;
    this.#settings = new Settings(this.#options, {
      bind: host,
      "io-threads": String(this.#nodeWide.threads),
      port: String(bound),
    });
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

  /** The descriptor that it listens on, which other servers of this process may listen on too; -1 if there is none. */
  get descriptor(): number {
    const { _handle: handle } = this.#listener as unknown as {
      readonly _handle?: { readonly fd?: number } | null;
    };
    return handle?.fd ?? -1;
  }

  /** Counts for metrics; they only grow until CONFIG RESETSTAT. */
  get counters(): Readonly<Counters> {
    return this.#counters;
  }

  /** Connections of this server. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  report(): ServerReport {
    return { counters: { ...this.#counters }, memory: memoryCounts() };
  }

  clients(): readonly ClientLine[] {
    return Array.from(this.#connections, (each) => ({ id: each.id, text: each.describe() }));
  }

  configure(pairs: SettingPairs): Refusal | undefined {
    return this.#settings.set(pairs);
  }

  resetCounters(): void {
    Object.assign(this.#counters, noCounts());
  }

  /**
   * Takes no more connections and requests, lets pending answers go out, then closes.
   * @param graceMs how long answers may take before connections are cut.
   */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    clearInterval(this.#sweep);
    this.#isClosing = true;
    const isOthers = this.#options.descriptor !== undefined;
    const stopped = new Promise<void>((resolve) => {
      // A number that is closed twice may be somebody else's the second time.
      if (isOthers) resolve();
      else this.#listener.close(() => resolve());
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
    if (host === undefined || this.#isClosing) {
      socket.destroy();
      return;
    }
    this.#counters.connections += 1;
    const id = this.#nodeWide.admit(this.#settings.maxClients);
    if (id === undefined) {
      this.#counters.rejectedConnections += 1;
      socket.on("error", () => undefined);
      socket.end(`-${TOO_MANY_CLIENTS.code} ${TOO_MANY_CLIENTS.message}\r\n`, () =>
        socket.destroy(),
      );
      return;
    }
    this.#connections.add(new Connection(id, socket, host));
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
      nodeWide: this.#nodeWide,
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
      intake: this.#options.intake ?? new Intake(INTAKE_LIMITS),
      connectionClosed: (connection) => {
        this.#connections.delete(connection);
        this.#nodeWide.left();
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    };
  }
}
