/**
 * A watch of one key in etcd that no disconnect, compaction, silence or lost event can make blind for long. Every session
 * begins with a read and watches from there on, so it needs nothing of what was compacted meanwhile. While it lasts, the key
 * itself is read at intervals, linearizably: that tells a member that is cut off from the others, a connection that is open
 * at one end only, and a stream that keeps an event to itself.
 */

import type { Configuration } from "../replica/configuration.ts";
import {
  type Entry,
  newerRequest,
  rangeRequest,
  readNewer,
  readNews,
  refuseRegress,
  type Snapshot,
  watchRequest,
} from "./etcd-answers.ts";
import type { EtcdTransport } from "./etcd-transport.ts";
import { pause } from "./pause.ts";
import { RegisterError } from "./register.ts";

export interface EtcdWatchOptions {
  readonly transport: EtcdTransport;
  readonly key: string;
  readonly afterVersion: number;
  /** Time between two looks at the key, and the longest that one may take, ms. */
  readonly lookMs: number;
  /** Told of every entry that is seen. */
  readonly onEntry: (entry: Entry) => void;
  /** Told of every document newer than those before. */
  readonly onChange: (configuration: Configuration) => void;
  /** Told when all endpoints have failed one after the other, and when one works again. */
  readonly onReachable: (isReachable: boolean, error: Error | undefined) => void;
  /** The newest entry that anybody has seen. */
  readonly newest: () => Entry | undefined;
}

const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 500;

export class EtcdWatch {
  readonly #options: EtcdWatchOptions;
  #seen: number;
  /** Endpoints in a row at which the key could not be read. */
  #failures = 0;
  #isReachable = true;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#seen = options.afterVersion;
  }

  /**
   * Watches until the signal comes.
   * @throws whatever `onChange` throws.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { transport } = this.#options;
    let endpoint = transport.preferred;
    let retryMs = RETRY_MS_MIN;
    while (!signal.aborted) {
      const begun = performance.now();
      this.#failures += 1;
      try {
        await this.#session(endpoint, signal);
      } catch (error) {
        if (!(error instanceof RegisterError)) throw error;
        if (signal.aborted) return;
        if (this.#failures >= transport.size) this.#tell(false, error);
      }
      if (performance.now() - begun > RETRY_MS_MAX) retryMs = RETRY_MS_MIN;
      endpoint = (endpoint + 1) % transport.size;
      // After one that is down the others are tried at once; after all of them, or one that fails at once, there is a wait.
      if (this.#failures % transport.size !== 0) continue;
      await pause(retryMs * (0.5 + Math.random() / 2), signal);
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    }
  }

  /** Ends when the stream does. */
  async #session(endpoint: number, signal: AbortSignal): Promise<void> {
    const { transport, key } = this.#options;
    const snapshot = await this.#look(endpoint, signal);
    this.#failures = 0;
    this.#tell(true, undefined);
    // Whichever of the two ends or fails ends the other.
    const ending = new AbortController();
    const either = AbortSignal.any([ending.signal, signal]);
    let streamedVersion = this.#seen;
    const onMessage = (message: Parameters<typeof readNews>[0]): void => {
      const news = readNews(message);
      if (news.kind === "canceled") throw broken(`the watch ended: ${news.reason}`);
      // A new session reads the key, and says what that means.
      if (news.kind === "deleted") throw broken("the key was removed");
      for (const entry of news.entries) {
        streamedVersion = Math.max(streamedVersion, entry.document.version);
        this.#show(entry, signal);
      }
    };
    const stream = transport
      .stream(endpoint, "/v3/watch", watchRequest(key, snapshot.revision), {
        signal: either,
        onMessage,
      })
      .finally(() => ending.abort());
    const looks = this.#lookOften(endpoint, either, () => streamedVersion).finally(() =>
      ending.abort(),
    );
    const [streamed, looked] = await Promise.allSettled([stream, looks]);
    // A look that fails cuts the stream off, and a stream that fails ends the looks without an error.
    if (looked.status === "rejected") throw looked.reason;
    if (streamed.status === "rejected") throw streamed.reason;
  }

  /** Reads the key until the signal comes. */
  async #lookOften(
    endpoint: number,
    signal: AbortSignal,
    streamedVersion: () => number,
  ): Promise<void> {
    let owed = 0;
    while (true) {
      await pause(this.#options.lookMs, signal);
      if (signal.aborted) return;
      // A look may overtake the stream, but not by a whole interval.
      if (streamedVersion() < owed) throw broken("the watch keeps events to itself");
      try {
        await this.#look(endpoint, signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      owed = this.#seen;
    }
  }

  async #look(endpoint: number, signal: AbortSignal): Promise<Snapshot> {
    const { transport, key, lookMs, newest } = this.#options;
    const known = newest();
    const limits = { timeoutMs: lookMs, signal };
    const answer = await (known === undefined
      ? transport.callAt(endpoint, "/v3/kv/range", rangeRequest(key), limits)
      : transport.callAt(endpoint, "/v3/kv/txn", newerRequest(key, known.modRevision), limits));
    const snapshot = readNewer(answer, known);
    refuseRegress(snapshot.entry, known?.document.version ?? 0);
    if (snapshot.entry !== undefined) this.#show(snapshot.entry, signal);
    return snapshot;
  }

  #show(entry: Entry, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#options.onEntry(entry);
    if (entry.document.version <= this.#seen) return;
    this.#seen = entry.document.version;
    this.#options.onChange(entry.document);
  }

  #tell(isReachable: boolean, error: Error | undefined): void {
    if (this.#isReachable === isReachable) return;
    this.#isReachable = isReachable;
    this.#options.onReachable(isReachable, error);
  }
}

function broken(message: string): RegisterError {
  return new RegisterError(message, { code: "unreachable" });
}
