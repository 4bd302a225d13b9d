/**
 * The keys of a load: their form, and which is next. Keys are `key:` and twelve digits, as those of redis-benchmark; a
 * batch is encoded once and then only the digits of its keys change.
 */

import { slotOf } from "../../src/kit/crc16.ts";
import { Prng } from "../../src/kit/prng.ts";
import type { Distribution, Endpoint } from "./job.ts";

const PREFIX = "key:";
/** Bytes of a key. */
export const KEY_BYTES = 16;
/** Only so many of a key's last digits change. */
const VARIABLE_DIGITS = 9;
export const KEYS_MAX = 10 ** VARIABLE_DIGITS;

/** YCSB's constant of Zipf's law. */
const ZIPF_EXPONENT = 0.99;
/** Keys that are drawn beforehand where drawing one is too slow to be done under load. */
const DRAWS = 1 << 20;

/** The digits of 000 to 999, three bytes each. */
const TRIPLES = Buffer.from(
  Array.from({ length: 1_000 }, (_, number) => String(number).padStart(3, "0")).join(""),
  "latin1",
);

/** The text of a key. */
export function keyText(key: number): string {
  return PREFIX + String(key).padStart(KEY_BYTES - PREFIX.length, "0");
}

/**
 * Writes a key's number over that of another.
 * @param end where the key ends in `bytes`.
 */
export function patchKey(bytes: Uint8Array, end: number, key: number): void {
  const high = (key / 1_000_000) | 0;
  const rest = key - high * 1_000_000;
  const middle = (rest / 1_000) | 0;
  patchTriple(bytes, end - 9, high);
  patchTriple(bytes, end - 6, middle);
  patchTriple(bytes, end - 3, rest - middle * 1_000);
}

function patchTriple(bytes: Uint8Array, at: number, number: number): void {
  const from = number * 3;
  bytes[at] = TRIPLES[from] as number;
  bytes[at + 1] = TRIPLES[from + 1] as number;
  bytes[at + 2] = TRIPLES[from + 2] as number;
}

/** Where a connection's keys come from. */
export interface KeySource {
  next(): number;
}

/** Chooses keys at random. One for each endpoint; its sequence follows from the seed. */
export class KeyPicker implements KeySource {
  /** The keys to choose from, each as often as it is popular; undefined if all are and all alike. */
  readonly #table: Uint32Array | undefined;
  readonly #bound: number;
  #state: number;

  constructor(table: Uint32Array | undefined, keys: number, seed: number) {
    this.#table = table;
    this.#bound = table?.length ?? keys;
    this.#state = seed | 1;
  }

  next(): number {
    // Marsaglia's xorshift of 32 bits: the cheapest there is, and good enough to spread keys.
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    const index = (state >>> 0) % this.#bound;
    return this.#table === undefined ? index : (this.#table[index] as number);
  }
}

/** Gives keys one after the other, each once; after the last it begins anew. */
export class KeySequence implements KeySource {
  readonly #keys: Uint32Array;
  #at = 0;
  /** Every key was given. */
  isDone: boolean;

  constructor(keys: Uint32Array) {
    this.#keys = keys;
    this.isDone = keys.length === 0;
  }

  next(): number {
    const key = this.#keys[this.#at] as number;
    this.#at += 1;
    if (this.#at === this.#keys.length) {
      this.#at = 0;
      this.isDone = true;
    }
    return key;
  }
}

/** Gives keys that were never given before, from a first one on. */
export class NewKeys implements KeySource {
  readonly #first: number;
  #next: number;

  constructor(first: number) {
    this.#first = first;
    this.#next = first;
  }

  get count(): number {
    return this.#next - this.#first;
  }

  next(): number {
    const key = this.#next;
    this.#next += 1;
    return key;
  }

  /** The newest key that is surely there: those just given may be under way. */
  newestSettled(underWayMax: number): number {
    return this.#next - 1 - underWayMax;
  }
}

/** Gives keys of which the newest are the most popular, by Zipf's law over their age. */
export class LatestKeys implements KeySource {
  readonly #newKeys: NewKeys;
  readonly #underWayMax: number;
  readonly #ages: KeyPicker;

  /** @param underWayMax inserts that may be unanswered at a time. */
  constructor(newKeys: NewKeys, keys: number, underWayMax: number, seed: number) {
    const prng = new Prng(seed);
    this.#newKeys = newKeys;
    this.#underWayMax = underWayMax;
    this.#ages = new KeyPicker(zipfRanks(keys - underWayMax, prng), keys, prng.uint32());
  }

  next(): number {
    return this.#newKeys.newestSettled(this.#underWayMax) - this.#ages.next();
  }
}

/** A source of random keys for each endpoint. */
export function pickers(
  endpoints: readonly Endpoint[],
  keys: number,
  distribution: Distribution,
  seed: number,
): KeyPicker[] {
  const prng = new Prng(seed);
  const popular = distribution === "zipf" ? zipfDraws(keys, prng) : undefined;
  if (endpoints.every((endpoint) => endpoint.slots === undefined))
    return endpoints.map(() => new KeyPicker(popular, keys, prng.uint32()));
  const slots = slotsOf(keys);
  return endpoints.map((endpoint) => {
    const own = keysOf(endpoint, popular ?? allKeys(keys), slots);
    return new KeyPicker(own, keys, prng.uint32());
  });
}

/** For each endpoint a sequence of keys, so that together each key comes once. */
export function sequences(
  endpoints: readonly Endpoint[],
  keys: number,
  firstKey: number,
): KeySequence[] {
  const wanted = allKeys(keys).subarray(firstKey);
  if (endpoints.every((endpoint) => endpoint.slots === undefined)) {
    return endpoints.map(
      (_, index) => new KeySequence(wanted.filter((key) => key % endpoints.length === index)),
    );
  }
  const slots = slotsOf(keys);
  return endpoints.map((endpoint) => new KeySequence(keysOf(endpoint, wanted, slots)));
}

function allKeys(keys: number): Uint32Array {
  return Uint32Array.from({ length: keys }, (_, key) => key);
}

/** Those of the keys that are asked for at this endpoint. */
function keysOf(endpoint: Endpoint, keys: Uint32Array, slots: Uint16Array): Uint32Array {
  const isHere = new Uint8Array(16_384);
  for (const [first, last] of endpoint.slots ?? [[0, 16_383]]) isHere.fill(1, first, last + 1);
  const own = keys.filter((key) => isHere[slots[key] as number] === 1);
  if (own.length === 0) throw new Error(`no key belongs to port ${endpoint.port}`);
  return own;
}

function slotsOf(keys: number): Uint16Array {
  return Uint16Array.from({ length: keys }, (_, key) => slotOf(keyText(key)));
}

/** Draws keys by Zipf's law; which keys are the popular ones follows from a hash of their rank, as in YCSB. */
function zipfDraws(keys: number, prng: Prng): Uint32Array {
  return zipfRanks(keys, prng).map((rank) => (Math.imul(rank + 1, 0x9e3779b1) >>> 0) % keys);
}

/** Draws ranks by Zipf's law, 0 for the most popular. */
function zipfRanks(keys: number, prng: Prng): Uint32Array {
  const sums = new Float64Array(keys);
  let sum = 0;
  for (let rank = 0; rank < keys; rank += 1) {
    sum += 1 / (rank + 1) ** ZIPF_EXPONENT;
    sums[rank] = sum;
  }
  return Uint32Array.from({ length: DRAWS }, () => {
    const wanted = prng.float() * sum;
    let low = 0;
    let high = keys - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] as number) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}
