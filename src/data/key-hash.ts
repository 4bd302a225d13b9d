/**
 * The hash by which keys are found: HalfSipHash-1-3, whose key no client knows, so that none can choose keys that all fall
 * into one place of the index.
 */

import type { Memory } from "../kit/memory.ts";

/** 64 bits that are drawn by chance, once for a process. */
export interface HashKey {
  readonly low: number;
  readonly high: number;
}

/** For tests and simulations: with it, whoever knows this program can choose keys that collide. */
export const FIXED_HASH_KEY: HashKey = { low: 0x03020100, high: 0x07060504 };

/**
 * @param key what is hashed, from `start` to before `end`.
 * @returns 32 bits, as a signed integer.
 */
export function keyHash(hashKey: HashKey, key: Memory, start: number, end: number): number {
  const { view } = key;
  let v0 = hashKey.low | 0;
  let v1 = hashKey.high | 0;
  let v2 = 0x6c796765 ^ v0;
  let v3 = 0x74656462 ^ v1;
  const length = end - start;
  const wordsEnd = start + (length & ~3);
  let at = start;
  for (; at < wordsEnd; at += 4) {
    const word = view.getInt32(at, true);
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  let last = length << 24;
  if (at < end) last |= view.getUint8(at);
  if (at + 1 < end) last |= view.getUint8(at + 1) << 8;
  if (at + 2 < end) last |= view.getUint8(at + 2) << 16;
  v3 ^= last;
  for (let round = 0; round < 4; round++) {
    if (round === 1) {
      v0 ^= last;
      v2 ^= 0xff;
    }
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v1 ^ v3;
}
