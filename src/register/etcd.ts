/**
 * The register as a node sees it when etcd keeps it: one key, whose value is the document as JSON.
 *
 * A swap is one transaction that compares the key's revision with that of the document which it replaces. So it can be sent
 * again and again, to any member: at most one of its copies is ever applied, and the others show what is there.
 */

import type { Configuration } from "../replica/configuration.ts";
import { parseConfiguration } from "../replica/parse-configuration.ts";
import {
  type Entry,
  newerRequest,
  rangeRequest,
  readNewer,
  readSwap,
  refuseRegress,
  swapRequest,
} from "./etcd-answers.ts";
import { type EtcdCredentials, type EtcdTls, EtcdTransport } from "./etcd-transport.ts";
import { EtcdWatch } from "./etcd-watch.ts";
import { type Register, RegisterError, type SwapResult } from "./register.ts";

export interface EtcdRegisterOptions {
  /** Base addresses of etcd's members, `http://host:port` or all `https://host:port`. */
  readonly endpoints: readonly string[];
  /** The key that holds the document. */
  readonly key: string;
  /** How long a read or a swap may take, ms; about two heartbeats. */
  readonly timeoutMs: number;
  /** Reads the certificates, for `https`; called again when they may have been renewed. */
  readonly loadTls?: () => EtcdTls;
  readonly credentials?: EtcdCredentials;
  /** Time between two looks of a watch at the key itself, ms: how long a silent connection or a lost event can go unnoticed. */
  readonly lookMs?: number;
  /** Told each time no endpoint can be reached for the watch, and when one can again. */
  readonly onReachable?: (isReachable: boolean, error: Error | undefined) => void;
}

/** etcd takes requests of up to 1.5 MiB unless told otherwise; this leaves room for the rest of the request. */
const DOCUMENT_BYTES_MAX = 1.5 * 1024 * 1024 - 64 * 1024;
const LOOK_MS = 1_000;
const RANGE = "/v3/kv/range";
const TXN = "/v3/kv/txn";
/** The revision of a key that does not exist. */
const NEVER = "0";

export class EtcdRegister implements Register {
  readonly #options: EtcdRegisterOptions;
  readonly #transport: EtcdTransport;
  readonly #closing = new AbortController();
  /** The newest entry that was seen. Nothing older may be believed any more. */
  #newest: Entry | undefined;

  /** @throws TypeError if an address is none, or there is none; whatever `loadTls` throws. */
  constructor(options: EtcdRegisterOptions) {
    this.#options = options;
    this.#transport = new EtcdTransport(options);
  }

  async read(): Promise<Configuration | undefined> {
    return (await this.#readEntry(this.#options.timeoutMs))?.document;
  }

  async swap(configuration: Configuration): Promise<SwapResult> {
    const document = checked(configuration);
    const text = JSON.stringify(document);
    if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) {
      throw new RegisterError(
        `the document has ${Buffer.byteLength(text)} bytes, and etcd takes ${DOCUMENT_BYTES_MAX}: use fewer shards`,
        { code: "refused" },
      );
    }
    const end = performance.now() + this.#options.timeoutMs;
    try {
      // Mostly the document that is to be replaced is known, and the swap costs one round trip.
      let base = this.#newest;
      if (
        base?.document.version !== document.version - 1 ||
        base.document.clusterId !== document.clusterId
      ) {
        base = await this.#readEntry(this.#options.timeoutMs);
        refuseStranger(base, document);
        if ((base?.document.version ?? 0) !== document.version - 1) {
          return { outcome: "conflict", current: base?.document };
        }
      }
      return await this.#transact(base, document, text, end - performance.now());
    } catch (error) {
      if (!(error instanceof RegisterError) || error.code === "refused") throw error;
      return { outcome: "unknown", cause: error };
    }
  }

  watch(afterVersion: number, onChange: (configuration: Configuration) => void): () => void {
    const ending = new AbortController();
    const watch = new EtcdWatch({
      transport: this.#transport,
      key: this.#options.key,
      afterVersion,
      lookMs: this.#options.lookMs ?? LOOK_MS,
      onEntry: (entry) => this.#see(entry),
      onChange,
      onReachable: (isReachable, error) => this.#options.onReachable?.(isReachable, error),
      newest: () => this.#newest,
    });
    watch.run(AbortSignal.any([ending.signal, this.#closing.signal])).catch((error: unknown) => {
      // Only what `onChange` throws gets here, and that is a bug which must not be swallowed.
      queueMicrotask(() => {
        throw error;
      });
    });
    return () => ending.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#transport.close();
  }

  async #transact(
    base: Entry | undefined,
    document: Configuration,
    text: string,
    timeoutMs: number,
  ): Promise<SwapResult> {
    const request = swapRequest(this.#options.key, base?.modRevision ?? NEVER, text);
    const { answer, attempts } = await this.#transport.call(TXN, request, this.#limits(timeoutMs));
    const swapped = readSwap(answer);
    if (swapped.kind === "done") {
      this.#see({ modRevision: swapped.modRevision, text, document });
      return { outcome: "done" };
    }
    const { entry } = swapped.current;
    refuseRegress(entry, base?.document.version ?? 0);
    this.#see(entry);
    refuseStranger(entry, document);
    if (attempts > 1) {
      // A copy of this request went to another member before, and may have been applied there.
      if (entry?.text === text) return { outcome: "done" };
      if (entry !== undefined && entry.document.version > document.version) {
        const cause = new RegisterError(
          `the document is past version ${document.version}, which this swap may have written`,
          { code: "unreachable" },
        );
        return { outcome: "unknown", cause };
      }
    }
    return { outcome: "conflict", current: entry?.document };
  }

  async #readEntry(timeoutMs: number): Promise<Entry | undefined> {
    // What is seen while the read is under way does not make it old.
    const known = this.#newest;
    const floor = known?.document.version ?? 0;
    const { key } = this.#options;
    const { answer } = await (known === undefined
      ? this.#transport.call(RANGE, rangeRequest(key), this.#limits(timeoutMs))
      : this.#transport.call(TXN, newerRequest(key, known.modRevision), this.#limits(timeoutMs)));
    const { entry } = readNewer(answer, known);
    refuseRegress(entry, floor);
    this.#see(entry);
    return entry;
  }

  #see(entry: Entry | undefined): void {
    if (entry === undefined) return;
    // The same version again is a document that was put back after a loss: only its new revision can be swapped from.
    if (entry.document.version >= (this.#newest?.document.version ?? 0)) this.#newest = entry;
  }

  #limits(timeoutMs: number): { readonly timeoutMs: number; readonly signal: AbortSignal } {
    return { timeoutMs: Math.max(1, timeoutMs), signal: this.#closing.signal };
  }
}

/** @throws RegisterError (`refused`) */
function refuseStranger(entry: Entry | undefined, document: Configuration): void {
  if (entry === undefined || entry.document.clusterId === document.clusterId) return;
  throw new RegisterError(
    `the register belongs to cluster ${entry.document.clusterId}, not to ${document.clusterId}`,
    { code: "refused" },
  );
}

/** @returns a copy. */
function checked(configuration: Configuration): Configuration {
  try {
    return parseConfiguration(structuredClone(configuration));
  } catch (error) {
    throw new RegisterError("the document is malformed", { code: "refused", cause: error });
  }
}
