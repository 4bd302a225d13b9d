/**
 * The floating-point numbers of INCRBYFLOAT. Redis computes in the x87's 80-bit format (64 bits of mantissa, 15 of exponent)
 * and prints 17 decimals, so doubles would give other answers in the last digits. Here the same numbers are a bigint
 * mantissa and a power of two, rounded as the hardware does: to nearest, ties to even.
 */

/** The number `mantissa * 2 ** exponent`; or one of the infinities. */
export type LongDouble =
  | { readonly kind: "finite"; readonly mantissa: bigint; readonly exponent: number }
  | { readonly kind: "infinite"; readonly isNegative: boolean };

const MANTISSA_BITS = 64;
/** Exponent of the smallest number that is not zero. */
const EXPONENT_MIN = -16_445;
/** Numbers from this power of two on are infinite. */
const BITS_MAX = 16_384;
const DECIMALS = 17;
/** Redis reads no longer numbers. */
const TEXT_BYTES_MAX = 5 * 1024 - 1;
/** Powers of ten outside of these are surely infinite or zero, whatever the digits. */
const DECIMAL_EXPONENT_MAX = 4_940;
const DECIMAL_EXPONENT_MIN = -4_960;

const ZERO: LongDouble = { kind: "finite", mantissa: 0n, exponent: 0 };
const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i;
const HEXADECIMAL = /^([+-]?)0x([\da-f]*)(?:\.([\da-f]*))?(?:p([+-]?\d+))?$/i;
const INFINITE = /^([+-]?)inf(?:inity)?$/i;

/** @returns undefined if the text is no number, or one that is too large, or too small to differ from zero. */
export function parseLongDouble(text: string): LongDouble | undefined {
  if (text.length > TEXT_BYTES_MAX) return undefined;
  const infinite = INFINITE.exec(text);
  if (infinite !== null) return { kind: "infinite", isNegative: infinite[1] === "-" };
  const decimal = DECIMAL.exec(text);
  const parts = decimal ?? HEXADECIMAL.exec(text);
  if (parts === null) return undefined;
  const [, sign = "", whole = "", fraction = "", power = "0"] = parts;
  const digits = whole + fraction;
  if (digits === "") return undefined;
  const significant = digits.replace(/^0+/, "");
  if (significant === "") return ZERO;
  const exponent = Number(power);
  const magnitude =
    decimal !== null
      ? fromDecimal(significant, exponent - fraction.length)
      : fromHexadecimal(significant, exponent - 4 * fraction.length);
  if (magnitude === undefined || sign !== "-") return magnitude;
  return { ...magnitude, mantissa: -magnitude.mantissa };
}

/** @returns the rounded sum; undefined if it is not a finite number. */
export function addLongDoubles(a: LongDouble, b: LongDouble): LongDouble | undefined {
  if (a.kind === "infinite" || b.kind === "infinite") return undefined;
  const exponent = Math.min(a.exponent, b.exponent);
  const sum =
    (a.mantissa << BigInt(a.exponent - exponent)) + (b.mantissa << BigInt(b.exponent - exponent));
  const magnitude = sum < 0n ? -sum : sum;
  const rounded =
    exponent < 0
      ? rounding(magnitude, 1n << BigInt(-exponent))
      : rounding(magnitude << BigInt(exponent), 1n);
  if (rounded === undefined || sum >= 0n) return rounded;
  return { ...rounded, mantissa: -rounded.mantissa };
}

/** With up to 17 decimals and no zeros at the end, never with an exponent. */
export function formatLongDouble(value: LongDouble): string {
  if (value.kind === "infinite") return value.isNegative ? "-inf" : "inf";
  const magnitude = value.mantissa < 0n ? -value.mantissa : value.mantissa;
  const scaled = magnitude * 10n ** BigInt(DECIMALS);
  const units =
    value.exponent >= 0
      ? scaled << BigInt(value.exponent)
      : nearest(scaled, 1n << BigInt(-value.exponent));
  const text = units.toString().padStart(DECIMALS + 1, "0");
  const whole = text.slice(0, -DECIMALS);
  const fraction = text.slice(-DECIMALS).replace(/0+$/, "");
  const sign = value.mantissa < 0n && units !== 0n ? "-" : "";
  return fraction === "" ? sign + whole : `${sign}${whole}.${fraction}`;
}

type Finite = Extract<LongDouble, { kind: "finite" }>;

function fromDecimal(digits: string, exponent: number): Finite | undefined {
  const position = digits.length + exponent;
  if (position > DECIMAL_EXPONENT_MAX || position < DECIMAL_EXPONENT_MIN) return undefined;
  const magnitude =
    exponent >= 0
      ? rounding(BigInt(digits) * 10n ** BigInt(exponent), 1n)
      : rounding(BigInt(digits), 10n ** BigInt(-exponent));
  return magnitude?.mantissa === 0n ? undefined : magnitude;
}

function fromHexadecimal(digits: string, exponent: number): Finite | undefined {
  const position = 4 * digits.length + exponent;
  if (position > BITS_MAX + 4 || position < EXPONENT_MIN - 4) return undefined;
  const mantissa = BigInt(`0x${digits}`);
  const magnitude =
    exponent >= 0
      ? rounding(mantissa << BigInt(exponent), 1n)
      : rounding(mantissa, 1n << BigInt(-exponent));
  return magnitude?.mantissa === 0n ? undefined : magnitude;
}

/** The nearest number to a quotient that is not negative; undefined if that is infinite. */
function rounding(numerator: bigint, denominator: bigint): Finite | undefined {
  if (numerator === 0n) return { kind: "finite", mantissa: 0n, exponent: 0 };
  // The bits of the quotient before the point; if negative, the zeros after it.
  let bits = bitLength(numerator) - bitLength(denominator) + 1;
  if (isBelowPower(numerator, denominator, bits - 1)) bits--;
  const exponent = Math.max(bits - MANTISSA_BITS, EXPONENT_MIN);
  const mantissa =
    exponent >= 0
      ? nearest(numerator, denominator << BigInt(exponent))
      : nearest(numerator << BigInt(-exponent), denominator);
  if (bitLength(mantissa) + exponent > BITS_MAX) return undefined;
  return { kind: "finite", mantissa, exponent };
}

/** Whether the quotient is below `2 ** power`. */
function isBelowPower(numerator: bigint, denominator: bigint, power: number): boolean {
  return power >= 0
    ? numerator < denominator << BigInt(power)
    : numerator << BigInt(-power) < denominator;
}

/** The nearest integer to a quotient that is not negative, the even one of two. */
function nearest(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  const isUp = twice > denominator || (twice === denominator && (quotient & 1n) === 1n);
  return isUp ? quotient + 1n : quotient;
}

function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return (hex.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(hex.charAt(0), 16)));
}
