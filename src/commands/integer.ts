/** Redis's 64-bit signed integers: plain numbers as long as these are exact, bigints beyond. */

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);
/** Any decimal of so many digits is exact in a double. */
const EXACT_DIGITS = 15;
const ZERO = 0x30;
const MINUS = 0x2d;

/** A 64-bit integer: a bigint exactly if it is no safe integer. */
export type Integer = number | bigint;

/**
 * Reads an integer as strictly as Redis does: no blanks, no plus sign, no leading zeros, no minus zero.
 * @returns undefined if it is none, or does not fit into 64 bits.
 */
export function parseInteger(text: string): Integer | undefined {
  const length = text.length;
  const isNegative = text.charCodeAt(0) === MINUS;
  const start = isNegative ? 1 : 0;
  if (length === start || length > start + 19) return undefined;
  const first = text.charCodeAt(start);
  if (first === ZERO) return length === 1 ? 0 : undefined;
  let value = 0;
  for (let i = start; i < length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  if (length - start <= EXACT_DIGITS) return isNegative ? -value : value;
  const exact = BigInt(text);
  return exact > INT64_MAX || exact < INT64_MIN ? undefined : narrow(exact);
}

/** @returns the sum, or undefined if it does not fit into 64 bits. */
export function addIntegers(a: Integer, b: Integer): Integer | undefined {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  const sum = BigInt(a) + BigInt(b);
  return sum > INT64_MAX || sum < INT64_MIN ? undefined : narrow(sum);
}

/** @returns the negative, or undefined for the smallest integer, which has none. */
export function negateInteger(value: Integer): Integer | undefined {
  if (typeof value === "number") return value === 0 ? 0 : -value;
  return value === INT64_MIN ? undefined : narrow(-value);
}

/** @returns the product with a small number, or undefined if it does not fit into 64 bits. */
export function scaleInteger(value: Integer, factor: number): Integer | undefined {
  if (typeof value === "number") {
    const product = value * factor;
    if (Number.isSafeInteger(product)) return product;
  }
  const product = BigInt(value) * BigInt(factor);
  return product > INT64_MAX || product < INT64_MIN ? undefined : narrow(product);
}

function narrow(value: bigint): Integer {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
