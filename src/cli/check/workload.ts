/** What the clients of `hothot check` ask for: keys with a role each, and random actions on them with unique values. */

import type { Action, KeyAction } from "../../history/history.ts";
import { slotOf } from "../../kit/crc16.ts";
import type { Prng } from "../../kit/prng.ts";

/**
 * `text` sees every command of strings; `counter` only increments, so that its final value is known; `lock` is taken with
 * SETNX and given back; `log` only grows, and is begun anew when it is long.
 */
export type Role = "text" | "counter" | "lock" | "log";

/** Keys that share a hash tag, and so a slot and a shard. */
export interface KeyGroup {
  readonly slot: number;
  readonly keys: readonly { readonly name: string; readonly role: Role }[];
}

/** In every four keys the first two share a tag, for transactions; the others are alone. */
const ROLES: readonly (readonly Role[])[] = [["text", "counter"], ["lock"], ["log"]];
/** A log longer than this is begun anew, so that histories stay short. Bytes. */
const LOG_BYTES_MAX = 400;
const TAG_ATTEMPTS_MAX = 20_000;

/**
 * Lays out keys.
 * @param count how many.
 * @param prefix what no other run uses.
 * @param shards slot ranges over which the groups are spread evenly; empty if unknown.
 */
export function layOutKeys(
  count: number,
  prefix: string,
  shards: readonly { readonly firstSlot: number; readonly lastSlot: number }[],
): KeyGroup[] {
  const groups: KeyGroup[] = [];
  let made = 0;
  while (made < count) {
    const roles = (ROLES[groups.length % ROLES.length] ?? ["text"]).slice(0, count - made);
    const tag = findTag(`${prefix}.${groups.length}`, shards[groups.length % (shards.length || 1)]);
    const keys = roles.map((role) => ({ name: `{${tag}}${role}`, role }));
    groups.push({ slot: slotOf(`{${tag}}`), keys });
    made += keys.length;
  }
  return groups;
}

/** Makes actions for one client. */
export class Workload {
  readonly #prng: Prng;
  readonly #groups: readonly KeyGroup[];
  readonly #client: number;
  #made = 0;
  readonly #logBytes = new Map<string, number>();

  /** @param client its number; with a counter it makes values unique. */
  constructor(prng: Prng, groups: readonly KeyGroup[], client: number) {
    this.#prng = prng;
    this.#groups = groups;
    this.#client = client;
  }

  /** @returns what to do next. */
  next(): Action {
    const group = this.#prng.pick(this.#groups);
    if (group.keys.length > 1 && this.#prng.chance(0.2)) {
      // Each key twice at most, so that the parts of one transaction see each other's effects too.
      const keys = [...group.keys, this.#prng.pick(group.keys)];
      return { kind: "multi", actions: keys.map((key) => this.#onKey(key.name, key.role)) };
    }
    const key = this.#prng.pick(group.keys);
    return this.#onKey(key.name, key.role);
  }

  /** Tells how long a value has become, as an answer showed it. Bytes. */
  sawLength(key: string, bytes: number): void {
    this.#logBytes.set(key, bytes);
  }

  #onKey(key: string, role: Role): KeyAction {
    const kind = this.#kindFor(role);
    switch (kind) {
      case "get":
      case "exists":
      case "del":
      case "getdel":
        return { kind, key };
      case "incr":
        return { kind, key, by: 1 + this.#prng.below(3) };
      case "append":
        if ((this.#logBytes.get(key) ?? 0) > LOG_BYTES_MAX) {
          this.#logBytes.delete(key);
          return { kind: "set", key, value: this.#unique() };
        }
        return { kind, key, value: this.#unique() };
      default:
        return { kind, key, value: this.#unique() };
    }
  }

  #kindFor(role: Role): KeyAction["kind"] {
    const roll = this.#prng.below(100);
    const table = KINDS[role];
    let sum = 0;
    for (const [kind, share] of table) {
      sum += share;
      if (roll < sum) return kind;
    }
    return "get";
  }

  /** Brackets keep a value from being part of another. */
  #unique(): string {
    this.#made++;
    return `<${this.#client.toString(36)}.${this.#made.toString(36)}>`;
  }
}

/** Shares in percent; the rest reads. */
const KINDS: Readonly<Record<Role, readonly (readonly [KeyAction["kind"], number])[]>> = {
  text: [
    ["set", 25],
    ["append", 10],
    ["getset", 8],
    ["setnx", 8],
    ["getdel", 5],
    ["del", 5],
    ["exists", 4],
  ],
  counter: [["incr", 55]],
  lock: [
    ["setnx", 40],
    ["getdel", 15],
    ["del", 15],
  ],
  log: [["append", 60]],
};

function findTag(
  stem: string,
  shard: { readonly firstSlot: number; readonly lastSlot: number } | undefined,
): string {
  if (shard === undefined) return stem;
  for (let attempt = 0; attempt < TAG_ATTEMPTS_MAX; attempt++) {
    const tag = `${stem}.${attempt.toString(36)}`;
    const slot = slotOf(`{${tag}}`);
    if (slot >= shard.firstSlot && slot <= shard.lastSlot) return tag;
  }
  // A shard of very few slots may go without a key.
  return stem;
}
