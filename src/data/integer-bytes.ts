/** Integers as the decimal digits that a value holds, without making a string of them. */

/** The longest that is written: a minus sign and 16 digits. */
export const INTEGER_BYTES_MAX = 17;

const ZERO = 0x30;
const MINUS = 0x2d;
/** More digits may be no safe integer; with one less, none is missed that a sum leads to in practice. */
const DIGITS_MAX = 15;

/**
 * @param bytes what holds the digits, from `start` to before `end`.
 * @returns the integer; undefined if it is none in its only spelling, with no sign but a minus and no needless zero, or has
 * more than 15 digits.
 */
export function readInteger(bytes: Uint8Array, start: number, end: number): number | undefined {
  const isNegative = start < end && bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  const count = end - first;
  if (count < 1 || count > DIGITS_MAX) return undefined;
  if (bytes[first] === ZERO) return count === 1 && !isNegative ? 0 : undefined;
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = (bytes[i] as number) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

/**
 * Writes an integer to the end of a buffer.
 * @param value a safe integer.
 * @param to of `INTEGER_BYTES_MAX` bytes.
 * @returns index of the first byte that was written.
 */
export function writeInteger(value: number, to: Uint8Array): number {
  let left = Math.abs(value);
  let at = to.length;
  do {
    const rest = Math.floor(left / 10);
    to[--at] = ZERO + (left - rest * 10);
    left = rest;
  } while (left > 0);
  if (value < 0) to[--at] = MINUS;
  return at;
}
