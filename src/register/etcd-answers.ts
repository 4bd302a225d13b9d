/**
 * etcd's JSON: the requests about one key, and what its answers say. No I/O. Revisions are 64-bit numbers, which etcd writes
 * as text, and they stay text here: they are compared and sent back, never reckoned with, but for the next one.
 */

import type { Configuration } from "../replica/configuration.ts";
import { ConfigurationError, parseConfiguration } from "../replica/parse-configuration.ts";
import { RegisterError } from "./register.ts";

export type Json = Readonly<Record<string, unknown>>;

/** The key as it was at one moment. */
export interface Snapshot {
  /** Of the whole of etcd at that moment; a watch that begins with the next one misses nothing. */
  readonly revision: string;
  /** What the key held; undefined if there was no such key. */
  readonly entry: Entry | undefined;
}

export interface Entry {
  /** The revision that wrote it: no two writes have the same. */
  readonly modRevision: string;
  /** The document as it is stored, byte for byte. */
  readonly text: string;
  readonly document: Configuration;
}

/** What a transaction did. */
export type Swapped =
  | { readonly kind: "done"; readonly modRevision: string }
  | { readonly kind: "failed"; readonly current: Snapshot };

/** What a watch says. */
export type WatchNews =
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  /** The key was removed, which nobody of a cluster does. */
  | { readonly kind: "deleted" }
  /** The watch has ended, because what it asked for is compacted, or for another reason. */
  | { readonly kind: "canceled"; readonly reason: string };

/** A linearizable read. */
export function rangeRequest(key: string): Json {
  return { key: encode(key) };
}

/**
 * A linearizable read that brings the document only if it was written anew since: the cluster's nodes read it again and again,
 * and it grows with the cluster. Answered as a swap is: done, if the key is as it was.
 */
export function newerRequest(key: string, modRevision: string): Json {
  return {
    compare: [{ key: encode(key), target: "MOD", result: "EQUAL", mod_revision: modRevision }],
    success: [],
    failure: [{ request_range: { key: encode(key) } }],
  };
}

/**
 * @param known what the key held when it was asked for; undefined if `rangeRequest` was sent.
 * @throws RegisterError as `readRange` does.
 */
export function readNewer(answer: Json, known: Entry | undefined): Snapshot {
  if (known === undefined) return readRange(answer);
  const swapped = readSwap(answer);
  if (swapped.kind === "failed") return swapped.current;
  return { revision: swapped.modRevision, entry: known };
}

/** Writes `text` if the key was last written at `modRevision` ("0": if there is no such key), else reads it. */
export function swapRequest(key: string, modRevision: string, text: string): Json {
  return {
    compare: [{ key: encode(key), target: "MOD", result: "EQUAL", mod_revision: modRevision }],
    success: [{ request_put: { key: encode(key), value: encode(text) } }],
    failure: [{ request_range: { key: encode(key) } }],
  };
}

/** Watches the key for what is written after this revision. */
export function watchRequest(key: string, afterRevision: string): Json {
  return { create_request: { key: encode(key), start_revision: next(afterRevision) } };
}

/** @throws RegisterError if it is no answer of etcd's, or holds no document that this program understands. */
export function readRange(answer: Json): Snapshot {
  return snapshotOf(answer, revisionOf(answer));
}

/** @throws RegisterError as `readRange` does. */
export function readSwap(answer: Json): Swapped {
  const revision = revisionOf(answer);
  if (answer["succeeded"] === true) return { kind: "done", modRevision: revision };
  const [response] = listOf(answer["responses"]);
  return {
    kind: "failed",
    current: snapshotOf(objectOf(objectOf(response)["response_range"]), revision),
  };
}

/** @throws RegisterError as `readRange` does. */
export function readNews(message: Json): WatchNews {
  if (message["error"] !== undefined) {
    const { message: text } = objectOf(message["error"]) as { readonly message?: unknown };
    return { kind: "canceled", reason: String(text ?? "etcd ended it") };
  }
  const result = objectOf(message["result"]);
  if (result["canceled"] === true) {
    const compacted = result["compact_revision"];
    const reason = compacted === undefined ? result["cancel_reason"] : `compacted at ${compacted}`;
    return { kind: "canceled", reason: String(reason ?? "etcd canceled it") };
  }
  const events = listOf(result["events"]).map(objectOf);
  if (events.at(-1)?.["type"] === "DELETE") return { kind: "deleted" };
  const writes = events.filter((event) => event["type"] !== "DELETE");
  return { kind: "entries", entries: writes.map((event) => entryOf(objectOf(event["kv"]))) };
}

/**
 * A register never goes back. One that does was restored from a backup, or lost its key: to follow it could let a node rule
 * that was deposed.
 * @param floor the version that was seen before the read began, 0 if none.
 * @throws RegisterError (`stale`)
 */
export function refuseRegress(entry: Entry | undefined, floor: number): void {
  const version = entry?.document.version ?? 0;
  if (version >= floor) return;
  throw new RegisterError(
    `etcd shows ${version === 0 ? "no document" : `version ${version}`} after version ${floor}: was it restored from a backup?`,
    { code: "stale" },
  );
}

/** The cluster of etcd members that answered; undefined if the answer does not say. */
export function etcdClusterOf(answer: Json): string | undefined {
  const header = answer["header"];
  if (typeof header !== "object" || header === null) return undefined;
  const { cluster_id: id } = header as { readonly cluster_id?: unknown };
  return typeof id === "string" ? id : undefined;
}

function snapshotOf(range: Json, revision: string): Snapshot {
  const [kv] = listOf(range["kvs"]);
  return { revision, entry: kv === undefined ? undefined : entryOf(objectOf(kv)) };
}

function entryOf(kv: Json): Entry {
  const { mod_revision: modRevision, value } = kv;
  if (typeof modRevision !== "string") throw malformed("an entry without a revision");
  const text = Buffer.from(typeof value === "string" ? value : "", "base64").toString("utf8");
  try {
    return { modRevision, text, document: parseConfiguration(JSON.parse(text)) };
  } catch (error) {
    const isNewer = error instanceof ConfigurationError && error.code === "newer-format";
    const why = error instanceof Error ? error.message : String(error);
    throw new RegisterError(
      isNewer
        ? `a newer HotHot has written the register: ${why}; upgrade this program`
        : `etcd holds no valid configuration (${why}); restore the key, or remove it to begin a new cluster`,
      { code: isNewer ? "newer-format" : "corrupt", cause: error },
    );
  }
}

function revisionOf(answer: Json): string {
  const revision = objectOf(answer["header"])["revision"];
  if (typeof revision !== "string" || !/^\d+$/.test(revision)) throw malformed("no revision");
  return revision;
}

function objectOf(value: unknown): Json {
  if (typeof value !== "object" || value === null) throw malformed("a missing part");
  return value as Json;
}

/** Empty lists are left out of etcd's answers. */
function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw malformed("no list");
  return value;
}

function malformed(what: string): RegisterError {
  return new RegisterError(`not an answer of etcd: ${what}`, { code: "unreachable" });
}

function next(revision: string): string {
  return String(BigInt(revision) + 1n);
}

function encode(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
