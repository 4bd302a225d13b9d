/**
 * One node as a process: wires the core to its driver, the links, the register and the servers for clients, and sees to a
 * clean end. Everything that can be wrong at the start ends it with a message that says what to do.
 */

import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { ShardEngine } from "../commands/shard-engine.ts";
import { createApp } from "../http/app.ts";
import { type HttpServer, serveHttp } from "../http/serve.ts";
import { NodeClock } from "../node/clock.ts";
import type { Disk } from "../node/disk.ts";
import { Driver } from "../node/driver.ts";
import { LATENCY_SECONDS, NodeMetrics } from "../node/metrics.ts";
import { LINK_LIMITS, Links } from "../peers/links.ts";
import { ClusterSecret } from "../peers/secret.ts";
import { openRegister } from "../register/open-register.ts";
import type { Register } from "../register/register.ts";
import type { Configuration, Incarnation, NodeRecord } from "../replica/configuration.ts";
import { Core } from "../replica/core.ts";
import { ConfigurationError } from "../replica/parse-configuration.ts";
import type { ReadPolicy } from "../replica/read-balancer.ts";
import { Router } from "../router/router.ts";
import { onlyServer } from "../server/node-wide.ts";
import { RespServer } from "../server/resp-server.ts";
import { IoThreads } from "../threads/io-threads.ts";
import { addAdminRoutes, addFaultsRoute } from "./admin-routes.ts";
import { addBackupRoute } from "./backup-route.ts";
import { linesOf } from "./event-lines.ts";
import { hashKey } from "./hash-key.ts";
import { createLogger, type LogLevel } from "./log.ts";
import { type DiskPlace, openNodeDisk } from "./node-disk.ts";
import { goFirst } from "./priority.ts";
import { graceOf, SteadyReadiness } from "./readiness.ts";
import { isLoopback, readSecretFile, secretFromText } from "./secret-file.ts";
import { FAILED, MISFIT, StartError } from "./start-error.ts";
import { SyncWatch } from "./sync-watch.ts";

export interface NodeOptions {
  /** Must be one of the configuration's nodes; its ports are there. */
  readonly nodeId: string;
  /** Base address of the witness, such as `http://127.0.0.1:17000`. */
  readonly registerUrl: string;
  /** If given, the register must belong to this cluster. */
  readonly clusterId?: string;
  /** The file with the cluster's secret; by default `HOTHOT_SECRET` of the environment, and without that there is none. */
  readonly secretFile?: string;
  /** How the node chooses whom to ask about shards of which it is no replica. */
  readonly readPolicy?: ReadPolicy;
  /** Where the node keeps its durable copy, as the cluster's settings ask for; undefined for nowhere. */
  readonly disk?: DiskPlace;
  /** Address to listen on; by default the node's own in the configuration. */
  readonly host?: string;
  /** Of HotHot, for INFO. */
  readonly version: string;
  readonly logLevel?: LogLevel;
  /** Threads: one with the core and, if there are more, the others for clients' connections. One that does all by default. */
  readonly threads?: number;
  /** Clients must give this password, a binary string. */
  readonly requirePass?: string;
  /** Test only: allows DEBUG. */
  readonly enableDebug?: boolean;
  /** Test only: allows `POST /faults`. */
  readonly enableFaults?: boolean;
}

/** Exit statuses. */
const STOPPED = 0;
/** A bug: an invariant of the core does not hold. */
const BROKEN = 70;

/** How long the node waits for what may be slow, ms. */
const FIRST_READ_MS_MAX = 1000;
const FIRST_READ_RETRY_MS = 200;
const DRAIN_MS_MAX = 3000;
const ANSWERS_MS_MAX = 2000;
const CLOSE_MS_MAX = 1000;
/** Of failures of the register, the log tells one in so much time, ms. */
const REGISTER_TOLD_MS = 30_000;
/** How often it is looked whether the node is ready. */
const SYNC_LOOK_MS = 5000;
const READINESS_LOOK_MS = 100;

/**
 * Runs a node until SIGTERM or SIGINT, which hand its shards over first. At most one node runs in a process.
 * @returns the exit status: 0 after a clean end, 1 if it could not start, 78 if it does not belong to that cluster. A broken
 *   invariant ends the process by itself, with 70.
 */
export async function runNode(options: NodeOptions): Promise<number> {
  const log = createLogger(options.nodeId, options.logLevel ?? "info");
  const die = (error: unknown): void => {
    log.fatal({ err: error }, "a bug: this node ends at once, the others go on");
    process.exit(BROKEN);
  };
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
  const stopping = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    if (!stopping.signal.aborted) log.info({ signal }, "stopping");
    stopping.abort();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  let node: RunningNode | undefined;
  try {
    const configuration = await firstConfiguration(options, log, stopping.signal);
    if (configuration === undefined) return STOPPED;
    node = await startNode(options, configuration, log, die);
    const watch = watchSync(node.driver, log);
    await aborted(stopping.signal);
    clearInterval(watch);
    await stopNode(node, log);
    return STOPPED;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    log.error(error.message);
    return error.exitStatus;
  } finally {
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
    process.off("uncaughtException", die);
    process.off("unhandledRejection", die);
  }
}

interface RunningNode {
  readonly driver: Driver;
  readonly links: Links;
  readonly register: Register;
  readonly resp: ClientServer;
  readonly http: HttpServer;
  readonly disk: Disk | undefined;
}

/** Whatever takes clients' connections. */
interface ClientServer {
  readonly connectionCount: number;
  listen(): Promise<number>;
  close(graceMs: number): Promise<void>;
}

/** Waits for the register. @returns undefined if the process is to end before. */
async function firstConfiguration(
  options: NodeOptions,
  log: Logger,
  stopping: AbortSignal,
): Promise<Configuration | undefined> {
  const register = createRegister(options.registerUrl, FIRST_READ_MS_MAX, () => undefined);
  try {
    for (let attempt = 0; !stopping.aborted; attempt++) {
      let trouble = "it holds no configuration yet";
      try {
        const configuration = await register.read();
        if (configuration !== undefined) return configuration;
      } catch (error) {
        if (isNewerFormat(error)) {
          throw new StartError(
            `the cluster was configured by a newer version of hothot (${rootMessageOf(error)}); install that version on this machine`,
            { exitStatus: MISFIT, cause: error },
          );
        }
        trouble = rootMessageOf(error);
      }
      // A line at once, then about one in five seconds.
      if (attempt % 25 === 0)
        log.warn(
          { trouble, register: options.registerUrl },
          "waiting for the configuration register; see that it runs, and that --register is its address",
        );
      await Promise.race([
        new Promise((resolve) => setTimeout(resolve, FIRST_READ_RETRY_MS)),
        aborted(stopping),
      ]);
    }
    return undefined;
  } finally {
    await register.close();
  }
}

async function startNode(
  options: NodeOptions,
  configuration: Configuration,
  log: Logger,
  die: (error: unknown) => void,
): Promise<RunningNode> {
  const { nodeId } = options;
  const record = recordOf(configuration, options);
  const host = options.host ?? record.host;
  const { heartbeatMs } = configuration.settings;
  const incarnation = drawIncarnation();
  const secret = secretOf(options, configuration, log);
  const disk = await openNodeDisk(options, configuration, log);
  const restored = disk?.restored;
  const register = createRegister(options.registerUrl, 2 * heartbeatMs, (isReachable, error) => {
    if (isReachable) log.info("the configuration register is back");
    else log.warn({ error: error?.message }, "the configuration register is away; serving on");
  });
  let links: Links | undefined;
  let resp: ClientServer | undefined;
  let ioThreads: IoThreads | undefined;
  const metrics = new NodeMetrics({
    status: () => driver.status(),
    links: () => links?.status() ?? [],
    clients: () => resp?.connectionCount ?? 0,
    disk: () => disk?.status(),
  });
  let registerToldMs = Number.NEGATIVE_INFINITY;
  let isRaised = false;
  const driver: Driver = new Driver({
    core: new Core({
      nodeId,
      incarnation,
      createStateMachine: (range) => new ShardEngine(range, hashKey),
      ...(restored === undefined ? {} : { restored }),
      ...(options.readPolicy === undefined ? {} : { readPolicy: options.readPolicy }),
    }),
    ...(disk === undefined ? {} : { journal: disk }),
    createLinks: (handler) => {
      links = new Links({
        nodeId,
        clusterId: configuration.clusterId,
        incarnation,
        host,
        port: record.peerPort,
        heartbeatChannel: configuration.settings.heartbeatChannel,
        ...(secret === undefined ? {} : { secret }),
        // A node that speaks seldom is silent only after longer.
        limits: {
          silentMsMax: Math.max(LINK_LIMITS.silentMsMax, 5 * heartbeatMs),
          aliveMs: Math.max(LINK_LIMITS.aliveMs, 3 * heartbeatMs),
          backMs: Math.max(LINK_LIMITS.backMs, 3 * heartbeatMs),
        },
        peers: configuration.nodes.map((node) => ({
          id: node.id,
          host: node.host,
          port: node.peerPort,
        })),
        handler,
        log: (level, text, fields) => log[level](fields, text),
      });
      return links;
    },
    register,
    clock: new NodeClock(),
    observer: {
      events: (events) => {
        for (const event of events) {
          metrics.event(event);
          // Before that nobody waits for this node.
          if (!isRaised && event.kind === "epoch" && event.inSync.includes(nodeId)) {
            isRaised = true;
            goFirst();
          }
        }
        ioThreads?.noteConfiguration();
        for (const { level, text, fields } of linesOf(events)) log[level](fields, text);
      },
      written: (ms, reply) => metrics.written(ms, reply),
      clockJumped: () => {
        metrics.clockJumped();
        log.warn("the clock jumped forward: the node may have slept, its leases end");
      },
      registerFailed: (what, error) => {
        metrics.registerFailed(what);
        const nowMs = performance.now();
        const level = nowMs - registerToldMs > REGISTER_TOLD_MS ? "warn" : "debug";
        if (level === "warn") registerToldMs = nowMs;
        log[level]({ error: error.message }, `the register did not answer a ${what}`);
      },
    },
    tickMs: heartbeatMs / 5,
    fatal: die,
  });
  if (links === undefined) throw new Error("the driver made no links");
  const router = new Router(driver);
  const serving = {
    host,
    port: record.respPort,
    door: driver,
    router,
    version: options.version,
    enableDebug: options.enableDebug ?? false,
    ...(options.requirePass === undefined ? {} : { requirePass: options.requirePass }),
  };
  const { threads = 1 } = options;
  if (threads > 1) {
    ioThreads = new IoThreads({ ...serving, threads, latencySeconds: LATENCY_SECONDS, fatal: die });
  }
  resp =
    ioThreads ?? new RespServer({ ...serving, nodeWide: onlyServer(driver), observer: metrics });
  const readiness = new SteadyReadiness(graceOf(configuration.settings));
  // Looked at often, so that it is known since when the node does not serve, however seldom anybody asks.
  setInterval(() => {
    readiness.look(driver, performance.now());
  }, READINESS_LOOK_MS).unref();
  const app = createApp({
    router,
    door: driver,
    ready: () => readiness.look(driver, performance.now()),
    metrics: async () => {
      for (const counts of (await ioThreads?.tallies()) ?? []) metrics.add(counts);
      return metrics.text();
    },
    observer: metrics,
    onError: (error) => log.error({ err: error }, "an HTTP request failed"),
  });
  addAdminRoutes(app, driver);
  addBackupRoute(app, driver);
  if (options.enableFaults === true) addFaultsRoute(app, links);
  // All ports before the first word to the cluster: a node that cannot listen must not have joined. Until the driver has
  // its configuration, clients are told to try again. The links come last, and the driver starts in the same turn of the
  // loop: it must miss none of their events.
  const closers: (() => Promise<unknown>)[] = [() => register.close()];
  if (disk !== undefined) closers.push(() => disk.close());
  const server = resp;
  const lines = links;
  try {
    await listening("RESP", host, record.respPort, () => server.listen());
    closers.push(() => server.close(0));
    const http = await listening("HTTP", host, record.httpPort, () =>
      serveHttp(app, { host, port: record.httpPort }),
    );
    closers.push(() => http.close(0));
    await listening("peers", host, record.peerPort, () => lines.listen());
    driver.start(configuration);
    ioThreads?.noteConfiguration();
    log.info(
      {
        cluster: configuration.clusterId,
        incarnation,
        version: configuration.version,
        respPort: record.respPort,
        httpPort: record.httpPort,
        peerPort: record.peerPort,
        threads,
      },
      "started",
    );
    return { driver, links: lines, register, resp: server, http, disk };
  } catch (error) {
    for (const close of closers.reverse()) await close();
    throw error;
  }
}

/** Hands over, lets what is under way be answered, and closes. */
async function stopNode(node: RunningNode, log: Logger): Promise<void> {
  const { driver, links, register, resp, http, disk } = node;
  const isDrained = await driver.drainShards(DRAIN_MS_MAX);
  if (isDrained) log.info("all shards are handed over");
  else log.warn(`the shards were not handed over within ${DRAIN_MS_MAX} ms`);
  await Promise.all([resp.close(ANSWERS_MS_MAX), http.close(ANSWERS_MS_MAX)]);
  driver.stop();
  // Whatever time it takes: what was ordered is to be found again.
  await disk?.close();
  await Promise.race([
    Promise.all([links.close(), register.close()]),
    new Promise((resolve) => setTimeout(resolve, CLOSE_MS_MAX).unref()),
  ]);
  log.info("stopped");
}

/** @throws StartError if the configuration is not for this node. */
function recordOf(configuration: Configuration, options: NodeOptions): NodeRecord {
  const { nodeId, clusterId, registerUrl } = options;
  if (clusterId !== undefined && configuration.clusterId !== clusterId) {
    throw new StartError(
      `the register at ${registerUrl} belongs to cluster ${configuration.clusterId}, not to ${clusterId}; ` +
        "give the address of this cluster's own register with --register, or the right --cluster",
      { exitStatus: MISFIT },
    );
  }
  const record = configuration.nodes.find((node) => node.id === nodeId);
  if (record === undefined) {
    const names = configuration.nodes.map((node) => node.id).join(", ");
    throw new StartError(
      `the cluster ${configuration.clusterId} has no node ${nodeId}; it has ${names}. Give one of these with --id`,
      { exitStatus: MISFIT },
    );
  }
  return record;
}

/** @throws StartError if there is a secret that cannot be used. */
function secretOf(
  options: NodeOptions,
  configuration: Configuration,
  log: Logger,
): ClusterSecret | undefined {
  let bytes: Buffer | undefined;
  try {
    bytes =
      options.secretFile === undefined
        ? secretFromText(process.env["HOTHOT_SECRET"])
        : readSecretFile(options.secretFile, (warning) => log.warn(warning));
    if (bytes !== undefined) return new ClusterSecret(bytes, configuration.clusterId);
  } catch (error) {
    throw new StartError(`the cluster secret cannot be used: ${messageOf(error)}`, {
      exitStatus: MISFIT,
      cause: error,
    });
  }
  if (!configuration.nodes.every((node) => isLoopback(node.host))) {
    log.warn(
      "there is no cluster secret: whoever reaches the peer port can read and change all data; " +
        "give all nodes one with --secret-file",
    );
  }
  return undefined;
}

/** @throws StartError if the address names no register. */
function createRegister(
  url: string,
  timeoutMs: number,
  onReachable: (isReachable: boolean, error: Error | undefined) => void,
): Register {
  try {
    return openRegister(url, { timeoutMs, onReachable });
  } catch (error) {
    throw new StartError(messageOf(error), { exitStatus: MISFIT, cause: error });
  }
}

/** @throws StartError that names the port. */
async function listening<T>(
  what: string,
  host: string,
  port: number,
  listen: () => T | Promise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(
      `cannot listen on ${host}:${port} (${what}): ${listenTrouble(code, port) ?? messageOf(error)}`,
      { exitStatus: FAILED, cause: error },
    );
  }
}

/** What to do about an address that cannot be listened on. */
function listenTrouble(code: string | undefined, port: number): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return `it is in use; stop what uses it (ss -ltnp 'sport = :${port}' names it)`;
    case "EADDRNOTAVAIL":
      return "this machine has no such address; give one of its own with --host";
    case "EACCES":
      return "ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE)";
    default:
      return undefined;
  }
}

/** Tells in the log why the node is not ready, if that lasts. @returns the timer. */
function watchSync(driver: Driver, log: Logger): NodeJS.Timeout {
  const watch = new SyncWatch();
  return setInterval(() => {
    const shards = driver.configuration()?.shards ?? [];
    const replicas = new Map(shards.map((shard, index) => [index, shard.replicas]));
    const trouble = watch.look(driver.status(), performance.now(), replicas);
    if (trouble === undefined) return;
    const { unreadyMs, reasons } = trouble;
    log.warn(
      { unreadyMs, reasons },
      `not ready for ${Math.round(unreadyMs / 1000)} s: ${reasons.join("; ")}`,
    );
  }, SYNC_LOOK_MS);
}

function isNewerFormat(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof ConfigurationError && each.code === "newer-format") return true;
  }
  return false;
}

/** The innermost cause's, which is the one that an operator can do something about. */
function rootMessageOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error
    ? rootMessageOf(error.cause)
    : messageOf(error);
}

/** @returns a random number from 1 to 2^48 - 1. */
function drawIncarnation(): Incarnation {
  return Math.max(1, randomBytes(6).readUIntBE(0, 6));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}
