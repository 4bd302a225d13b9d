/**
 * Requests to etcd's JSON gateway over HTTP/1.1: several endpoints with failover among them, TLS, users. It knows nothing of
 * documents. A request that hangs at one endpoint is sent to the next as well, and the first answer counts, so whoever sends
 * one has to make sure that it may be carried out more than once.
 */

import * as http from "node:http";
import * as https from "node:https";
import { etcdClusterOf, type Json } from "./etcd-answers.ts";
import { RegisterError } from "./register.ts";

/** PEM texts. */
export interface EtcdTls {
  /** Who signs the servers' certificates; the system's authorities if there is none. */
  readonly ca?: string;
  /** The client's certificate and its key, for servers that ask for one. */
  readonly cert?: string;
  readonly key?: string;
}

export interface EtcdCredentials {
  readonly user: string;
  readonly password: string;
}

export interface EtcdTransportOptions {
  /** Base addresses, `http://host:port` or all `https://host:port`; at least one. */
  readonly endpoints: readonly string[];
  /** Reads the certificates: at first, and again when a connection has failed, since they may have been renewed. */
  readonly loadTls?: () => EtcdTls;
  readonly credentials?: EtcdCredentials;
}

/** An answer, and how often the request was sent until it came. */
export interface EtcdCall {
  readonly answer: Json;
  /** 1 if nobody else can have carried the request out. */
  readonly attempts: number;
}

/** Wait before all endpoints are asked again when each has failed at once, ms. */
const ROUND_MS = 10;
/** A request that hangs goes to the next endpoint as well after a share of its time, within these bounds, ms. */
const HEDGE_MS_MIN = 10;
const HEDGE_MS_MAX = 500;
/** Least time between two readings of the certificates, ms. */
const TLS_RELOAD_MS = 1_000;
/** etcd hashes passwords slowly by design, so a login may take longer than the request that needs it. */
const LOGIN_MS_MAX = 5_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** Of the system's own probes of idle connections, ms. Requests have time limits; this frees what nobody uses any more. */
const TCP_KEEP_ALIVE_MS = 10_000;

/** gRPC's codes that say that the request itself is at fault, so that no other endpoint will take it. */
const REFUSALS: readonly number[] = [3, 5, 6, 7, 9, 11, 12];
const UNAUTHENTICATED = 16;
/** Texts, because etcd gives these troubles the code of a malformed request. */
const STALE_LOGIN = /invalid auth token|auth store is old/;
const NO_LOGIN = /user name is empty/;

export class EtcdTransport {
  readonly #endpoints: readonly URL[];
  readonly #loadTls: (() => EtcdTls) | undefined;
  #tls: EtcdTls;
  #tlsLoadedMs = performance.now();
  readonly #credentials: EtcdCredentials | undefined;
  readonly #agent: http.Agent;
  /** Index of the endpoint that answered last. */
  #preferred = 0;
  #token: string | undefined;
  /** Logins under way, by endpoint. */
  readonly #logins = new Map<number, Promise<string>>();
  #etcdCluster: string | undefined;

  /** @throws TypeError if an address is none, or there is none; whatever `loadTls` throws. */
  constructor(options: EtcdTransportOptions) {
    this.#endpoints = options.endpoints.map((endpoint) => new URL(endpoint));
    const protocols = new Set(this.#endpoints.map((endpoint) => endpoint.protocol));
    const [protocol] = protocols;
    if (protocols.size !== 1 || (protocol !== "http:" && protocol !== "https:")) {
      throw new TypeError("etcd needs one endpoint or more, all http or all https");
    }
    this.#loadTls = options.loadTls;
    this.#tls = options.loadTls?.() ?? {};
    this.#credentials = options.credentials;
    const agentOptions = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS, maxSockets: 64 };
    this.#agent =
      protocol === "https:" ? new https.Agent(agentOptions) : new http.Agent(agentOptions);
  }

  /** Number of endpoints. */
  get size(): number {
    return this.#endpoints.length;
  }

  /** Index of the endpoint that answered last. */
  get preferred(): number {
    return this.#preferred;
  }

  /** @returns the address of an endpoint, for messages. */
  nameOf(endpoint: number): string {
    return this.#endpointAt(endpoint).host;
  }

  /**
   * Sends a request that may be carried out more than once, to one endpoint after the other until one answers.
   * @throws RegisterError `refused` if etcd will never take it, `unreachable` if no answer came within `timeoutMs`.
   */
  call(
    path: string,
    body: Json,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<EtcdCall> {
    const { timeoutMs, signal } = limits;
    const hedgeMs = Math.min(
      HEDGE_MS_MAX,
      Math.max(HEDGE_MS_MIN, timeoutMs / (this.#endpoints.length + 1)),
    );
    const first = this.#preferred;
    return new Promise((resolve, reject) => {
      /** What is under way, by endpoint. */
      const running = new Map<number, AbortController>();
      let attempts = 0;
      let trouble = "";
      let isOver = false;
      let timer: NodeJS.Timeout | undefined;
      const end = (): void => {
        isOver = true;
        clearTimeout(timer);
        clearTimeout(deadline);
        signal.removeEventListener("abort", onAbort);
        for (const attempt of running.values()) attempt.abort();
      };
      const fail = (error: RegisterError): void => {
        if (isOver) return;
        end();
        reject(error);
      };
      const onAbort = (): void => fail(unreachable("the register was closed"));
      const attempt = (): void => {
        const endpoint = (first + attempts) % this.#endpoints.length;
        attempts += 1;
        running.get(endpoint)?.abort();
        const ending = new AbortController();
        running.set(endpoint, ending);
        clearTimeout(timer);
        timer = setTimeout(attempt, hedgeMs);
        this.#send(endpoint, path, body, ending.signal).then(
          (answer) => {
            if (isOver) return;
            this.#preferred = endpoint;
            end();
            resolve({ answer, attempts });
          },
          (error: unknown) => {
            // One that was given up for its successor has been told of already.
            if (isOver || ending.signal.aborted) return;
            const failure = asRegisterError(error);
            if (failure.code !== "unreachable") {
              // An earlier attempt may yet be carried out, so what is refused now is not certain for good.
              fail(attempts === 1 ? failure : unreachable(failure.message, failure));
              return;
            }
            trouble = failure.message;
            clearTimeout(timer);
            const isRoundOver = attempts % this.#endpoints.length === 0;
            timer = setTimeout(attempt, isRoundOver ? ROUND_MS : 0);
          },
        );
      };
      const deadline = setTimeout(() => {
        const names = this.#endpoints.map((endpoint) => endpoint.host).join(", ");
        const why = trouble === "" ? "" : `; last: ${trouble}`;
        fail(unreachable(`no answer from etcd (${names}) within ${timeoutMs} ms${why}`));
      }, timeoutMs);
      signal.addEventListener("abort", onAbort);
      if (signal.aborted) onAbort();
      else attempt();
    });
  }

  /**
   * Sends a request to one endpoint alone.
   * @throws RegisterError as `call` does.
   */
  async callAt(
    endpoint: number,
    path: string,
    body: Json,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Json> {
    const limit = AbortSignal.any([limits.signal, AbortSignal.timeout(limits.timeoutMs)]);
    return this.#send(endpoint, path, body, limit).catch((error: unknown) => {
      throw asRegisterError(error);
    });
  }

  /**
   * Sends a request to one endpoint whose answer goes on, a message a line. Ends when the answer does.
   * @throws RegisterError when it breaks off, or the signal comes; whatever `onMessage` throws.
   */
  async stream(
    endpoint: number,
    path: string,
    body: Json,
    handlers: { readonly signal: AbortSignal; readonly onMessage: (message: Json) => void },
  ): Promise<void> {
    const token = await this.#tokenAt(endpoint);
    const response = await this.#open(endpoint, path, body, handlers.signal, token).catch(
      (error: unknown) => {
        throw asRegisterError(error);
      },
    );
    response.setEncoding("utf8");
    let rest = "";
    const lines = async function* (): AsyncGenerator<string> {
      try {
        for await (const chunk of response as AsyncIterable<string>) {
          const parts = (rest + chunk).split("\n");
          rest = parts.pop() ?? "";
          if (rest.length > ANSWER_BYTES_MAX) throw new Error("a message is too large");
          yield* parts;
        }
      } catch (error) {
        throw asRegisterError(error);
      }
    };
    try {
      for await (const line of lines()) {
        if (line.trim() !== "") handlers.onMessage(parseJson(line));
      }
    } finally {
      response.destroy();
    }
  }

  /** Ends all that is under way. */
  close(): void {
    this.#agent.destroy();
  }

  /** One attempt, with a second one after a login if etcd has forgotten the first login. */
  async #send(endpoint: number, path: string, body: Json, signal: AbortSignal): Promise<Json> {
    const token = await this.#tokenAt(endpoint);
    try {
      return await this.#post(endpoint, path, body, signal, token);
    } catch (error) {
      const isForgotten = error instanceof EtcdFailure && error.isStaleLogin;
      if (!isForgotten || this.#credentials === undefined) throw error;
      if (this.#token === token) this.#token = undefined;
      return this.#post(endpoint, path, body, signal, await this.#tokenAt(endpoint));
    }
  }

  async #tokenAt(endpoint: number): Promise<string | undefined> {
    if (this.#credentials === undefined || this.#token !== undefined) return this.#token;
    let login = this.#logins.get(endpoint);
    if (login === undefined) {
      login = this.#login(endpoint, this.#credentials).finally(() => this.#logins.delete(endpoint));
      // Whoever asked may have given up meanwhile.
      login.catch(() => undefined);
      this.#logins.set(endpoint, login);
    }
    return login;
  }

  /** Goes on when the request that needs it has been given up: the next one will need it too. */
  async #login(endpoint: number, { user, password }: EtcdCredentials): Promise<string> {
    const body = { name: user, password };
    const signal = AbortSignal.timeout(LOGIN_MS_MAX);
    const answer = await this.#post(endpoint, "/v3/auth/authenticate", body, signal, undefined);
    const { token } = answer;
    if (typeof token !== "string") throw unreachable("etcd gave no token");
    this.#token = token;
    return token;
  }

  async #post(
    endpoint: number,
    path: string,
    body: Json,
    signal: AbortSignal,
    token: string | undefined,
  ): Promise<Json> {
    const response = await this.#open(endpoint, path, body, signal, token);
    const answer = parseJson(await textOf(response));
    const cluster = etcdClusterOf(answer);
    // Two clusters would be two registers: what one promises, the other knows nothing of.
    if (cluster !== undefined && cluster !== (this.#etcdCluster ?? cluster)) {
      throw unreachable(
        `${this.nameOf(endpoint)} is of another etcd cluster (${cluster}) than who answered before (${this.#etcdCluster})`,
      );
    }
    this.#etcdCluster ??= cluster;
    return answer;
  }

  /** @returns an answer of status 200, whose body is still to come. */
  #open(
    endpoint: number,
    path: string,
    body: Json,
    signal: AbortSignal,
    token: string | undefined,
  ): Promise<http.IncomingMessage> {
    const url = new URL(path, this.#endpointAt(endpoint));
    const text = JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        reject(unreachable(`${url.host}: ${reasonOf(cause, signal)}`, cause));
      };
      const open = url.protocol === "https:" ? https.request : http.request;
      const request = open(
        url,
        {
          method: "POST",
          agent: this.#agent,
          signal,
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(text),
            ...(token === undefined ? {} : { authorization: token }),
          },
          ...this.#tls,
        },
        (response) => {
          if (response.statusCode === 200) {
            resolve(response);
            return;
          }
          textOf(response).then(
            (message) => reject(failureOf(url.host, response.statusCode ?? 0, message)),
            fail,
          );
        },
      );
      request.on("error", (error) => {
        this.#maybeReloadTls();
        fail(error);
      });
      request.end(text);
    });
  }

  /** Connections that are open already keep the certificates that they began with. */
  #maybeReloadTls(): void {
    if (this.#loadTls === undefined) return;
    if (performance.now() - this.#tlsLoadedMs < TLS_RELOAD_MS) return;
    this.#tlsLoadedMs = performance.now();
    try {
      this.#tls = this.#loadTls();
    } catch {
      // The files are just being replaced, or damaged: those that were good once are the best there is.
    }
  }

  #endpointAt(index: number): URL {
    return this.#endpoints[index % this.#endpoints.length] as URL;
  }
}

/** etcd answered, and not with what it was asked for. */
class EtcdFailure extends RegisterError {
  readonly isStaleLogin: boolean;

  constructor(message: string, code: "refused" | "unreachable", isStaleLogin: boolean) {
    super(message, { code });
    this.isStaleLogin = isStaleLogin;
  }
}

function failureOf(host: string, status: number, body: string): EtcdFailure {
  let code: unknown;
  let text = body.trim().slice(0, 300);
  try {
    const answer = JSON.parse(body) as { code?: unknown; message?: unknown; error?: unknown };
    code = answer.code;
    text = String(answer.message ?? answer.error ?? text);
  } catch {
    // Something between here and etcd answered, such as a proxy.
  }
  const message = `${host} answered: ${text === "" ? `status ${status}` : text}`;
  if (status === 404 && code === undefined) {
    const hint = "(etcd before 3.4, or without its JSON gateway: set enable-grpc-gateway)";
    return new EtcdFailure(`${message} ${hint}`, "unreachable", false);
  }
  if (NO_LOGIN.test(text)) {
    return new EtcdFailure(
      `${message} (set HOTHOT_ETCD_USER and HOTHOT_ETCD_PASSWORD)`,
      "refused",
      false,
    );
  }
  if (code === UNAUTHENTICATED || STALE_LOGIN.test(text)) {
    return new EtcdFailure(message, "unreachable", true);
  }
  const isRefusal = typeof code === "number" && REFUSALS.includes(code);
  return new EtcdFailure(message, isRefusal ? "refused" : "unreachable", false);
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw unreachable("the answer is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes).toString("utf8");
}

function parseJson(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Json;
  } catch {
    // Told below.
  }
  throw unreachable(`not an answer of etcd: ${text.slice(0, 100)}`);
}

function reasonOf(error: Error, signal: AbortSignal): string {
  return signal.aborted ? "no answer in time" : error.message;
}

function unreachable(message: string, cause?: Error): RegisterError {
  return new RegisterError(message, { code: "unreachable", cause });
}

function asRegisterError(error: unknown): RegisterError {
  if (error instanceof RegisterError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  return unreachable(cause.name === "TimeoutError" ? "no answer in time" : cause.message, cause);
}
